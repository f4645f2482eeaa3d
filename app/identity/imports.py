"""Importing users: many at a time, in batches that each are kept or not at all, so that it can be run again.

Who is there already keeps his password, whatever a line says: he may have changed it since.
"""

import asyncio
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping, Sequence

import asyncpg

from app.cache.entries import Entries
from app.database import Database, DatabaseUnavailable
from app.errors import AppError, Conflict, Overloaded, UsernameTaken, ValidationFailed, WeakPassword
from app.identity import bulk_queries
from app.identity.administration import Administration
from app.identity.import_batch import Batch, Done, Importer
from app.identity.import_lines import Cut, Numbered, ReportLine, batches, give_way, read, refused
from app.identity.mails import Mails
from app.identity.passwords import Passwords
from app.identity.roles import roles_after
from app.sessions.service import Sessions

AT_ONCE = 4  # imports of a process, some 15 MB each; one of them writes at a time, on one connection of the pool
TRIES = 3  # of a batch that others were in the way of
PAUSE = 0.5  # seconds between two tries
PATIENCE = 60.0  # seconds that a password waits for a thread: who signs in comes first
HASHED_TOGETHER = 4  # passwords: some wait to be judged while others are hashed

CurrentImporter = Callable[[], Awaitable[Importer]]  # who imports, at this moment; raises where he may not any more
Keep = Callable[[Sequence[ReportLine]], None]


class Imports:
    def __init__(
        self,
        db: Database,
        entries: Entries,
        sessions: Sessions,
        passwords: Passwords,
        mails: Mails,
        administration: Administration,
    ) -> None:
        self._db = db
        self._entries = entries
        self._sessions = sessions
        self._passwords = passwords
        self._mails = mails
        self._administration = administration
        self._room = asyncio.Semaphore(AT_ONCE)
        self._turn = asyncio.Lock()

    async def run(
        self, body: AsyncIterable[bytes], judge: CurrentImporter, keep: Keep, *, most_lines: int | None = None
    ) -> None:
        """Import the lines of a body; `keep` is given the report of each batch, in the order of the lines.

        Raises:
            AppError: the import has ended early, and why. The lines that were reported are done.
        """
        done, seen = 0, set[int]()
        async with self._room:
            try:
                async for batch in batches(body, most_lines):
                    keep(await self._take(batch, seen, judge))
                    done = batch[-1][0]
            except AppError as error:
                if done:
                    error.detail += f" The first {done:,} lines are done; import the same again to go on."
                raise

    async def _take(self, batch: Sequence[Cut], seen: set[int], judge: CurrentImporter) -> list[ReportLine]:
        """Import a batch; `seen` are the names of the lines before it, as their hashes: a name takes a third of it."""
        report: list[ReportLine] = []
        lines: list[Numbered] = []
        since = time.monotonic()
        for cut in batch:
            try:
                lines.append(self._read(cut, seen))
            except AppError as error:
                report.append(refused(cut[0], error))
            since = await give_way(since)
        for _ in range(TRIES):
            if lines:
                done = await self._write(lines, judge)
                report += done.report
                lines = done.again
        report += [refused(each.number, Conflict("Others are changing this user: import him again.")) for each in lines]
        return sorted(report, key=lambda each: each.line)

    def _read(self, cut: Cut, seen: set[int]) -> Numbered:
        each = read(cut)
        roles_after(each.line, [])
        if each.line.password_hash is not None:
            self._passwords.importable(each.line.password_hash)
        name = hash(each.key)
        if name in seen:
            raise UsernameTaken("A line before has this username.")
        seen.add(name)
        return each

    # ---- a batch --------------------------------------------------------------------------------------------------

    async def _write(self, lines: Sequence[Numbered], judge: CurrentImporter) -> Done:
        there = await bulk_queries.known(self._db, [each.key for each in lines])
        hashes, weak = await self._hash([each for each in lines if each.line.password and each.key not in there])
        able = [each for each in lines if each.number not in weak]
        done = await self._commit(able, hashes, judge)
        await self._entries.outbox.settle(*done.changes)
        self._mails.wake()
        done.report += weak.values()
        return done

    async def _commit(self, lines: Sequence[Numbered], hashes: Mapping[int, str], judge: CurrentImporter) -> Done:
        """Write them; once more if others had locked the same in another order, or took an address at that moment."""
        failed: Exception | None = None
        for _ in range(TRIES):
            try:
                async with self._turn:
                    importer = await judge()
                    async with self._db.transaction() as tx:
                        batch = Batch(tx, importer, self._entries, self._sessions, self._administration)
                        return await batch.write(lines, hashes)
            except (DatabaseUnavailable, asyncpg.UniqueViolationError) as error:
                failed = error
            await asyncio.sleep(PAUSE)
        raise DatabaseUnavailable from failed

    async def _hash(self, lines: Sequence[Numbered]) -> tuple[Mapping[int, str], Mapping[int, ReportLine]]:
        """By the numbers of the lines: the hashes, and the reports of those whose passwords may not be used."""
        hashes: dict[int, str] = {}
        weak: dict[int, ReportLine] = {}
        for start in range(0, len(lines), HASHED_TOGETHER):
            some = lines[start : start + HASHED_TOGETHER]
            made = await asyncio.gather(*(self._hash_one(each) for each in some), return_exceptions=True)
            for each, found in zip(some, made, strict=True):
                if isinstance(found, WeakPassword | ValidationFailed):
                    weak[each.number] = refused(each.number, found)
                elif isinstance(found, BaseException):
                    raise found
                else:
                    hashes[each.number] = found
        return hashes, weak

    async def _hash_one(self, each: Numbered) -> str:
        line, until = each.line, time.monotonic() + PATIENCE
        while True:
            try:
                await self._passwords.check_strength(
                    line.password or "",
                    username=line.username,
                    email=line.email or None,
                    full_name=line.full_name or None,
                )
                return await self._passwords.hash(line.password or "", aside=True)
            except Overloaded:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(PAUSE)

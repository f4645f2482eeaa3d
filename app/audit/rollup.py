"""The audit is counted as it grows, beside all requests: no trigger, no statement more for what is recorded.

Events are folded into quarters of an hour in the order of their ids, each exactly once. Ids are given out before their
transactions commit; so the last id is read first, then which transactions are writing events, and only when these have
ended, which every one of them does by itself, all ids up to that one are decided (as CREATE INDEX CONCURRENTLY waits).
"""

import asyncio
import time
from random import SystemRandom

import asyncpg
import structlog

from app.audit import queries
from app.background import end
from app.database import Database
from app.errors import Unavailable

log = structlog.get_logger(__name__)

INTERVAL = 10.0  # seconds from a look to the next
JITTER = 0.2  # of it, either way: replicas take turns
BATCH = 10_000  # ids a transaction: some 100 ms, and few of them of this process's own
WRITERS_SECONDS = 5.0  # that the schedule waits for whoever is writing: as long as a request's longest statement
READER_SECONDS = 0.5  # that somebody who wants to know what was counted waits for the newest of it
LOOK_SECONDS = 0.01  # between two looks at who is writing


class RollUp:
    """Counts on a schedule, on whichever replica comes first; and when somebody asks what was counted."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._one = asyncio.Lock()
        self._began = 0.0  # the last time that was counted to the end, on the monotonic clock
        self._keeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        await end(self._keeper)

    async def catch_up(self) -> None:
        """Count what has happened until now, as far as that is soon done; what has not been, `as_of` tells.

        Whoever asks while somebody counts is served by the next time, all together.
        """
        asked = time.monotonic()
        try:
            async with asyncio.timeout(READER_SECONDS):
                await self._one.acquire()
        except TimeoutError:  # the schedule is working off a backlog
            return
        try:
            if self._began < asked:
                self._began = time.monotonic()
                await self._count(await queries.progress(self._db), READER_SECONDS, all_of_it=False)
        finally:
            self._one.release()

    async def count_on_schedule(self) -> None:
        """Count whatever there is, unless somebody did a moment ago."""
        async with self._one:
            found = await queries.progress(self._db)
            age = None if found.as_of is None else (found.now - found.as_of).total_seconds()
            if found.last > found.folded and (age is None or age > INTERVAL / 2):
                await self._count(found, WRITERS_SECONDS, all_of_it=True)

    async def _count(self, found: queries.Progress, seconds: float, *, all_of_it: bool) -> None:
        """Up to the last id of `found`; waits for so long at most, and takes no longer unless it is to do all of it."""
        until = time.monotonic() + seconds
        if found.last > found.folded and not await self._decided(until):
            return
        while all_of_it or time.monotonic() < until:
            more = await self._fold(found)
            if more is False or (more is None and all_of_it):  # another replica is at it, and brings it to an end
                return
            await asyncio.sleep(0 if more else LOOK_SECONDS)

    async def _decided(self, until: float) -> bool:
        """Whether everybody who is writing now has come to an end by then."""
        waiting = await queries.writers(self._db)
        while waiting and time.monotonic() < until:
            await asyncio.sleep(LOOK_SECONDS)
            waiting &= await queries.writers(self._db)
        return not waiting

    async def _fold(self, found: queries.Progress) -> bool | None:
        """Whether there is more of it; None if it is somebody else's turn."""
        async with self._db.transaction() as tx:
            if not await queries.try_turn(tx):
                return None
            folded = (await queries.progress(tx)).folded
            upto = max(folded, min(folded + BATCH, found.last))
            if upto > folded:
                await queries.fold(tx, folded, upto)
            await queries.note_progress(tx, upto, found.now if upto >= found.last else None)
        return upto < found.last

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL * SystemRandom().uniform(1 - JITTER, 1 + JITTER))
            try:
                await self.count_on_schedule()
            except (Unavailable, asyncpg.PostgresError) as error:
                log.warning("activity.failed", reason=repr(error.__cause__ or error)[:200])

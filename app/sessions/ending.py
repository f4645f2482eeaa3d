"""Ending sessions by what they have in common, however many: in batches that nobody waits for."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct
from sqlalchemy import func, select

from app.cache.entries import Entries
from app.client import Client
from app.database import Database
from app.errors import AppError, ValidationFailed
from app.listing import Lists
from app.sessions import queries
from app.sessions.filters import SessionFilter, live, meant, plan_by_indexes, said
from app.sessions.models import Session as SessionRow
from app.sessions.structs import session_key
from app.statements import MOST, Snapshot, Statement

BATCH = 1_000  # sessions a transaction: some 100 ms
WORK_SECONDS = 10.0  # after which a call begins no further batch: some 60,000 sessions where there are three million
PATIENCE = 2.0  # seconds that sessions are waited for which somebody else is changing
PAUSE = 0.02  # seconds between two looks meanwhile

StillMay = Callable[[], Awaitable[object]]  # raises where the caller may not any more


class Ended(Struct, frozen=True, kw_only=True):
    matched: Annotated[int, Meta(description="Live sessions that fit.")]
    revoked: Annotated[int, Meta(description="Of these, ended by this call. If fewer: call again.")]


class Ending:
    """Whoever the users are: signing somebody out takes no right away, so it needs none of theirs.

    A batch finds, holds and ends its sessions in one transaction. It leaves out what somebody else holds and comes
    back for it, so it waits for no lock, and no order of locks can make it part of a deadlock.
    """

    def __init__(self, db: Database, entries: Entries, lists: Lists) -> None:
        self._db = db
        self._outbox = entries.outbox
        self._lists = lists

    async def end(
        self,
        wanted: SessionFilter,
        actor_id: int | None,
        client: Client | None,
        *,
        judge: StillMay | None = None,
        session_id: UUID | None = None,
        everybody: bool = False,
        dry_run: bool = False,
        details: Mapping[str, object] | None = None,
    ) -> Ended:
        """End the live sessions that are meant; once this returns no replica serves one of them any more.

        The `judge` is asked before each batch, until the caller's own session, `session_id`, is among those ended.

        Raises:
            AppError: the caller may not go on. The sessions that `detail` counts have ended.
            ValidationFailed: a word does not mean anything; or none is said, and `everybody` is not meant.
        """
        if wanted == SessionFilter() and not everybody:
            raise ValidationFailed(("filter", "has to say something: for all sessions, `created_before` now"))
        if wanted.device == "":  # every device has nothing in its name: a list may begin there, an end would be all
            raise ValidationFailed(("device", "has to say something"))
        filtered = said(wanted)
        matched = await self._matched(filtered)
        if dry_run:
            return Ended(matched=matched, revoked=0)
        revoked = 0
        ends = time.monotonic() + WORK_SECONDS
        patient_until = time.monotonic() + PATIENCE
        while not revoked or time.monotonic() < ends:
            if judge is not None:
                await _ask(judge, revoked)
            ended = await self._batch(filtered, actor_id, client, details or {})
            revoked += len(ended)
            if session_id in ended:
                judge = None
            if ended:
                patient_until = time.monotonic() + PATIENCE
            elif time.monotonic() > patient_until or not await self._matched(filtered):
                break
            else:
                await asyncio.sleep(PAUSE)  # no connection is held meanwhile
        # What somebody else has just ended of the same, this answer vouches for as well.
        await self._outbox.settle(await self._outbox.unsettled(self._db))
        return Ended(matched=max(matched, revoked), revoked=revoked)

    async def _matched(self, filtered: Mapping[str, object]) -> int:
        async with self._lists.reading() as snapshot:
            found = await meant(snapshot, filtered)
            matched: int = await snapshot.value(_counted(found.words), found.values)
        return matched

    async def _batch(
        self,
        filtered: Mapping[str, object],
        actor_id: int | None,
        client: Client | None,
        details: Mapping[str, object],
    ) -> Sequence[UUID]:
        """End up to BATCH of them, as far as nobody else is changing them; which."""
        async with self._db.transaction() as tx:
            snapshot = Snapshot(tx)
            await plan_by_indexes(snapshot)
            found = await meant(snapshot, filtered)
            ids = [row["id"] for row in await snapshot.rows(_held(found.words), {**found.values, "most": BATCH})]
            ended = await queries.revoke_held(tx, ids, "revoked_by_admin", actor_id, client, details)
            change = await self._outbox.announce(tx, [session_key(session_id) for session_id in ended])
        await self._outbox.settle(change)
        return ended


@cache  # of some two hundred combinations of words at most
def _counted(words: Sequence[str]) -> Statement:
    return Statement(select(func.count()).select_from(SessionRow).where(*live(words)))


@cache  # as above
def _held(words: Sequence[str]) -> Statement:
    found = select(SessionRow.id).where(*live(words)).limit(MOST)
    return Statement(found.with_for_update(key_share=True, skip_locked=True))


async def _ask(judge: StillMay, revoked: int) -> None:
    """Raises what the judge does, and says how far the call has come."""
    try:
        await judge()
    except AppError as error:
        error.detail += f" {revoked:,} sessions have ended."
        raise

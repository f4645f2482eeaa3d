"""GPUStack's list of users, brought over: on a schedule by one replica at a time, and when somebody asks for it."""

import asyncio
import time
from random import SystemRandom
from uuid import UUID

import asyncpg
import msgspec
import structlog
from msgspec import Struct

from app.background import end
from app.database import Database
from app.errors import AppError, Conflict, Unavailable
from app.gpustack import queries as gpustack
from app.gpustack.answers import Account, GpustackAway, GpustackMisconfigured
from app.gpustack.directory import Directory
from app.gpustack.instance import is_name
from app.identity import shadow_queries
from app.identity.shadow_queries import Known
from app.identity.shadows import Origin, Outcome, SaysMore, Shadows, kept_full_name
from app.metrics import Metrics

log = structlog.get_logger(__name__)

FIRST = 5.0  # seconds after the start: GPUStack has been looked at by then
LOOKS = 4  # in the time of one sync: a replica that dies is stood in for after a quarter of it
JITTER = 0.2  # of the times between looks, either way
MOST_PAUSE = 60.0  # seconds between two looks whose turn it is
BATCH = 500  # shadows that are compared at a time


class SyncReport(Struct, frozen=True, kw_only=True):
    """How many users GPUStack has listed, and what was done about them here."""

    listed: int
    created: int
    updated: int
    deactivated: int
    reactivated: int
    skipped: int  # whose names nobody could sign in with
    duration_ms: int


class UpstreamSync:
    """Reads the list, and changes what differs.

    Whatever differs is asked once more, by the user's own page: the list may be older by now than what a login has
    said, and who is not in it may only have slipped between two pages. Only a 404 there ends a shadow. A list that is
    refused, breaks off, is empty, or lacks whoever reads it changes nothing.

    Args:
        db: the database.
        directory: the list; without a key there is none to read.
        shadows: who changes them.
        metrics: told when it was last done, by whichever replica.
        minutes: from one to the next; 0: only when asked.
    """

    def __init__(self, db: Database, directory: Directory, shadows: Shadows, metrics: Metrics, minutes: int) -> None:
        self._db = db
        self._directory = directory
        self._shadows = shadows
        self._seconds = minutes * 60.0
        self._one = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None
        self._last = 0.0
        what = "When GPUStack's list was last read to its end, in seconds since 1970; 0: never."
        metrics.gauge("auth_gpustack_synced_timestamp_seconds", what, lambda: self._last, "livemax")

    def start(self) -> None:
        if self._seconds and self._directory.has_key:
            self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        await end(self._keeper)

    async def sync(self, origin: Origin) -> SyncReport:
        """Read the list now.

        Raises:
            Conflict: there is no key to read it with.
            Unavailable: it cannot be read, or not be believed; what was changed before that was noticed stays.
        """
        if not self._directory.has_key:
            raise Conflict("GPUSTACK_API_KEY is not set: without it GPUStack shows its list to nobody.")
        async with self._one:
            return await self._run(origin)

    async def _run(self, origin: Origin) -> SyncReport:
        try:
            return await self._bring_over(origin)
        except (GpustackAway, GpustackMisconfigured) as found:
            raise Unavailable(f"GPUStack's list cannot be read: {found.reason}.") from found

    async def _bring_over(self, origin: Origin) -> SyncReport:
        started = time.monotonic()
        listed = await self._directory.everybody()
        if listed.reader.id not in listed.accounts:
            raise Unavailable("GPUStack's list lacks the user whose key reads it, so it is not whole.")
        new, outcomes = dict(listed.accounts), dict.fromkeys(Outcome.__args__, 0)  # type: ignore[attr-defined]
        after = UUID(int=0)
        while batch := await shadow_queries.known(self._db, self._shadows.issuer, after, BATCH):
            after = batch[-1].identity_id
            for known in batch:
                account = new.pop(int(known.subject), None)
                if known.is_active if account is None else _differs(known, account):
                    outcomes[await self._ask_once_more(known, origin)] += 1
        named = [account for account in new.values() if is_name(account.username)]
        for account in named:
            outcomes[await self._take_over(account, origin)] += 1
        report = SyncReport(
            listed=len(listed.accounts),
            created=outcomes["created"],
            updated=outcomes["updated"],
            deactivated=outcomes["deactivated"],
            reactivated=outcomes["reactivated"],
            skipped=len(new) - len(named),
            duration_ms=round(1000 * (time.monotonic() - started)),
        )
        await gpustack.note_sync(self._db, self._shadows.issuer, msgspec.to_builtins(report))
        self._last = await gpustack.last_sync(self._db, self._shadows.issuer)
        return report

    async def _ask_once_more(self, known: Known, origin: Origin) -> Outcome:
        account = await self._directory.account(int(known.subject))
        if account is None:
            return "deactivated" if await self._shadows.deactivate(known.subject, origin) else "unchanged"
        return await self._take_over(account, origin)

    async def _take_over(self, account: Account, origin: Origin) -> Outcome:
        if not is_name(account.username):
            return "unchanged"
        try:
            return (await self._shadows.take_over(account, origin)).outcome
        except SaysMore:
            again = await self._directory.account(account.id)
        if again is None or not is_name(again.username):
            return "unchanged"  # the next list says what has become of him
        return (await self._shadows.take_over(again, origin, asked_again=True)).outcome

    async def _keep(self) -> None:
        pause = FIRST
        while True:
            await asyncio.sleep(pause * SystemRandom().uniform(1 - JITTER, 1 + JITTER))
            pause = min(MOST_PAUSE, self._seconds / LOOKS)
            try:
                await self._take_turn()
            except (AppError, asyncpg.PostgresError) as error:
                log.warning("gpustack.not_synced", reason=str(error)[:200])

    async def _take_turn(self) -> None:
        issuer = self._shadows.issuer
        if self._directory.can_be_asked and await gpustack.claim_sync(self._db, issuer, self._seconds):
            async with self._one:
                report = await self._run(Origin())
            log.info("gpustack.synced", **msgspec.to_builtins(report))
        self._last = await gpustack.last_sync(self._db, issuer)


def _differs(known: Known, account: Account) -> bool:
    """Field by field; `updated_at` there does not tell of everything."""
    return (
        known.username != account.username
        or known.full_name != kept_full_name(account.full_name)
        or known.is_admin != account.is_admin
        or account.made_since(known.known_since, known.now)
        or known.is_active != (account.is_active and (known.is_active or known.deactivated_there))
    )

"""The clean-up: in small transactions, each under a lock that one replica holds at a time."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date
from random import SystemRandom

import asyncpg
import msgspec
import structlog
from msgspec import Struct

from app.audit import erasures
from app.audit import queries as audit_queries
from app.audit.events import Event, record
from app.background import end
from app.client import Client
from app.database import Database, Transaction
from app.errors import Unavailable
from app.factors import queries as factor_queries
from app.factors.totp import Totp
from app.federation import queries as federation_queries
from app.keys import queries as key_queries
from app.maintenance import queries
from app.proofs import queries as proof_queries
from app.sessions import queries as session_queries
from app.settings import Settings

log = structlog.get_logger(__name__)

SKEW_SECONDS = 60.0  # that replicas' clocks may differ: a key outlives its last token by as much
BATCH = 1000  # rows a transaction: some ten milliseconds
TURN_SECONDS = 3.0  # that somebody who asks for a clean-up waits for another one's batch
ERASURE_SECONDS = 60.0  # for the traces of one deleted person: some million events; the next run goes on
TABLE_LOCK_SECONDS = 0.5  # that a partition waits for the audit's table, for as long logins wait behind it
MONTHS_AHEAD = 2  # besides the present one
FIRST_RUN = 60.0  # seconds after the start, when a rollout is over
INTERVAL = 3600.0  # seconds from a run to the next
JITTER = 0.1  # of both, either way: replicas that start together do not run together


class Deleted(Struct, frozen=True, kw_only=True):
    sessions: int
    audit_events: int  # one by one; those of a dropped partition are not counted
    audit_partitions: int
    signing_keys: int
    one_time_tokens: int
    sign_ins: int  # at providers, that came to an end
    factors: int  # logins that waited for one too long, challenges, and secrets that were never confirmed


class CleanupReport(Struct, frozen=True, kw_only=True):
    deleted: Deleted
    duration_ms: int


class Busy(Exception):
    """Another replica is at it."""


async def clean_up(db: Database, settings: Settings, client: Client | None, actor_id: int | None) -> CleanupReport:
    """Clean up because somebody asks for it: by the API as `actor_id`, or by the command line, without one.

    Raises:
        DatabaseUnavailable: also where another clean-up does not let go of the lock for TURN_SECONDS.
    """
    report = await _Run(db, settings, patient=True).everything()
    await _tell(db, report, client, actor_id)
    return report


async def clean_up_on_schedule(db: Database, settings: Settings) -> CleanupReport | None:
    """Clean up because it is time; None if another replica is at it. Recorded only if there was anything to delete."""
    try:
        report = await _Run(db, settings, patient=False).everything()
    except Busy:
        return None
    if any(msgspec.structs.astuple(report.deleted)):
        await _tell(db, report, None, None)
    return report


async def _tell(db: Database, report: CleanupReport, client: Client | None, actor_id: int | None) -> None:
    async with db.transaction() as tx:
        await record(
            tx, Event.CLEANUP_RAN, client, actor_id=actor_id, details={"deleted": msgspec.to_builtins(report.deleted)}
        )


class _Run:
    """One clean-up, by somebody who waits for each turn, or by the schedule, which leaves it to whoever is at it.

    Of two that start together one is the first to find the other at it, and leaves; the other one goes on.
    """

    def __init__(self, db: Database, settings: Settings, *, patient: bool) -> None:
        self._db = db
        self._settings = settings
        self._patient = patient
        self._begun = False
        self._deleted: Counter[str] = Counter()

    async def everything(self) -> CleanupReport:
        started = time.monotonic()
        try:
            await self._steps(self._settings.session_retention_days, self._settings.audit_retention_days)
        except Busy:
            if not self._begun:
                raise  # else another one has come in between two batches, and does the rest
        deleted = Deleted(**{name: self._deleted[name] for name in Deleted.__struct_fields__})
        return CleanupReport(deleted=deleted, duration_ms=round(1000 * (time.monotonic() - started)))

    async def _steps(self, keep_sessions: int, keep_events: int) -> None:
        await self._lay_out_months()
        for user_id in await erasures.left_over(self._db):
            await erasures.blank(self._db, user_id, ERASURE_SECONDS)
        await self._reseal()
        await self._in_batches("counts", lambda tx: audit_queries.delete_old_counts(tx, keep_events, BATCH))
        await self._in_batches("slots", lambda tx: audit_queries.delete_old_slots(tx, keep_events, BATCH))
        await self._in_batches("sessions", lambda tx: session_queries.delete_ended(tx, keep_sessions, BATCH))
        await self._drop_months()
        await self._in_batches("audit_events", lambda tx: queries.delete_old_events(tx, keep_events, BATCH))
        await self._delete_keys()
        await self._in_batches("one_time_tokens", lambda tx: proof_queries.delete_expired(tx, BATCH))
        await self._in_batches("sign_ins", lambda tx: federation_queries.delete_expired(tx, BATCH))
        await self._in_batches("factors", lambda tx: factor_queries.delete_expired(tx, BATCH))

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[Transaction]:
        async with self._db.transaction() as tx:
            if self._patient:
                await queries.wait_turn(tx, TURN_SECONDS)
            elif not await queries.try_turn(tx):
                raise Busy
            self._begun = True
            yield tx

    async def _in_batches(self, name: str, delete: Callable[[Transaction], Awaitable[int]]) -> None:
        batch = BATCH
        while batch == BATCH:
            async with self._turn() as tx:
                batch = await delete(tx)
            self._deleted[name] += batch

    async def _lay_out_months(self) -> None:
        """Partitions for what is to come; what nobody laid out falls into the default partition and fails no login."""
        async with self._turn() as tx:
            months = await queries.missing_months(tx, MONTHS_AHEAD)
        for month in months:
            await self._alter(month, queries.add_month)

    async def _drop_months(self) -> None:
        async with self._turn() as tx:
            months = await queries.old_months(tx, self._settings.audit_retention_days)
        for month in months:
            self._deleted["audit_partitions"] += await self._alter(month, queries.drop_month)

    async def _alter(self, month: date, change: Callable[[Transaction, date], Awaitable[bool]]) -> bool:
        """Make or drop a partition, and say whether; where the table is busy or not ours, the next run tries again."""
        try:
            async with self._turn() as tx:
                await queries.limit_waits(tx, TABLE_LOCK_SECONDS)
                return await change(tx, month)
        except (Unavailable, asyncpg.PostgresError) as error:
            reason = repr(error.__cause__ or error)[:200]
            log.warning("cleanup.partition_skipped", month=f"{month:%Y-%m}", reason=reason)
            return False

    async def _reseal(self) -> None:
        """Secrets of authenticators go over to the present SECRET_KEY while the one before it is still at hand."""
        totp, last = Totp(self._settings), 0
        while True:
            async with self._turn() as tx:
                rows = await factor_queries.sealed_otherwise(tx, totp.key_id, last, BATCH)
                for row in rows:
                    sealed = totp.resealed(row["user_id"], row["sealed_secret"])
                    if sealed is not None:
                        await factor_queries.reseal(tx, row["user_id"], sealed)
            if not rows:
                return
            last = rows[-1]["user_id"]

    async def _delete_keys(self) -> None:
        """Signing keys whose last token has expired, once their successor is of the algorithm that we sign with.

        Where JWT_ALGORITHM was changed and changed back, the newest key of all is not the one that signs.
        """
        lifetime = 60.0 * self._settings.access_token_expire_minutes + SKEW_SECONDS
        async with self._turn() as tx:
            tried = [row["algorithm"] for row in await key_queries.all_keys(tx) if row["signs_in"] < -lifetime]
            if tried[-1:] == [self._settings.jwt_algorithm]:
                self._deleted["signing_keys"] += await key_queries.delete_retired(tx, lifetime)


class Maintenance:
    """Cleans up on a schedule, and when asked; one at a time in this process, so that callers do not empty its pool."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self._settings = settings
        self._one = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        await end(self._keeper)

    async def clean_up(self, client: Client, actor_id: int) -> CleanupReport:
        async with self._one:
            return await clean_up(self._db, self._settings, client, actor_id)

    async def _keep(self) -> None:
        pause = FIRST_RUN
        while True:
            await asyncio.sleep(pause * SystemRandom().uniform(1 - JITTER, 1 + JITTER))
            pause = INTERVAL
            try:
                async with self._one:
                    await clean_up_on_schedule(self._db, self._settings)
            except (Unavailable, asyncpg.PostgresError) as error:
                log.warning("cleanup.failed", reason=repr(error.__cause__ or error)[:200])

"""What has changed and may not yet be gone from Valkey: every process keeps up with it, or stops trusting Valkey."""

import asyncio
import itertools
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

import asyncpg
import structlog
from msgspec import Struct
from valkey.exceptions import ResponseError

from app.background import end
from app.cache.link import Links, ValkeyAway
from app.database import UNREACHABLE, Database, Transaction, opened_as
from app.errors import Unavailable
from db import incarnation

log = structlog.get_logger(__name__)

POLL_INTERVAL = 0.25  # seconds
POLL_TIMEOUT = 0.5  # seconds; with the interval it stays within TRUST
MISSES = 2  # polls in a row that fail before PostgreSQL counts as away: one alone may be this process's own stall
TRUST = 1.0  # seconds that Valkey is trusted from the start of the last successful poll (T)
WAIT = 1.1 * TRUST  # seconds after which nobody can still trust what he read before a commit (W > T, clocks drift)
RELAY_BATCH = 1000  # rows a round trip
PENDING = """
SELECT e.epoch, e.identity, d.differs, o.id, o.key
FROM cache_epoch e CROSS JOIN incarnation_differs() AS d (differs) LEFT JOIN cache_outbox o ON true
"""
RETRY_INTERVAL = 0.1  # seconds between two tries of a change to have its deletion confirmed


class Change(Struct, frozen=True):
    """The outbox rows of one committed change."""

    rows: dict[int, str]  # id of the row, key of the entry


class Outbox:
    """The poll that renews the lease, and the relay that carries over what another process left behind."""

    def __init__(self, database: Database, links: Links) -> None:
        self.pending: frozenset[str] = frozenset()  # keys that are asked of PostgreSQL and not filled
        self.trusted_until = 0.0  # on the monotonic clock
        self.lost = False  # PostgreSQL is away
        self.told_by: Sequence[str] = ()  # why neither store is to be believed, where `unfit`
        self._database = database
        self._links = links
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._misses = 0
        self._polling: asyncio.Task[None] | None = None
        self._seen: dict[int, str] = {}  # rows of the last poll
        self._left_behind: dict[int, str] = {}  # rows that two polls have shown
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def unfit(self) -> bool:
        """PostgreSQL holds a copy out of a backup, or an older schema."""
        return bool(self.told_by)

    async def start(self) -> None:
        """Nothing is read of PostgreSQL before a poll has told that it may be."""
        self._database.away = True
        for _ in range(MISSES):
            if self._database.away and not self.unfit:
                await self.poll()
        self._tasks = [asyncio.create_task(self._keep_polling()), asyncio.create_task(self._keep_relaying())]

    async def stop(self) -> None:
        await end(*self._tasks, self._polling)
        await self._hang_up()

    # ---- the lease ------------------------------------------------------------------------------------------------

    async def poll(self) -> None:
        """Renew the lease if PostgreSQL answers; a poll under way serves all, for its lease counts from its start."""
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll())
            self._polling.add_done_callback(self._polled)
        await asyncio.shield(self._polling)

    def _polled(self, _: "asyncio.Task[None]") -> None:
        self._polling = None

    async def _poll(self) -> None:
        started = time.monotonic()
        try:
            if self._connection is None:
                how = opened_as("gatehouse outbox", pooled=self._database.pooled)
                self._connection = await asyncpg.connect(self._database.url, timeout=POLL_TIMEOUT, **how)
            rows = await self._connection.fetch(PENDING, timeout=POLL_TIMEOUT)
        except asyncpg.UndefinedFunctionError:
            self._judge([incarnation.SCHEMA])
            return
        except (*UNREACHABLE, asyncpg.PostgresError) as error:  # half of a restored backup has tables, and no rights
            await self._hang_up()
            self._misses += 1
            if self._misses >= MISSES:
                if not self.lost:
                    log.warning("outbox.poll_failed", reason=repr(error)[:200])
                self.lost = True
                self._database.away = not isinstance(error, asyncpg.UndefinedTableError)
            return
        pending = {row["id"]: row["key"] for row in rows if row["id"] is not None}
        self._judge(rows[0]["differs"] if rows else [incarnation.ROW])
        if self.unfit:
            return
        self._links.heard(rows[0]["epoch"], rows[0]["identity"])
        self.pending = frozenset(pending.values())
        self._left_behind = {row: key for row, key in pending.items() if row in self._seen}
        self._seen = pending
        self.trusted_until = started + TRUST

    def _judge(self, differs: Sequence[str]) -> None:
        """PostgreSQL is there; what was revoked since the backup that it holds is live in both stores."""
        told_by = incarnation.told_by(differs, lossless_failover=self._database.lossless_failover)
        if told_by and not self.unfit:
            log.error("database.unfit", told_by=told_by, hint=incarnation.hint(told_by))
        self.told_by = told_by
        self._misses = 0
        self.lost = False
        self._database.away = self.unfit
        if self.unfit:
            self.trusted_until = 0.0

    async def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
            await asyncio.sleep(0)  # the transport closes its socket in the loop's next turn

    async def _keep_polling(self) -> None:
        while True:
            started = time.monotonic()
            await self.poll()
            await asyncio.sleep(max(0.0, started + POLL_INTERVAL - time.monotonic()))

    # ---- the relay ------------------------------------------------------------------------------------------------

    async def _keep_relaying(self) -> None:
        """Carry over rows that two polls have shown: their own process has died, or Valkey was away."""
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            rows = list(self._left_behind.items())
            for start in range(0, len(rows), RELAY_BATCH):
                if not await self._carry(dict(rows[start : start + RELAY_BATCH])):
                    break

    async def announce(self, tx: Transaction, keys: Iterable[str]) -> Change:
        """Note in the transaction of a change which entries it makes old; one row a change and key, never shared."""
        keys = list(keys)
        if not keys:
            return Change({})
        rows = await tx.fetch("INSERT INTO cache_outbox (key) SELECT unnest($1::text[]) RETURNING id, key", keys)
        return Change({row["id"]: row["key"] for row in rows})

    async def unsettled(self, tx: Database | Transaction, keys: Iterable[str] | None = None) -> Change:
        """What others have announced of these entries (of all) and not settled yet.

        Whoever finds nothing left to end answers for what another one has ended, and may not have carried to Valkey
        yet: he takes this on, or his answer would be out first. Asked after any wait for the other one's locks.
        """
        wanted = None if keys is None else list(keys)
        rows = await tx.fetch("SELECT id, key FROM cache_outbox WHERE $1::text[] IS NULL OR key = ANY($1)", wanted)
        return Change({row["id"]: row["key"] for row in rows})

    async def settle(self, *changes: Change) -> None:
        """After the commit: return once no process can still serve what the change has ended.

        That is when the entries are deleted and the rows gone, or, where the deletion is not confirmed, WAIT after the
        commit: by then everyone has polled and seen the row, or has stopped trusting Valkey.
        """
        rows = {row: key for change in changes for row, key in change.rows.items()}
        committed = time.monotonic()  # the loop's own clock stands still while it is busy
        while rows and (left := committed + WAIT - time.monotonic()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    some = dict(itertools.islice(rows.items(), RELAY_BATCH))
                    if await self._carry(some):
                        rows = {row: key for row, key in rows.items() if row not in some}
                    else:
                        await asyncio.sleep(RETRY_INTERVAL)

    async def _carry(self, rows: dict[int, str]) -> bool:
        """Delete the entries, then the rows; twice is harmless. True once the rows are gone, whoever removed them.

        Rows are removed only while the epoch that the deletion was sent under is the current one, and only if this
        process learned of it WAIT ago: until then somebody may still read the server of the epoch before (C5).
        """
        try:
            async with self._links.use() as link:
                await link.delete(list(set(rows.values())))
        except (ValkeyAway, ResponseError) as error:
            if isinstance(error, ResponseError):  # a replica now, or locked: the keeper finds out who is who
                self._links.drop(self._links.current)
            return False
        if time.monotonic() < self._links.learned_at + WAIT:
            return False
        try:
            return await self._remove(list(rows), link.epoch)
        except Unavailable:
            return False

    async def _remove(self, ids: Sequence[int], epoch: int) -> bool:
        async with self._database.connection() as connection:
            await connection.execute(
                "DELETE FROM cache_outbox WHERE id = ANY($1) AND $2 = (SELECT epoch FROM cache_epoch)", ids, epoch
            )
            left: int = await connection.fetchval("SELECT count(*) FROM cache_outbox WHERE id = ANY($1)", ids)
        return left == 0

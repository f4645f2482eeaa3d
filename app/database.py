"""PostgreSQL by asyncpg: the pool, the transaction, and the line between "no" and "we could not find out"."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import MappingProxyType
from typing import Any, Protocol, Self, TypeAlias

import asyncpg
import structlog
from asyncpg.connection import LoggedQuery
from asyncpg.pool import PoolConnectionProxy

from app.errors import Unavailable
from app.settings import Settings
from db import incarnation
from db.connection import Connection as AnyConnection

log = structlog.get_logger(__name__)


Watch: TypeAlias = Callable[[LoggedQuery], None]  # told of each statement, once it has ended


class Transaction(Protocol):
    """What statements run on inside a transaction."""

    async def execute(self, query: str, *args: object, timeout: float = ...) -> str: ...  # noqa: ASYNC109 - asyncpg's
    async def fetch(self, query: str, *args: object, timeout: float = ...) -> list[asyncpg.Record]: ...  # noqa: ASYNC109
    async def fetchrow(self, query: str, *args: object) -> asyncpg.Record | None: ...
    async def fetchval(self, query: str, *args: object) -> Any: ...  # noqa: ANN401 - as the statement says


CONNECT_TIMEOUT = 2.0  # seconds; a database on the same network answers in milliseconds
ACQUIRE_TIMEOUT = 2.0  # seconds a request waits for a connection before it is 503
STATEMENT_TIMEOUT = 5.0  # seconds; the longest statement of a request is a page of a list
IDLE_SECONDS = 300.0  # a connection unused as long is closed: a burst does not hold the budget for ever

# What every session asks of PostgreSQL. What nobody waits for any more ends by itself.
OWN = {"jit": "off", "statement_timeout": f"{round(STATEMENT_TIMEOUT)}s"}

UNREACHABLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.QueryCanceledError,
    asyncpg.DeadlockDetectedError,
    asyncpg.UndefinedTableError,  # not migrated yet: readiness says so
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.DiskFullError,
    asyncpg.OutOfMemoryError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)


class DatabaseUnavailable(Unavailable):
    """PostgreSQL cannot be reached, or did not answer in time; whether a write took effect is not known."""


@asynccontextmanager
async def reachable() -> AsyncGenerator[None]:
    """Turn every way in which PostgreSQL can be away into one error."""
    try:
        yield
    except UNREACHABLE as error:
        log.warning("database.failed", reason=repr(error)[:200])
        raise DatabaseUnavailable from error


async def _nothing_to_reset(_: object) -> None:
    """Without this asyncpg would send RESET ALL, UNLISTEN and the like whenever a connection goes back: a round trip.

    We leave nothing behind: no session-level lock, no SET but LOCAL, no LISTEN, no cursor outside a transaction.
    """


def opened_as(name: str, settings: Mapping[str, str] = MappingProxyType({}), *, pooled: bool) -> dict[str, Any]:
    """How a connection is opened that is `name` in pg_stat_activity.

    A pooler gives the server's session to somebody else after each transaction: no statement stays prepared, and it
    takes no parameter but those that it can carry along. The role has to have the others (docs/operations.md).
    """
    carried = {"application_name": name, "timezone": "UTC"}
    if pooled:
        return {"server_settings": carried, "statement_cache_size": 0}
    return {"server_settings": {**carried, **OWN, **settings}}


class Database:
    """The pool. Connections are made when needed, so that a process starts, and recovers, without PostgreSQL.

    Args:
        url: where.
        size: connections at most.
        name: in pg_stat_activity.
        settings: of PostgreSQL, beside those of every connection.
        pooled: a pooler in transaction mode stands between (DATABASE_POOLER).
        lossless_failover: another timeline is no restored copy (LOSSLESS_FAILOVER).
        watch: told of every statement.
    """

    def __init__(
        self,
        url: str,
        size: int,
        name: str = "gatehouse",
        settings: Mapping[str, str] = MappingProxyType({}),
        *,
        pooled: bool = False,
        lossless_failover: bool = False,
        watch: Watch | None = None,
    ) -> None:
        self.url = url
        self.size = size
        self.pooled = pooled
        self.lossless_failover = lossless_failover
        self._opened_as = opened_as(name, settings, pooled=pooled)
        self._prelude = ""  # of each transaction, which asks for itself what a session would have had
        if pooled and settings:
            self._prelude = "; ".join(f"SET LOCAL {each} = '{value}'" for each, value in {**OWN, **settings}.items())
        self._watch = watch
        self.away = False  # by what the polls of the outbox say: nobody waits for what does not come, or is unfit
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    @classmethod
    def of(
        cls,
        settings: Settings,
        size: int,
        name: str = "gatehouse",
        session: Mapping[str, str] = MappingProxyType({}),
        watch: Watch | None = None,
    ) -> Self:
        """The one that the settings name."""
        lossless = settings.lossless_failover
        return cls(
            settings.database_url, size, name, session, pooled=settings.pooled, lossless_failover=lossless, watch=watch
        )

    async def start(self) -> None:
        self._pool = await asyncpg.create_pool(
            self.url,
            min_size=0,
            max_size=self.size,
            timeout=CONNECT_TIMEOUT,
            command_timeout=STATEMENT_TIMEOUT,
            max_inactive_connection_lifetime=IDLE_SECONDS,
            init=self._begin,
            setup=self._judge if self.pooled else None,  # behind a pooler the database is replaced unseen
            reset=_nothing_to_reset,
            **self._opened_as,
        )

    async def _begin(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        await self._judge(connection)
        if self._watch is not None:
            connection.add_query_logger(self._watch)

    async def _judge(self, connection: AnyConnection) -> None:
        """Use no connection to a database that is brought back from a backup: that has ended those that there were."""
        try:
            told_by = await incarnation.copied(connection, lossless_failover=self.lossless_failover)
        except asyncpg.UndefinedFunctionError:
            told_by = [incarnation.SCHEMA]
        if told_by:
            raise DatabaseUnavailable from incarnation.Unfit(told_by)

    async def stop(self) -> None:
        if self._pool is not None:
            pool, self._pool = self._pool, None
            try:
                await asyncio.wait_for(pool.close(), 2.0)  # seconds; what is still out then is cut off
            except (TimeoutError, *UNREACHABLE):
                pool.terminate()
                await asyncio.sleep(0)  # the transports close their sockets in the loop's next turn

    @property
    def pool(self) -> "asyncpg.Pool[asyncpg.Record]":
        if self._pool is None or self.away:
            raise DatabaseUnavailable
        return self._pool

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator["PoolConnectionProxy[asyncpg.Record]"]:
        """A connection for single statements, each of which commits by itself.

        Raises:
            DatabaseUnavailable: there is no connection to be had, or it broke, or a statement took too long.
        """
        async with reachable(), self.pool.acquire(timeout=ACQUIRE_TIMEOUT) as connection:
            try:
                yield connection
            except TimeoutError:
                connection.terminate()  # else its release would wait for a cancellation that nobody may confirm
                raise

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Transaction]:
        """A transaction: short, and never across hashing, mail or Valkey.

        Raises:
            DatabaseUnavailable: as for `connection`; the transaction may or may not have been committed.
        """
        async with self.connection() as connection, connection.transaction():
            if self._prelude:
                await connection.execute(self._prelude)
            yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncGenerator[Transaction]:
        """A transaction whose statements all see one moment's state, and which can change nothing.

        Raises:
            DatabaseUnavailable: as for `connection`.
        """
        async with self.connection() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
            if self._prelude:
                await connection.execute(self._prelude)
            yield connection

    def _single(self) -> AbstractAsyncContextManager["PoolConnectionProxy[asyncpg.Record] | Transaction"]:
        """What a statement by itself runs on."""
        return self.transaction() if self._prelude else self.connection()

    async def fetch(
        self,
        query: str,
        *args: object,
        timeout: float = STATEMENT_TIMEOUT,  # noqa: ASYNC109 - asyncpg's own word
    ) -> list[asyncpg.Record]:
        async with self._single() as connection:
            return await connection.fetch(query, *args, timeout=timeout)

    async def fetchrow(self, query: str, *args: object) -> asyncpg.Record | None:
        async with self._single() as connection:
            return await connection.fetchrow(query, *args)

    async def execute(self, query: str, *args: object) -> str:
        async with self._single() as connection:
            return await connection.execute(query, *args)

    def gauge(self) -> tuple[int, int]:
        """Connections open, and of these in use."""
        pool = self._pool
        return (0, 0) if pool is None else (pool.get_size(), pool.get_size() - pool.get_idle_size())

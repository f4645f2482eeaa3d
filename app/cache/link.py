"""The way to Valkey: one server whose identity is known, in one epoch; dropped whole at the first doubt."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import asyncpg
import libvalkey
import structlog
from valkey.asyncio import BlockingConnectionPool, Valkey
from valkey.asyncio.connection import AbstractConnection
from valkey.asyncio.retry import Retry
from valkey.backoff import NoBackoff
from valkey.exceptions import ConnectionError as ValkeyConnectionError
from valkey.exceptions import ResponseError, ValkeyError

from app.background import end
from app.database import Database
from app.deadlines import Deadlines
from app.errors import Unavailable

log = structlog.get_logger(__name__)

DEADLINE = 0.25  # seconds for whatever Valkey is asked: a round trip takes 0.0002, and PostgreSQL can answer instead
CONNECT_DEADLINE = 1.0  # seconds to connect and learn who answers: a TLS handshake and two questions
LATE = 0.05  # seconds that it may be exceeded
CONNECTIONS = 32  # a process; lookups use one, the others are for limits, fills and deletions of a moment
IDLE = 1.0  # seconds; a connection that rested longer may have been closed by a server that ends idle ones
RECONNECT_FIRST, RECONNECT_MOST = 0.1, 1.0  # seconds between two tries to reach Valkey: the breaker's rest
GRANT_INTERVAL = 10  # seconds between two epochs: two servers that are both reachable must not take turns faster


class ValkeyAway(Exception):
    """Valkey cannot be reached, is not trusted, or did not answer within DEADLINE."""


@dataclass(eq=False)
class Link:
    """Connections to one server, each of which was checked to be this server when it was opened."""

    epoch: int
    identity: str
    client: Valkey
    users: int = 0  # a link that was dropped is closed by the last who uses it, not under anybody's feet
    _reader: AbstractConnection | None = None
    _read_at: float = 0.0  # on the loop's clock

    def key(self, key: str) -> str:
        return self.prefix + key

    def __post_init__(self) -> None:
        self.prefix = f"gatehouse:{self.epoch}:"

    async def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """What stands under these keys. One caller at a time (a `Batch` sees to that).

        It goes by a connection of its own and is packed in C: by the client's own way, which takes a connection from
        the pool and packs in Python, it would be three times as much work, and half of all that `/verify` costs.
        """
        pool, now = self.client.connection_pool, asyncio.get_running_loop().time()
        if self._reader is not None and now - self._read_at > IDLE:
            rested, self._reader = self._reader, None
            await pool.release(rested)  # which looks whether it is still good when it gives it out again
        self._reader = reader = self._reader or await pool.get_connection("MGET")  # type: ignore[no-untyped-call]
        self._read_at = now
        prefix = self.prefix
        command = libvalkey.pack_command(("MGET", *[prefix + key for key in keys]))
        await reader.send_packed_command(command, check_health=False)
        return cast("list[bytes | None]", await reader.read_response())


class Links:
    """Keeps one link open and the epoch right; `current` is None while Valkey is away or not yet known."""

    def __init__(self, url: str, database: Database, link: Callable[[int, str, Valkey], Link] = Link) -> None:
        self.url = url
        self._link = link
        self.current: Link | None = None
        self.epoch = 0  # the newest this process has heard of
        self.learned_at = 0.0  # when, on the monotonic clock
        self._database = database
        self._identity = ""  # whom that epoch was granted to
        self._deadlines = Deadlines(LATE)
        self._wanted = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._links: set[Link] = set()  # that are not closed yet: the current one, and dropped ones that are in use
        self._closing: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        with suppress(ValkeyAway, Unavailable):
            await self._open()
        if self.current is None:
            self._wanted.set()
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        await end(self._keeper)
        self.current = None
        for link in list(self._links):
            await _close(link.client)  # whoever still uses it is told that Valkey is away,
            self._close_unused(link)  # and closes what he was just opening
        await asyncio.gather(*self._closing, return_exceptions=True)

    @asynccontextmanager
    async def use(self) -> AsyncGenerator[Link]:
        """The link, for commands that together take at most DEADLINE.

        Raises:
            ValkeyAway: whatever went wrong but a refusal of the command itself; the link is dropped.
            ResponseError: the server answered, and refused.
        """
        link = self.current
        if link is None:
            raise ValkeyAway
        link.users += 1
        try:
            with self._deadlines.within(DEADLINE):
                yield link
        except ResponseError:
            raise
        except (ValkeyError, OSError, TimeoutError) as error:
            self.drop(link)
            raise ValkeyAway(repr(error)) from error
        finally:  # who is cancelled gets here as well; the client has closed the connection that was waited on
            link.users -= 1
            self._close_unused(link)

    def drop(self, link: Link | None) -> None:
        """Use this link no more; the keeper looks for a new one."""
        if link is None or self.current is not link:
            return
        self.current = None
        self._wanted.set()
        self._close_unused(link)

    def _close_unused(self, link: Link) -> None:
        if self.current is not link and not link.users and link in self._links:
            self._close(link)

    def _close(self, link: Link) -> None:
        self._links.remove(link)
        task = asyncio.get_running_loop().create_task(_close(link.client))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def heard(self, epoch: int, identity: str) -> None:
        """PostgreSQL says whose memory is trusted; a link of another epoch is dropped."""
        if epoch != self.epoch:
            self.epoch, self._identity = epoch, identity
            self.learned_at = asyncio.get_running_loop().time()
            if self.current is not None and self.current.epoch != epoch:
                log.info("valkey.epoch_changed", epoch=epoch)
                self.drop(self.current)

    async def _keep(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            pause = RECONNECT_FIRST
            while self.current is None:
                try:
                    await self._open()
                    log.info("valkey.connected", epoch=self.epoch)
                except (ValkeyAway, Unavailable, asyncpg.PostgresError) as error:
                    log.warning("valkey.away", reason=str(error.__cause__ or error)[:200])
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, RECONNECT_MOST)

    async def _open(self) -> None:
        """Find out who answers, have the epoch granted to it, and take it into use.

        Raises:
            ValkeyAway: nobody answers, or a replica, or the epoch belongs to another server at the moment.
            Unavailable: PostgreSQL cannot say, and this is not the server that was trusted last.
        """
        probe = self._client(None)
        try:
            async with asyncio.timeout(CONNECT_DEADLINE):
                identity = await _identify(probe)
        except (ValkeyError, OSError, TimeoutError) as error:
            raise ValkeyAway(repr(error)) from error
        finally:
            await _close(probe)
        try:
            epoch = await self._granted(identity)
        except Unavailable:
            if identity != self._identity:
                raise
            epoch = self.epoch  # the same server as ever: what is cached goes on serving without PostgreSQL
        self.current = self._link(epoch, identity, self._client(identity))
        self._links.add(self.current)

    async def _granted(self, identity: str) -> int:
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                """
                UPDATE cache_epoch SET epoch = epoch + 1, identity = $1, granted_at = clock_timestamp()
                WHERE identity <> $1 AND granted_at < clock_timestamp() - make_interval(secs => $2)
                RETURNING epoch, identity
                """,
                identity,
                GRANT_INTERVAL,
            ) or await connection.fetchrow("SELECT epoch, identity FROM cache_epoch")
        if row is None or row["identity"] != identity:
            raise ValkeyAway("another Valkey server is trusted at the moment")
        self.heard(row["epoch"], row["identity"])
        return cast("int", row["epoch"])

    def _client(self, identity: str | None) -> Valkey:
        async def check(connection: AbstractConnection) -> None:
            await connection.on_connect()
            if identity is not None and await _identity_of(connection) != identity:
                raise ValkeyConnectionError("another server answers at this address")

        pool = BlockingConnectionPool.from_url(
            self.url,
            max_connections=CONNECTIONS,
            timeout=DEADLINE,
            socket_timeout=None,  # whoever asks has a deadline, and this one would cost a task a command
            socket_connect_timeout=CONNECT_DEADLINE,
            valkey_connect_func=check,
            retry=Retry(NoBackoff(), 0),
        )
        return Valkey(connection_pool=pool)


async def _identify(client: Valkey) -> str:
    connection = cast("AbstractConnection", await client.connection_pool.get_connection("INFO"))  # type: ignore[no-untyped-call]
    try:
        return await _identity_of(connection)
    finally:
        await client.connection_pool.release(connection)


async def _identity_of(connection: AbstractConnection) -> str:
    """`run_id` alone survives two fail-overs with a lost write in between; `master_replid` is new at each (C7)."""
    said: dict[str, str] = {}
    for section in ("server", "replication"):
        await connection.send_command("INFO", section)
        answer: Any = await connection.read_response()
        text = answer.decode() if isinstance(answer, bytes) else str(answer)
        said |= dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    if said.get("role") != "master":
        raise ValkeyConnectionError("this server is a replica")
    return f"{said['run_id']}:{said['master_replid']}"


async def _close(client: Valkey) -> None:
    with suppress(ValkeyError, OSError, TimeoutError):
        await client.aclose()
        await client.connection_pool.disconnect()

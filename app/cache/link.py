"""The way to Valkey: one memory whose identity is known, in one epoch; dropped whole at the first doubt."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import cast

import structlog
from valkey.exceptions import ResponseError, ValkeyError

from app import valkey_url
from app.background import end
from app.cache import cluster, sentinel, server
from app.cache.cluster import Cluster
from app.cache.server import CONNECT_DEADLINE, DEADLINE, Link, Server
from app.database import Database
from app.deadlines import Deadlines
from app.errors import Unavailable
from app.valkey_url import ValkeyUrl

log = structlog.get_logger(__name__)

LATE = 0.05  # seconds that DEADLINE may be exceeded
RECONNECT_FIRST, RECONNECT_MOST = 0.1, 1.0  # seconds between two tries to reach Valkey: the breaker's rest
GRANT_INTERVAL = 10  # seconds between two epochs: two servers that are both reachable must not take turns faster


class ValkeyAway(Exception):
    """Valkey cannot be reached, is not trusted, or did not answer within DEADLINE."""


class Links:
    """Keeps one link open and the epoch right; `current` is None while Valkey is away or not yet known."""

    def __init__(self, url: str, database: Database, shown: Callable[[Link], Link] = lambda link: link) -> None:
        self.url = url
        self._shown = shown  # to whoever wants to see what it does
        self.current: Link | None = None
        self.epoch = 0  # the newest this process has heard of
        self.learned_at = 0.0  # when, on the monotonic clock
        self._database = database
        self._identity = ""  # whom that epoch was granted to
        self._deadlines = Deadlines(LATE)
        self._wanted = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._links: set[Link] = set()  # that are not closed yet: the current one, and dropped ones that are in use
        self._all_left = asyncio.Event()  # nobody uses a link any more
        self._closing: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        with suppress(ValkeyAway, Unavailable):
            await self._open()
        if self.current is None:
            self._wanted.set()
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Come back once nothing is open, which takes whoever still uses a link DEADLINE at most."""
        await end(self._keeper)
        self.current = None
        for link in list(self._links):
            await link.close()  # whoever still uses it is told that Valkey is away,
            self._close_unused(link)  # and closes what he was just opening
        if self._links:
            await self._all_left.wait()
        await asyncio.gather(*self._closing, return_exceptions=True)

    @asynccontextmanager
    async def use(self) -> AsyncGenerator[Link]:
        """The link, for commands that together take at most DEADLINE.

        Raises:
            ValkeyAway: whatever went wrong but a refusal of the command itself; the link is dropped.
            ResponseError: a server answered, and refused, though it is the one to ask.
        """
        link = self.current
        if link is None:
            raise ValkeyAway
        link.users += 1
        try:
            with self._deadlines.within(DEADLINE):
                yield link
        except ResponseError as error:
            if not server.is_elsewhere(error):
                raise
            self.drop(link)
            raise ValkeyAway(repr(error)) from error
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
        if not self._links:
            self._all_left.set()
        task = asyncio.get_running_loop().create_task(link.close())
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
                except Exception as error:  # noqa: BLE001 - nobody else would look for Valkey again
                    log.warning("valkey.away", reason=str(error.__cause__ or error)[:200] or type(error).__name__)
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, RECONNECT_MOST)

    async def _open(self) -> None:
        """Find out who answers, have the epoch granted to it, and take it into use.

        Raises:
            ValkeyAway: nobody answers, or a replica, or the epoch belongs to another memory at the moment.
            Unavailable: PostgreSQL cannot say, and this is not the memory that was trusted last.
        """
        try:
            async with asyncio.timeout(CONNECT_DEADLINE):
                found = await find(valkey_url.parse(self.url))
        except (ValkeyError, OSError, TimeoutError, ValueError) as error:  # ValueError: a file that it names is away
            raise ValkeyAway(repr(error)) from error
        try:
            epoch = await self._granted(found.identity)
        except Unavailable:
            if found.identity != self._identity:
                raise
            epoch = self.epoch  # the same as ever: what is cached goes on serving without PostgreSQL
        self.current = self._shown(found.link(epoch))
        self._links.add(self.current)
        self._all_left.clear()

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


async def find(url: ValkeyUrl) -> Server | Cluster:
    """Who has the memory at the moment: the server of this name, the primary that sentinels know, or a cluster.

    Raises:
        ValkeyError, OSError: that cannot be said.
    """
    context = await asyncio.to_thread(url.context)  # reads files; anew, for certificates are replaced
    if url.kind == "cluster":
        return await cluster.find(url, context)
    address = url.hosts[0] if url.kind == "server" else await sentinel.primary(url, context)
    return await server.find(url, context, address)

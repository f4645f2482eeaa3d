"""One Valkey server: who it is, and connections that reach nobody else."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import libvalkey
from msgspec import Struct
from valkey.asyncio import BlockingConnectionPool, Valkey
from valkey.asyncio.connection import AbstractConnection, Connection
from valkey.asyncio.retry import Retry
from valkey.backoff import NoBackoff
from valkey.exceptions import ConnectionError as ValkeyConnectionError
from valkey.exceptions import ReadOnlyError, ResponseError, ValkeyError

from app.valkey_url import ValkeyUrl

DEADLINE = 0.25  # seconds for whatever Valkey is asked: a round trip takes 0.0002, and PostgreSQL can answer instead
CONNECT_DEADLINE = 1.0  # seconds to connect and learn who answers: a TLS handshake and two questions
HOST_DEADLINE = 0.4  # seconds for a sentinel or a host of a cluster's URL; who is named by it has to be asked as well
CONNECTIONS = 32  # a process and server; lookups use one, the others are for limits, fills and deletions of a moment
IDLE = 1.0  # seconds; a connection that rested longer may have been closed by a server that ends idle ones

# How a server refuses that is not, or no longer, the one to ask: a cluster's words, and READONLY.
ELSEWHERE = ("MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "CROSSSLOT", "MASTERDOWN")

Address = tuple[str, int]
Command = tuple[Any, ...]


class Elsewhere(ResponseError):
    """Who was asked is not the one to ask: what he says of other keys is not to be believed either."""


def sound(answers: list[Any]) -> list[Any]:
    """The answers, among which there may be refusals.

    Raises:
        Elsewhere: one of them says that another server is to be asked.
    """
    for answer in answers:
        if isinstance(answer, ResponseError) and is_elsewhere(answer):
            raise Elsewhere(str(answer)) from answer
    return answers


def is_elsewhere(error: ResponseError) -> bool:
    return isinstance(error, (ReadOnlyError, Elsewhere)) or str(error).partition(" ")[0] in ELSEWHERE


class EncryptedConnection(Connection):
    """With TLS by a context that all share.

    valkey-py's own reads the machine's certificates for every connection, and does not look at the host's name.
    """

    def __init__(self, *, context: ssl.SSLContext, **options: Any) -> None:  # noqa: ANN401 - valkey-py's own
        super().__init__(**options)
        self._context = context

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {**super()._connection_arguments(), "ssl": self._context}


class Reader:
    """The connection that lookups go by; it is kept from one to the next."""

    def __init__(self, client: Valkey) -> None:
        self._pool = client.connection_pool
        self._kept: AbstractConnection | None = None
        self._used_at = 0.0  # on the loop's clock

    async def connection(self) -> AbstractConnection:
        """For one caller at a time."""
        now = asyncio.get_running_loop().time()
        if self._kept is not None and (now - self._used_at > IDLE or _is_lost(self._kept)):
            rested, self._kept = self._kept, None
            await self._pool.release(rested)  # which looks whether it is still good when it gives it out again
        self._kept = kept = self._kept or await self._pool.get_connection("MGET")  # type: ignore[no-untyped-call]
        self._used_at = now
        return cast("AbstractConnection", kept)


def _is_lost(connection: AbstractConnection) -> bool:
    """Whether the loop has heard that it was reset: to write to it would be a RuntimeError of uvloop's."""
    writer = connection._writer  # noqa: SLF001 - valkey-py looks for what has come, and not whether it may write
    return writer is not None and writer.is_closing()


@dataclass(eq=False)
class Link:
    """Connections to one server, each of which was checked to be this server when it was opened."""

    epoch: int
    identity: str
    client: Valkey
    users: int = 0  # a link that was dropped is closed by the last who uses it, not under anybody's feet

    def __post_init__(self) -> None:
        self.prefix = f"gatehouse:{self.epoch}:"
        self._reader = Reader(self.client)

    def key(self, key: str) -> str:
        return self.prefix + key

    def at(self, key: str) -> Valkey:  # noqa: ARG002 - a cluster's goes by it
        """The server that has this key."""
        return self.client

    async def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """What stands under these keys, of the epoch. One caller at a time (a `Batch` sees to that).

        It goes by a connection of its own and is packed in C: by the client's own way, which takes a connection from
        the pool and packs in Python, it would be three times as much work, and half of all that `/verify` costs.
        """
        reader = await self._reader.connection()
        prefix = self.prefix
        command = libvalkey.pack_command(("MGET", *[prefix + key for key in keys]))
        await reader.send_packed_command(command, check_health=False)
        return cast("list[bytes | None]", await reader.read_response())

    async def run(self, commands: Sequence[tuple[str, Command]]) -> list[Any]:
        """The answers to these commands, each given with a key that it is about; refusals are among them.

        Raises:
            Elsewhere: another server is to be asked.
        """
        return sound(await pipelined(self.client, [command for _, command in commands]))

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete what stands under these keys, of the epoch.

        Raises:
            ResponseError: the server refuses.
        """
        await self.client.delete(*(self.prefix + key for key in keys))

    async def ping(self) -> None:
        await self.client.ping()

    async def close(self) -> None:
        await close(self.client)


class Server(Struct, frozen=True):
    """Who answers, and where; a memory of its own."""

    url: ValkeyUrl
    context: ssl.SSLContext | None
    address: Address
    identity: str

    @property
    def servers(self) -> tuple["Server"]:
        """As of a cluster."""
        return (self,)

    def client(self) -> Valkey:
        return client(self.url, self.context, self.address, self.identity)

    def link(self, epoch: int) -> Link:
        return Link(epoch, self.identity, self.client())


async def find(url: ValkeyUrl, context: ssl.SSLContext | None, address: Address) -> Server:
    """Who answers there.

    Raises:
        ValkeyError, OSError: nobody does, or it is no primary that stands for itself.
    """
    async with connected(client(url, context, address, None)) as connection:
        said = await info(connection)
        mode = said.get("server_mode") or said.get("redis_mode")
        if mode in ("cluster", "sentinel"):
            raise ValkeyConnectionError(
                f"this is a server of mode {mode}: VALKEY_URL has to begin with valkey+{mode}://"
            )
        return Server(url, context, address, identity_in(said))


def pool(context: ssl.SSLContext | None, address: Address, **options: Any) -> BlockingConnectionPool:  # noqa: ANN401
    """`options` are those of a connection of valkey-py."""
    options |= {"connection_class": EncryptedConnection, "context": context} if context else {}
    return BlockingConnectionPool(
        host=address[0],
        port=address[1],
        timeout=cast("int", DEADLINE),  # the client takes more than its annotations say
        socket_timeout=None,  # whoever asks has a deadline, and this one would cost a task a command
        socket_connect_timeout=CONNECT_DEADLINE,
        retry=Retry(NoBackoff(), 0),
        **options,
    )


def client(url: ValkeyUrl, context: ssl.SSLContext | None, address: Address, identity: str | None) -> Valkey:
    """Connections to this server, each of which asks when it is opened whether it is this one (None: whoever it is)."""

    async def check(connection: AbstractConnection) -> None:
        await connection.on_connect()
        if identity is not None and await identity_of(connection) != identity:
            raise ValkeyConnectionError("another server answers at this address")

    return Valkey(
        connection_pool=pool(
            context,
            address,
            max_connections=CONNECTIONS,
            username=url.username,
            password=url.password,
            db=url.database,
            valkey_connect_func=check,
        )
    )


async def identity_of(connection: AbstractConnection) -> str:
    return identity_in(await info(connection))


def identity_in(said: Mapping[str, str]) -> str:
    """`run_id` alone survives two fail-overs with a lost write in between; `master_replid` is new at each (C7)."""
    if said.get("role") != "master":
        raise ValkeyConnectionError("this server is a replica, and not the primary")
    if not said.get("run_id") or not said.get("master_replid"):
        raise ValkeyConnectionError("this server does not say who it is")
    return f"{said['run_id']}:{said['master_replid']}"


async def info(connection: AbstractConnection) -> dict[str, str]:
    """What a server says of itself and of its replication."""
    said: dict[str, str] = {}
    for section in ("server", "replication"):
        lines = text_of(await ask(connection, "INFO", section)).splitlines()
        said |= dict(line.split(":", 1) for line in lines if ":" in line)
    return said


async def ask(connection: AbstractConnection, *command: str) -> Any:  # noqa: ANN401 - what a server says
    await connection.send_command(*command)
    return await connection.read_response()


@asynccontextmanager
async def connected(client: Valkey) -> AsyncGenerator[AbstractConnection]:
    """A connection for some questions, after which the client is closed."""
    try:
        connection = await client.connection_pool.get_connection("INFO")  # type: ignore[no-untyped-call]
        try:
            yield connection
        finally:
            await client.connection_pool.release(connection)
    finally:
        await close(client)


async def pipelined(client: Valkey, commands: Sequence[Command]) -> list[Any]:
    pipe = client.pipeline(transaction=False)
    for command in commands:
        pipe.execute_command(*command)
    return cast("list[Any]", await pipe.execute(raise_on_error=False))


def text_of(answer: Any) -> str:  # noqa: ANN401 - what a server says
    return answer.decode(errors="replace") if isinstance(answer, bytes) else str(answer)


async def close(client: Valkey) -> None:
    with suppress(ValkeyError, OSError, TimeoutError):
        await client.aclose()
        await client.connection_pool.disconnect()

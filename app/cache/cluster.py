"""A cluster as one memory: the map of its slots, who has them, and lookups that go to all of them at once.

Any change of the map, and of who one of the primaries is, makes another memory of it: docs/decisions/0010-stores.md.
"""

import asyncio
import hashlib
import ssl
from collections import Counter
from collections.abc import Awaitable, Sequence
from typing import Any

import libvalkey
from msgspec import Struct
from valkey.asyncio import Valkey
from valkey.asyncio.connection import AbstractConnection
from valkey.crc import VALKEY_CLUSTER_HASH_SLOTS, key_slot
from valkey.exceptions import ConnectionError as ValkeyConnectionError
from valkey.exceptions import ResponseError, ValkeyError

from app.cache.server import (
    HOST_DEADLINE,
    Address,
    Command,
    Link,
    Reader,
    Server,
    ask,
    client,
    close,
    connected,
    identity_of,
    pipelined,
    sound,
    text_of,
)
from app.valkey_url import ValkeyUrl

NO_CLUSTER = "cluster support disabled"  # what a server that is not in one says of CLUSTER NODES


class Primary(Struct, frozen=True):
    """One that has slots, as a node of the cluster sees it."""

    id: str
    address: Address
    ranges: tuple[str, ...]  # of slots: `0-5460`, `7`


View = tuple[Primary, ...]


class ClusterLink(Link):
    """Connections to every primary, each of which was checked to be this server when it was opened.

    A redirection is never followed: what a node refuses ends the link.
    """

    def __init__(self, epoch: int, identity: str, clients: Sequence[Valkey], slots: Sequence[int]) -> None:
        super().__init__(epoch, identity, clients[0])
        self._clients = clients
        self._readers = [Reader(each) for each in clients]
        self._slots = slots  # which of the clients has each

    def at(self, key: str) -> Valkey:
        return self._clients[self._node(key)]

    def _node(self, key: str) -> int:
        return self._slots[key_slot(key.encode())]

    async def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """One GET a key, all of a node's in one piece, all nodes at once: an MGET may not reach beyond a slot."""
        asked: dict[int, list[int]] = {}
        for at, key in enumerate(keys):
            asked.setdefault(self._node(self.prefix + key), []).append(at)
        found: list[bytes | None] = [None] * len(keys)
        readers: list[AbstractConnection] = []
        try:
            for node, places in asked.items():
                reader = await self._readers[node].connection()
                readers.append(reader)
                commands = [libvalkey.pack_command(("GET", self.prefix + keys[at])) for at in places]
                await reader.send_packed_command(b"".join(commands), check_health=False)
            for reader, places in zip(readers, asked.values(), strict=True):
                for at in places:
                    found[at] = await _value(reader)
        except BaseException:  # whoever comes next must not read what is still on its way
            for reader in readers:
                await reader.disconnect(nowait=True)
            raise
        return found

    async def run(self, commands: Sequence[tuple[str, Command]]) -> list[Any]:
        asked: dict[int, list[int]] = {}
        for at, (key, _) in enumerate(commands):
            asked.setdefault(self._node(key), []).append(at)
        answers: list[Any] = [None] * len(commands)

        async def run_at(node: int, places: Sequence[int]) -> None:
            answered = await pipelined(self._clients[node], [commands[at][1] for at in places])
            for at, answer in zip(places, answered, strict=True):
                answers[at] = answer

        await _all(*(run_at(node, places) for node, places in asked.items()))
        return sound(answers)

    async def delete(self, keys: Sequence[str]) -> None:
        names = [self.prefix + key for key in keys]
        for answer in await self.run([(name, ("DEL", name)) for name in names]):
            if isinstance(answer, ResponseError):
                raise answer

    async def ping(self) -> None:
        await _all(*(each.ping() for each in self._clients))

    async def close(self) -> None:
        for each in self._clients:
            await close(each)


class Cluster(Struct, frozen=True):
    """All primaries that have slots, and who has which."""

    identity: str
    servers: tuple[Server, ...]
    slots: tuple[int, ...]

    def link(self, epoch: int) -> Link:
        return ClusterLink(epoch, self.identity, [each.client() for each in self.servers], self.slots)


async def find(url: ValkeyUrl, context: ssl.SSLContext | None) -> Cluster:
    """The cluster as all of its primaries see it; each of them is asked.

    Raises:
        ValkeyError, OSError: one does not answer, they are not of one mind, slots are being moved, or have no server.
    """
    seen = await asyncio.gather(*(_seen_from(url, context, host) for host in url.hosts))
    views = [view for view in seen if isinstance(view, tuple) and view]
    if not views:
        if any(isinstance(each, ResponseError) and NO_CLUSTER in str(each) for each in seen):
            raise ValkeyConnectionError("this is no server of a cluster: VALKEY_URL has to begin with valkey://")
        raise ValkeyConnectionError("no node of the cluster answers")
    view = most_seen(views)
    slots = _owners(view)
    servers = await _all(*(_asked(url, context, primary, view) for primary in view))
    described = (f"{p.id} {s.identity} {' '.join(p.ranges)}" for p, s in zip(view, servers, strict=True))
    return Cluster(f"cluster:{hashlib.sha256(repr(list(described)).encode()).hexdigest()}", tuple(servers), slots)


def most_seen(views: Sequence[View]) -> View:
    """The map that most have, whatever addresses they know the primaries by; of as many, any: all will be asked."""
    most = Counter(map(_map, views)).most_common(1)[0][0]
    return next(view for view in views if _map(view) == most)


def _map(view: View) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((primary.id, primary.ranges) for primary in view)


async def _seen_from(url: ValkeyUrl, context: ssl.SSLContext | None, host: Address) -> View | ResponseError | None:
    try:
        async with asyncio.timeout(HOST_DEADLINE), connected(client(url, context, host, None)) as connection:
            return _view(text_of(await ask(connection, "CLUSTER", "NODES")), host)
    except ResponseError as refusal:
        return refusal
    except (ValkeyError, OSError, TimeoutError):
        return None


async def _asked(url: ValkeyUrl, context: ssl.SSLContext | None, primary: Primary, view: View) -> Server:
    """Who this primary is, if it sees what the others see."""
    async with connected(client(url, context, primary.address, None)) as connection:
        identity = await identity_of(connection)
        nodes = text_of(await ask(connection, "CLUSTER", "NODES"))
    if "[" in nodes:
        raise ValkeyConnectionError("slots of the cluster are being moved")
    if _map(_view(nodes, primary.address)) != _map(view):
        raise ValkeyConnectionError("the nodes of the cluster are not of one mind about who has which slots")
    return Server(url, context, primary.address, identity)


def _view(nodes: str, asked: Address) -> View:
    """Read CLUSTER NODES: `id ip:port@bus,name flags primary ping pong epoch state slots…`; [slots] are on the way.

    Raises:
        ValkeyConnectionError: it is none.
    """
    primaries = []
    try:
        for line in nodes.splitlines():
            id_, place, flags, _, _, _, _, _, *slots = line.split(" ")
            ranges = tuple(each for each in slots if not each.startswith("["))
            if "master" in flags.split(",") and ranges:
                primaries.append(Primary(id_, _address(place, asked), ranges))
    except ValueError as error:
        raise ValkeyConnectionError("this server does not say what nodes there are") from error
    return tuple(sorted(primaries, key=lambda each: each.id))


def _address(place: str, asked: Address) -> Address:
    """By its name, where it says one, for that is what certificates name; its own address it may not know."""
    address, _, name = place.partition(",")
    host, _, port = address.partition("@")[0].rpartition(":")
    name = name.partition(",")[0]
    return (name if name not in ("", "?") and "=" not in name else host or asked[0], int(port))


def _owners(view: View) -> tuple[int, ...]:
    """Which of these has each slot."""
    owners: dict[int, int] = {}
    for number, primary in enumerate(view):
        for each in primary.ranges:
            first, _, last = each.partition("-")
            owners |= dict.fromkeys(range(int(first), int(last or first) + 1), number)
    if len(owners) < VALKEY_CLUSTER_HASH_SLOTS:
        raise ValkeyConnectionError("slots of the cluster have no server")
    return tuple(owners[slot] for slot in range(VALKEY_CLUSTER_HASH_SLOTS))


async def _value(reader: AbstractConnection) -> bytes | None:
    try:
        value: bytes | None = await reader.read_response()
    except ResponseError as refusal:
        if str(refusal).startswith("WRONGTYPE"):
            return None  # as an MGET has it
        raise ValkeyConnectionError(str(refusal)) from refusal
    return value


async def _all(*work: Awaitable[Any]) -> list[Any]:
    """All of it to its end, then the first error: nothing goes on behind the back of who asked."""
    done = await asyncio.gather(*work, return_exceptions=True)
    for each in done:
        if isinstance(each, BaseException):
            raise each
    return done

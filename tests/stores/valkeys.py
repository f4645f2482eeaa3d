"""Valkey as more than one server: a primary with a replica and sentinels, and a cluster; all from the wheel."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from valkey import Valkey as Client

from app.cli import children
from app.cli.embedded import Valkey
from tests.kit import until

SERVICE = "mymaster"
PASSWORD = "of-the-servers"
THIRDS = ((0, 5460), (5461, 10922), (10923, 16383))  # slots
SENTINELS = 3
DOWN_AFTER_MS = 400  # that a server does not answer before a sentinel takes it for gone


class Member(Valkey):
    """One of several servers, which have one password."""

    def __init__(self, directory: Path, password: str, *more: str, port: int | None = None) -> None:
        super().__init__(directory, port)
        self._more = more
        self._secret = password

    @property
    def password(self) -> str:
        return self._secret

    def _config(self) -> str:
        own = (f"masterauth {self._secret}", "repl-diskless-sync-delay 0", *self._more)
        return "\n".join((super()._config(), *own))

    def kept(self) -> "Member":
        """The same server once more, on the same port, after this one has been killed."""
        return type(self)(self.directory, self._secret, *self._more, port=self.port)

    @contextmanager
    def client(self) -> Iterator[Client]:
        with Client.from_url(self.url, socket_timeout=5, decode_responses=True) as client:
            yield client

    def is_primary(self) -> bool:
        with self.client() as client:
            said: Any = client.info("replication")
        return bool(said["role"] == "master")

    def follows(self) -> bool:
        """Whether it is a replica that has all."""
        with self.client() as client:
            said: Any = client.info("replication")
        return bool(said["role"] == "slave" and said["master_link_status"] == "up")

    def ask(self, *command: str | int) -> Any:
        with self.client() as client:
            return client.execute_command(*command)  # type: ignore[no-untyped-call]


class Sentinel(Member):
    """One of those who watch, with a password of their own."""

    def __init__(self, directory: Path, password: str, watched: Member) -> None:
        super().__init__(directory, password)
        self._watched = watched

    def _command(self) -> list[str | Path]:
        return [*super()._command(), "--sentinel"]

    def _config(self) -> str:
        return "\n".join(
            (
                f"bind {children.LOOPBACK}",
                f"port {self.port}",
                f"requirepass {self.password}",
                f"sentinel sentinel-pass {self.password}",
                f"dir {self.directory}",
                f"pidfile {self._pid_file()}",
                "set-proc-title no",
                f"sentinel monitor {SERVICE} {children.LOOPBACK} {self._watched.port} {SENTINELS // 2 + 1}",
                f"sentinel auth-pass {SERVICE} {self._watched.password}",
                f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}",
                f"sentinel failover-timeout {SERVICE} 5000",
            )
        )

    @property
    def url(self) -> str:
        return super().url.removesuffix("/0")

    def sees_all(self) -> bool:
        said = self.ask("SENTINEL MASTERS")[SERVICE]
        return bool(said["num-other-sentinels"] == SENTINELS - 1 and said["num-slaves"] == 1)

    def primary_port(self) -> int:
        return int(self.ask("SENTINEL GET-MASTER-ADDR-BY-NAME", SERVICE)[1])


class Watched:
    """A primary, a replica, and three sentinels that know of each other and of the replica."""

    def __init__(self, directory: Path) -> None:
        password, other = PASSWORD, "of-the-sentinels"
        self.primary = Member(directory / "a", password)
        self._directory, self._password, self._other = directory, password, other
        self.sentinels: list[Sentinel] = []

    def start(self, stack: ExitStack) -> Self:
        stack.enter_context(self.primary)
        follow = f"replicaof {children.LOOPBACK} {self.primary.port}"
        self.replica = stack.enter_context(Member(self._directory / "b", self._password, follow))
        for number in range(SENTINELS):
            sentinel = Sentinel(self._directory / f"sentinel-{number}", self._other, self.primary)
            self.sentinels.append(stack.enter_context(sentinel))
        return self

    @property
    def url(self) -> str:
        return sentinel_url(self.sentinels, self._password, self._other)

    async def ready(self) -> None:
        """Return once every sentinel would fail over if it had to."""
        await until(lambda: all(each.sees_all() for each in self.sentinels), 30.0)

    async def promoted(self, member: Member) -> None:
        """Return once every sentinel says that this is the primary, and so does it."""
        await until(lambda: all(each.primary_port() == member.port for each in self.sentinels), 30.0)
        await until(member.is_primary, 30.0)


def sentinel_url(sentinels: Sequence[Sentinel], password: str, sentinel_password: str) -> str:
    hosts = ",".join(f"{children.LOOPBACK}:{each.port}" for each in sentinels)
    return f"valkey+sentinel://:{password}@{hosts}/{SERVICE}/0?sentinel_password={sentinel_password}"


class Node(Member):
    """One of a cluster; who is not heard of for a second counts as gone."""

    def __init__(self, directory: Path, password: str) -> None:
        self.bus_port = children.free_port()
        more = ("cluster-enabled yes", f"cluster-port {self.bus_port}", "cluster-node-timeout 1000")
        super().__init__(directory, password, *more, "cluster-replica-validity-factor 0")

    @property
    def id(self) -> str:
        return str(self.ask("CLUSTER", "MYID"))

    def sees(self, nodes: int) -> bool:
        """Whether it knows as many, and all slots have a server."""
        said = dict(line.split(":") for line in str(self.ask("CLUSTER", "INFO")).split())
        return said["cluster_state"] == "ok" and said["cluster_known_nodes"] == str(nodes)


class Cluster:
    """Three primaries with a third of the slots each; and a replica of the first, where one is asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.nodes: list[Node] = []

    def start(self, stack: ExitStack, replicas: int = 0) -> Self:
        for number in range(len(THIRDS) + replicas):
            self.nodes.append(stack.enter_context(Node(self._directory / str(number), PASSWORD)))
        for number, each in enumerate(self.nodes, start=1):
            each.ask("CLUSTER", "SET-CONFIG-EPOCH", number)
            each.ask("CLUSTER", "MEET", children.LOOPBACK, self.nodes[0].port, self.nodes[0].bus_port)
        for (first, last), each in zip(THIRDS, self.nodes, strict=False):
            each.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
        return self

    @property
    def url(self) -> str:
        return f"valkey+cluster://:{PASSWORD}@{','.join(f'{children.LOOPBACK}:{each.port}' for each in self.nodes)}"

    async def ready(self) -> None:
        """Return once all see all, and the replicas have what their primary has."""
        await until(lambda: all(each.sees(len(self.nodes)) for each in self.nodes), 30.0)
        for each in self.nodes[len(THIRDS) :]:
            each.ask("CLUSTER", "REPLICATE", self.nodes[0].id)
            await until(each.follows, 30.0)

    def kill_first(self) -> None:
        os.kill(self.nodes.pop(0).pid, signal.SIGKILL)

    def owner(self, slot: int) -> Node:
        """Who has the slot, by the cluster's own word."""
        for first, last, (_, _, id_, *_), *_ in self.nodes[-1].ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(each for each in self.nodes if each.id == id_)
        raise LookupError(slot)

    def begin_move(self, slot: int, there: Node) -> Node:
        """The slot is on its way from whoever has it: what is not there any more is asked of the other one."""
        here = self.owner(slot)
        there.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", here.id)
        here.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", there.id)
        return here

    def move_keys(self, slot: int, here: Node, there: Node) -> int:
        """Of the slot; how many there were."""
        keys = here.ask("CLUSTER", "GETKEYSINSLOT", slot, 1000)
        if keys:
            here.ask("MIGRATE", children.LOOPBACK, there.port, "", 0, 5000, "AUTH", PASSWORD, "KEYS", *keys)
        return len(keys)

    def end_move(self, slot: int, there: Node) -> None:
        for each in (there, *self.nodes):
            if each.is_primary():
                each.ask("CLUSTER", "SETSLOT", slot, "NODE", there.id)

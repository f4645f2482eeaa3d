"""Whoever breaks things: one fault at a time, chosen by dice whose seed is told, and mended again."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal

from tests.faults import poison
from tests.faults.cluster import Cluster, Replica
from tests.faults.history import Fault, History
from tests.faults.proxy import Mode, Proxy

MISSED_SECONDS = 1.0  # of writes that a fail-over loses


class Nemesis:
    """Every fault is a context: entered it is inflicted, and left it is mended. `seconds` is how long it will last."""

    def __init__(self, cluster: Cluster, history: History, dice: random.Random) -> None:
        self._cluster = cluster
        self._history = history
        self._dice = dice
        self.done: Counter[str] = Counter()

    async def inflict(self, seconds: float, *kinds: str) -> None:
        """These faults at once, so long; back when all is mended and every replica is well again."""
        await asyncio.gather(*(self._inflict(kind, seconds) for kind in kinds))
        await self._cluster.recovered()

    async def _inflict(self, kind: str, seconds: float) -> None:
        fault = Fault(kind, time.monotonic())
        self._history.faults.append(fault)
        async with KINDS[kind](self, seconds) as fault.where:
            await asyncio.sleep(seconds)  # the fault's own length: nothing is awaited
        fault.ended = time.monotonic()
        self.done[kind] += 1

    def _one(self) -> Replica:
        return self._dice.choice(self._cluster.replicas)

    @asynccontextmanager
    async def _one_way_failing(
        self, store: Literal["postgres", "valkey"], mode: Mode, delay_ms: float = 0
    ) -> AsyncGenerator[str]:
        """The way of one replica to one store fails."""
        one = self._one()
        way: Proxy = getattr(one, store)
        way.set(mode, delay_ms=delay_ms)
        yield f"replica {one.number} {mode.value}"
        way.set(Mode.PASS)

    # ---- Valkey ---------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def valkey_killed(self, _: float) -> AsyncGenerator[str]:
        """And nobody there for the time of the fault; then one that has forgotten all, with the same address."""
        await self._kill_valkey()
        yield ""
        (self._cluster.primary.directory / "dump.rdb").unlink(missing_ok=True)
        await asyncio.to_thread(self._cluster.primary.start)

    async def _kill_valkey(self) -> None:
        primary = self._cluster.primary
        os.kill(primary.pid, signal.SIGKILL)
        await asyncio.to_thread(primary.stop)

    @asynccontextmanager
    async def valkey_hung(self, _: float) -> AsyncGenerator[str]:
        os.kill(self._cluster.primary.pid, signal.SIGSTOP)
        try:
            yield ""
        finally:
            os.kill(self._cluster.primary.pid, signal.SIGCONT)

    @asynccontextmanager
    async def valkey_flushed(self, _: float) -> AsyncGenerator[str]:
        async with self._cluster.client(self._cluster.primary) as client:
            await client.flushall()
        yield ""

    @asynccontextmanager
    async def valkey_out_of_memory(self, _: float) -> AsyncGenerator[str]:
        """Every write is refused; what is there is still read and deleted."""
        async with self._cluster.client(self._cluster.primary) as client:
            before = await client.config_get("maxmemory*")
            await client.config_set("maxmemory-policy", "noeviction")
            await client.config_set("maxmemory", "1mb")
            try:
                yield ""
            finally:
                await client.config_set("maxmemory", before["maxmemory"])
                await client.config_set("maxmemory-policy", before["maxmemory-policy"])

    @asynccontextmanager
    async def valkey_restored(self, seconds: float) -> AsyncGenerator[str]:
        """A dump is made, changes go on, and then the server comes back with what it knew at the time of the dump."""
        async with self._cluster.client(self._cluster.primary) as client:
            await client.save()
        await asyncio.sleep(min(MISSED_SECONDS, seconds))
        await self._kill_valkey()
        await asyncio.to_thread(self._cluster.primary.start)
        yield ""
        (self._cluster.primary.directory / "dump.rdb").unlink(missing_ok=True)

    @asynccontextmanager
    async def valkey_failed_over(self, seconds: float) -> AsyncGenerator[str]:
        """The other server has copied all but the last writes and is promoted; the old one lives on.

        One of our replicas is sent to the new one, the other still talks to the old one for as long as the fault lasts.
        """
        cluster = self._cluster
        old = cluster.primary
        await cluster.replicate()
        await cluster.let_epoch_age()  # a first replica gives its primary a new `master_replid`: that took a turn
        cluster.replication.set(Mode.HANG)
        await asyncio.sleep(min(MISSED_SECONDS, seconds))
        await cluster.promote()
        first = self._one()
        cluster.send(first)
        yield f"replica {first.number} first"
        for replica in cluster.replicas:
            cluster.send(replica)
        async with cluster.client(old) as client:
            await client.flushall()

    @asynccontextmanager
    async def valkey_cut_off(self, _: float) -> AsyncGenerator[str]:
        async with self._one_way_failing("valkey", self._dice.choice((Mode.CUT, Mode.HANG))) as told:
            yield told

    @asynccontextmanager
    async def valkey_slow(self, _: float) -> AsyncGenerator[str]:
        """About the deadline that a request has for Valkey: half of the answers come in time."""
        delay_ms = self._dice.choice((20, 100, 130))
        async with self._one_way_failing("valkey", Mode.SLOW, delay_ms) as told:
            yield f"{told}, {delay_ms} ms a piece"

    @asynccontextmanager
    async def entries_poisoned(self, seconds: float) -> AsyncGenerator[str]:
        """Again and again while it lasts: other types, garbage, the entries of others."""
        async with self._cluster.client(self._cluster.primary) as client:
            spoiling = asyncio.create_task(poison.spoil(client, self._dice, seconds))
            yield ""
            await spoiling

    # ---- PostgreSQL -----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def postgres_cut_off(self, _: float) -> AsyncGenerator[str]:
        async with self._one_way_failing("postgres", Mode.CUT) as told:
            yield told

    @asynccontextmanager
    async def postgres_hung(self, _: float) -> AsyncGenerator[str]:
        """For one replica or for both; what was under way arrives when it is over."""
        those = self._dice.choice((self._cluster.replicas, [self._one()]))
        for replica in those:
            replica.postgres.set(Mode.HANG)
        yield f"replicas {[replica.number for replica in those]}"
        for replica in those:
            replica.postgres.set(Mode.PASS)

    @asynccontextmanager
    async def postgres_mute(self, _: float) -> AsyncGenerator[str]:
        """Statements arrive and commit, and nobody hears of it."""
        async with self._one_way_failing("postgres", Mode.MUTE) as told:
            yield told

    @asynccontextmanager
    async def postgres_restarted(self, _: float) -> AsyncGenerator[str]:
        """Immediately, as by a crash: every backend dies where it stands."""
        postgres = self._cluster.postgres
        os.kill(postgres.pid, signal.SIGQUIT)
        await asyncio.to_thread(postgres.stop)
        yield ""
        await asyncio.to_thread(postgres.start)

    # ---- processes ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def worker_killed(self, _: float) -> AsyncGenerator[str]:
        one = self._one()
        self._kill_worker(one)
        yield f"replica {one.number}"

    @asynccontextmanager
    async def workers_killed_twice(self, _: float) -> AsyncGenerator[str]:
        """Within a second, which would end a Granian that is left to itself."""
        one = self._one()
        self._kill_worker(one)
        await asyncio.sleep(self._dice.uniform(0.2, 0.9))
        self._kill_worker(one)
        yield f"replica {one.number}"

    def _kill_worker(self, replica: Replica) -> None:
        workers = replica.workers()
        if workers:
            os.kill(self._dice.choice(workers), signal.SIGKILL)

    @asynccontextmanager
    async def replica_stopped(self, _: float) -> AsyncGenerator[str]:
        """All its processes stand still while others change what it has cached, and then go on."""
        one = self._one()
        one.signal(signal.SIGSTOP)
        try:
            yield f"replica {one.number}"
        finally:
            one.signal(signal.SIGCONT)


def broken_by(kind: str) -> str:
    """What a fault breaks: two of one thing cannot be had at once."""
    first = kind.split(maxsplit=1)[0]
    return {"entries": "valkey", "worker": "process", "workers": "process", "replica": "process"}.get(first, first)


KINDS: dict[str, Callable[[Nemesis, float], AbstractAsyncContextManager[str]]] = {
    "valkey killed": Nemesis.valkey_killed,
    "valkey hung": Nemesis.valkey_hung,
    "valkey flushed": Nemesis.valkey_flushed,
    "valkey out of memory": Nemesis.valkey_out_of_memory,
    "valkey restored from an older dump": Nemesis.valkey_restored,
    "valkey failed over": Nemesis.valkey_failed_over,
    "valkey cut off from one": Nemesis.valkey_cut_off,
    "valkey slow for one": Nemesis.valkey_slow,
    "entries poisoned": Nemesis.entries_poisoned,
    "postgres cut off from one": Nemesis.postgres_cut_off,
    "postgres hung": Nemesis.postgres_hung,
    "postgres mute for one": Nemesis.postgres_mute,
    "postgres restarted": Nemesis.postgres_restarted,
    "worker killed": Nemesis.worker_killed,
    "workers killed twice": Nemesis.workers_killed_twice,
    "replica stopped": Nemesis.replica_stopped,
}

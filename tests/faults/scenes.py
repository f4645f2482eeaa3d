"""Directed schedules: what has to happen, step by step, for a rule that is missing to show.

R changes, F reads; each is a replica with one worker. The counterexamples are those of docs/decisions/0001-cache.md.
"""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from app.cache.server import IDLE
from app.cli.embedded import Valkey
from tests.faults.cluster import Cluster, Replica
from tests.faults.history import History, Operation
from tests.faults.proxy import Mode
from tests.faults.recorder import Recorder
from tests.kit import new_name, new_password

R, F = 0, 1
LOOKS = 6  # by one who has read the outbox at a bad moment, the first ones may be right by chance
LOOK_SECONDS = 0.1
SOON_SECONDS = 0.15  # for a request that waits for nothing; within a poll's 0.5 s
STEP_SECONDS = 15.0  # for any step that is awaited


@dataclass
class Held:
    username: str
    session: str
    access: str
    refresh_tokens: list[str]


class Scene:
    """What schedules are made of."""

    def __init__(self, cluster: Cluster, history: History) -> None:
        self.cluster = cluster
        self.r, self.f = cluster.replicas
        self._recorder = Recorder(cluster, history)

    async def settle_in(self) -> None:
        """Have each replica confirm a deletion: for 1.1 s after a process starts, it waits instead."""
        for replica in (R, F):
            await self.log_out(await self.somebody(), replica)
        await self.cluster.let_epoch_age()

    async def somebody(self) -> Held:
        """Registered and signed in on R, and cached by F."""
        username, password = new_name(), new_password()
        body = {"username": username, "password": password}
        done = await self._recorder.do("register", R, "POST", "/register", body=body, user=username, value=password)
        done = await self._recorder.do("login", R, "POST", "/login", body=body, user=username, value=password)
        held = Held(username, done.body["session_id"], done.body["access_token"], [done.body["refresh_token"]])
        await self.me(held)
        await self.me(held)
        return held

    async def me(self, held: Held, replica: int = F) -> Operation:
        return await self._recorder.do(
            "me", replica, "GET", "/me", token=held.access, user=held.username, bearer=held.session
        )

    async def look_again(self, held: Held) -> None:
        for _ in range(LOOKS):
            await self.me(held)
            await asyncio.sleep(LOOK_SECONDS)

    async def log_out(self, held: Held, replica: int = R) -> Operation:
        return await self._recorder.do(
            "logout",
            replica,
            "POST",
            "/logout",
            token=held.access,
            user=held.username,
            bearer=held.session,
            session=held.session,
        )

    async def rename(self, held: Held, name: str) -> Operation:
        about: dict[str, Any] = {"user": held.username, "bearer": held.session, "value": name}
        body = {"full_name": name}
        return await self._recorder.do("rename", R, "PATCH", "/me", body=body, token=held.access, **about)

    async def refresh(self, held: Held, generation: int) -> Operation:
        about: dict[str, Any] = {"user": held.username, "session": held.session, "generation": generation}
        body = {"refresh_token": held.refresh_tokens[generation]}
        done = await self._recorder.do("refresh", R, "POST", "/refresh", body=body, **about)
        if done.ok:
            held.refresh_tokens.append(done.body["refresh_token"])
        return done

    async def forget_all(self) -> None:
        async with self.cluster.client(self.cluster.primary) as client:
            await client.flushall()

    async def kept(self, held: Held, valkey: Valkey | None = None) -> bool:
        """Whether Valkey (the primary) has a snapshot of this session, in the present epoch."""
        epoch = await self.cluster.sql("SELECT epoch FROM cache_epoch")
        async with self.cluster.client(valkey or self.cluster.primary) as client:
            value = await client.get(f"gatehouse:{epoch}:s:{held.session}")
        return value is not None and value.startswith(b"=")

    @asynccontextmanager
    async def restored(self) -> AsyncGenerator[None]:
        """Valkey comes back with the memory that it had before the body."""
        primary = self.cluster.primary
        async with self.cluster.client(primary) as client:
            await client.save()
        yield
        os.kill(primary.pid, signal.SIGKILL)
        await asyncio.to_thread(primary.stop)
        await asyncio.to_thread(primary.start)
        (primary.directory / "dump.rdb").unlink(missing_ok=True)

    async def failed_over(self, first: Replica, other: Replica) -> None:
        """The other Valkey is promoted and one replica uses it; the other one has just polled, and has not heard."""
        cluster = self.cluster
        await self.replicated()
        stranger = await self.somebody()
        await cluster.promote()
        polled = other.postgres.requests
        await other.postgres.sees(lambda: other.postgres.requests > polled)
        cluster.send(first)
        await until(lambda: self.used(first, stranger))

    async def replicated(self) -> None:
        """The spare Valkey follows the primary, whose identity changes by a first replica: that is over with, too."""
        await self.cluster.replicate()
        await self.somebody()
        await self.cluster.recovered()
        await self.cluster.let_epoch_age()

    async def used(self, replica: Replica, held: Held) -> bool:
        """Whether this replica, asked about a session, leaves what it reads in the present primary."""
        await self.me(held, replica.number)
        return await self.kept(held)

    async def read_by_f(self, held: Held) -> "asyncio.Task[Operation]":
        """A look by F whose statement PostgreSQL has answered, and whose answer stands in the way to F."""
        since = await self.cluster.sql("SELECT clock_timestamp()::text")
        self.f.postgres.set(Mode.MUTE)
        look = asyncio.create_task(self.me(held))
        await until(lambda: self._read_since(since))
        return look

    async def _read_since(self, since: str) -> bool:
        query = f"""
            SELECT count(*) FROM pg_stat_activity WHERE application_name = 'gatehouse' AND state = 'idle'
            AND query LIKE '%FROM sessions s WHERE s.id = ANY%' AND query_start > '{since}'
        """
        return bool(await self.cluster.sql(query))


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(STEP_SECONDS):
        while not await condition():
            await asyncio.sleep(0.005)


# ---- the schedules ------------------------------------------------------------------------------------------------


async def plain(scene: Scene) -> None:
    """No fault: F has it cached, R ends it."""
    held = await scene.somebody()
    await scene.log_out(held)
    await scene.look_again(held)


async def late_fill(scene: Scene) -> None:
    """F has read the old truth; R ends it and is done; then F gets what it has read."""
    held = await scene.somebody()
    await scene.forget_all()
    look = await scene.read_by_f(held)
    await scene.log_out(held)
    scene.f.postgres.set(Mode.PASS)
    await look
    await scene.look_again(held)


async def joined_lookup(scene: Scene) -> None:
    """C1: F has no Valkey, its statement is answered; R ends the session; a second look comes before the answer."""
    held = await scene.somebody()
    scene.f.valkey.set(Mode.CUT)
    look = await scene.read_by_f(held)
    await scene.log_out(held)
    second = asyncio.create_task(scene.me(held))
    await asyncio.wait({second}, timeout=SOON_SECONDS)  # for F to have taken it up: that shows nowhere
    scene.f.postgres.set(Mode.PASS)
    await asyncio.gather(look, second)


async def unheard(scene: Scene) -> None:
    """R cannot reach Valkey and waits, so that F hears of it by the outbox."""
    held = await scene.somebody()
    scene.r.valkey.set(Mode.CUT)
    await scene.log_out(held)
    await scene.look_again(held)


async def slept_through(scene: Scene) -> None:
    """C4: as before, but F stands still meanwhile, and its first poll afterwards is not answered at once."""
    held = await scene.somebody()
    scene.r.valkey.set(Mode.CUT)
    scene.f.signal(signal.SIGSTOP)
    await scene.log_out(held)
    scene.f.postgres.set(Mode.MUTE)
    look = asyncio.create_task(scene.me(held))
    scene.f.signal(signal.SIGCONT)
    await asyncio.wait({look}, timeout=SOON_SECONDS)
    scene.f.postgres.set(Mode.PASS)
    await look


async def older_dump(scene: Scene) -> None:
    """Valkey comes back from a dump in which the session lives, and F has made friends with it."""
    held, other = await scene.somebody(), await scene.somebody()
    async with scene.restored():
        await scene.log_out(held)
        await scene.log_out(other)
        third = await scene.somebody()
    await until(lambda: scene.used(scene.f, third))
    await scene.look_again(held)


async def older_dump_unnoticed(scene: Scene) -> None:
    """C6: the same, and F's first word to it is the look: the pool opens a connection under F's feet."""
    held = await scene.somebody()
    async with scene.restored():
        await scene.log_out(held)
    await asyncio.sleep(1.1 * IDLE)  # what has rested less is not looked at, and just breaks
    await scene.me(held)


async def new_primary_of_the_reader(scene: Scene) -> None:
    """C5: F has gone over to the new primary and fills it; R deletes on the old one."""
    held = await scene.somebody()
    await scene.failed_over(scene.f, scene.r)
    await scene.me(held)
    await scene.log_out(held)
    await scene.look_again(held)


async def new_primary_of_the_writer(scene: Scene) -> None:
    """C5: R has gone over to the new primary and deletes there; F reads on the old one."""
    held = await scene.somebody()
    await scene.failed_over(scene.r, scene.f)
    await scene.log_out(held)
    await scene.look_again(held)


async def back_again(scene: Scene) -> None:
    """C7: the spare is promoted without the last deletion; then the old primary again, by now a copy of it."""
    cluster = scene.cluster
    await scene.replicated()
    held = await scene.somebody()
    await until(lambda: scene.kept(held, cluster.spare))
    cluster.replication.set(Mode.HANG)
    await scene.log_out(held)
    await cluster.promote()
    await cluster.replicate()
    await cluster.promote()
    for replica in cluster.replicas:
        replica.valkey.reset()
    third = await scene.somebody()
    await until(lambda: scene.used(scene.f, third))
    await scene.look_again(held)


async def alone(scene: Scene) -> None:
    """F reaches neither store; R ends one of two sessions."""
    ended, good = await scene.somebody(), await scene.somebody()
    scene.f.valkey.set(Mode.CUT)
    scene.f.postgres.set(Mode.CUT)
    await scene.log_out(ended)
    await scene.me(ended)
    await scene.me(good)


async def replayed(scene: Scene) -> None:
    held = await scene.somebody()
    for generation in (0, 1, 2):
        await scene.refresh(held, generation)
    await scene.refresh(held, 0)


async def renamed(scene: Scene) -> None:
    held = await scene.somebody()
    await scene.rename(held, "Ada Lovelace")
    await scene.look_again(held)

"""The threads that hash passwords: how many there are, who waits for one, and who is refused."""

import asyncio
import os
import sys
import threading
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from app.errors import Overloaded
from app.identity import threads as module
from app.identity.passwords import Passwords
from app.identity.threads import cores
from app.settings import Settings
from tests.identity.kit import CHEAP


class Held:
    """Work that has taken a thread and keeps it until it is let go."""

    def __init__(self, passwords: Passwords) -> None:
        self._begun = threading.Event()
        self._go = threading.Event()
        self.task = asyncio.create_task(passwords.threads.run(self._work))

    def _work(self) -> str:
        self._begun.set()
        assert self._go.wait(10)
        return "done"

    async def begun(self) -> "Held":
        assert await asyncio.to_thread(self._begun.wait, 10)
        return self

    async def end(self) -> str:
        self._go.set()
        return await self.task


async def queued(passwords: Passwords, password: str = "whatever") -> "asyncio.Task[str]":
    """A hash that waits for a thread."""
    before = passwords.threads.queued
    task = asyncio.create_task(passwords.hash(password))
    await asyncio.sleep(0)  # the task runs up to where it waits
    assert passwords.threads.queued == before + 1
    return task


# ---- the queue ----------------------------------------------------------------------------------------------------


async def test_the_gauges_say_what_is_at_work_and_what_waits(passwords: Passwords) -> None:
    assert (passwords.threads.count, passwords.threads.busy, passwords.threads.queued) == (1, 0, 0)
    held = await Held(passwords).begun()
    waiting = await queued(passwords)

    assert (passwords.threads.count, passwords.threads.busy, passwords.threads.queued) == (1, 1, 1)
    await held.end()
    await waiting
    assert (passwords.threads.busy, passwords.threads.queued) == (0, 0)


async def test_more_than_can_be_done_in_time_is_refused_without_queueing(passwords: Passwords) -> None:
    held = await Held(passwords).begun()
    passwords.threads._seconds = module.DEADLINE  # a hash takes as long as anyone may wait
    waiting = await queued(passwords)

    with pytest.raises(Overloaded) as refused:
        await passwords.verify(None, "correct horse")

    assert refused.value.headers["Retry-After"] == "1"
    assert passwords.threads.queued == 1
    await held.end()
    assert await waiting


async def test_a_storm_is_refused_at_once_but_for_what_can_be_done_in_time(passwords: Passwords) -> None:
    passwords.threads._seconds = module.DEADLINE / 4
    held = await Held(passwords).begun()

    storm = [asyncio.create_task(passwords.hash("correct horse")) for _ in range(200)]
    refused = await asyncio.gather(*storm[4:], return_exceptions=True)  # answered while nothing has been hashed
    await held.end()
    hashed = await asyncio.gather(*storm[:4])

    assert all(isinstance(answer, Overloaded) for answer in refused)
    assert len(set(hashed)) == 4


async def test_who_waits_too_long_for_a_thread_is_refused(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await Held(passwords).begun()
    monkeypatch.setattr(passwords.threads, "_deadline", 0.01)
    passwords.threads._seconds = 0.0

    with pytest.raises(Overloaded):
        await passwords.hash("correct horse")

    assert passwords.threads.queued == 0
    assert await held.end() == "done"  # what has begun is finished, however long it takes


async def test_a_caller_who_has_gone_frees_his_place_and_is_not_worked_for(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[bytes] = []

    def spy(_: PasswordHasher, secret: bytes) -> str:
        hashed.append(secret)
        return "hash"

    monkeypatch.setattr(PasswordHasher, "hash", spy)
    held = await Held(passwords).begun()
    gone, stays = await queued(passwords, "gone"), await queued(passwords, "stays")

    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert gone.cancelled()
    assert passwords.threads.queued == 1
    await held.end()

    assert await stays == "hash"
    assert hashed == [b"stays"]


async def test_a_caller_who_goes_while_his_hash_is_made_stays_for_what_it_has_cost(passwords: Passwords) -> None:
    held = await Held(passwords).begun()

    held.task.cancel()

    assert await held.end() == "done"
    assert await passwords.hash("correct horse")
    assert (passwords.threads.busy, passwords.threads.queued) == (0, 0)


async def test_the_pace_follows_what_hashes_take(passwords: Passwords) -> None:
    passwords.threads._seconds = 0.9

    for _ in range(20):
        await passwords.hash("correct horse")

    assert passwords.threads._seconds < 0.45


async def test_stop_refuses_what_waits_and_what_comes_and_finishes_what_has_begun(passwords: Passwords) -> None:
    held = await Held(passwords).begun()
    waiting = await queued(passwords)

    stop = asyncio.create_task(passwords.stop())
    with pytest.raises(Overloaded):
        await waiting
    with pytest.raises(Overloaded):
        await passwords.hash("correct horse")
    assert await held.end() == "done"
    await stop

    assert (passwords.threads.busy, passwords.threads.queued) == (0, 0)


# ---- the threads --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("available", "workers", "lanes", "threads"), [(8.0, 1, 1, 8), (8.0, 3, 1, 2), (8.0, 1, 4, 2), (0.5, 1, 1, 1)]
)
async def test_the_cores_are_shared_by_the_workers_and_the_lanes(
    monkeypatch: pytest.MonkeyPatch, available: float, workers: int, lanes: int, threads: int
) -> None:
    monkeypatch.setattr("app.identity.passwords.cores", lambda: available)
    passwords = Passwords(Settings(argon2_parallelism=lanes), workers=workers)
    await passwords.stop()

    assert passwords.threads.count == threads


async def test_hashing_steps_back_behind_the_event_loop_where_a_thread_can(passwords: Passwords) -> None:
    a_thread_can = sys.platform == "linux"  # elsewhere 0 means the whole process, whose priority is one

    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id() if a_thread_can else 0)

    assert await passwords.threads.run(priority) == min(19, priority() + (module.NICENESS if a_thread_can else 0))


async def test_hashing_goes_on_where_priorities_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refused)
    passwords = Passwords(CHEAP)
    try:
        assert await passwords.hash("correct horse")
        assert await passwords.hash("correct horse", aside=True)
    finally:
        await passwords.stop()


async def test_on_other_systems_the_process_keeps_its_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(os, "setpriority", lambda *args: asked.append(args))
    monkeypatch.setattr(sys, "platform", "darwin")
    passwords = Passwords(CHEAP)
    try:
        assert await passwords.hash("correct horse")
        assert await passwords.hash("correct horse", aside=True)
    finally:
        await passwords.stop()

    assert not asked


def cgroups(root: Path, membership: str, files: dict[str, str]) -> Path:
    """A root directory that says that this process is in these cgroups."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(membership)
    for name, content in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        ("0::/pod/box\n", {"pod/cpu.max": "200000 100000", "pod/box/cpu.max": "max 100000"}, 2.0),
        ("0::/pod/box\n", {"pod/cpu.max": "200000 100000", "pod/box/cpu.max": "50000 100000"}, 0.5),
        ("0::/../../elsewhere\n", {"cpu.max": "300000 100000"}, 3.0),
        ("0::/\n", {"cpu.max": "rubbish"}, None),
        ("0::/\n", {"cpu.max": "100000 0"}, None),
        ("4:cpu,cpuacct:/box\n", {"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, 2.5),
        ("4:cpu:/box\n", {"cpu/box/cpu.cfs_quota_us": "-1", "cpu/box/cpu.cfs_period_us": "100000"}, None),
        ("7:memory:/\n4:cpuset:/\n", {"memory/cpu.max": "100000 100000"}, None),
        ("", {"cpu.max": "100000 100000"}, None),
    ],
)
def test_a_container_counts_its_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, membership: str, files: dict[str, str], quota: float | None
) -> None:
    monkeypatch.setattr(sys, "platform", "other")
    monkeypatch.setattr(os, "cpu_count", lambda: 64)

    assert cores(cgroups(tmp_path, membership, files)) == (quota or 64)


def test_without_cgroups_every_core_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")

    assert cores(tmp_path) == 3

"""Hashing, verifying and judging passwords: what a caller of `Passwords` can rely on."""

import asyncio
import os
import sys
import threading
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import HashingError, VerificationError
from argon2.low_level import Type, error_to_str

from app.errors import Overloaded, ValidationFailed, WeakPassword
from app.identity import passwords as module
from app.identity.passwords import Passwords, cores
from app.settings import Settings

CHEAP = Settings(argon2_memory_kib=64, argon2_time_cost=1)


@pytest.fixture
async def passwords(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Passwords]:
    """One thread, so that a test can hold it."""
    monkeypatch.setattr(module, "cores", lambda: 1.0)
    passwords = Passwords(CHEAP)
    yield passwords
    await passwords.stop()


class Held:
    """Work that has taken a thread and keeps it until it is let go."""

    def __init__(self, passwords: Passwords) -> None:
        self._begun = threading.Event()
        self._go = threading.Event()
        self.task = asyncio.create_task(passwords._run(self._work))

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
    before = passwords.queued
    task = asyncio.create_task(passwords.hash(password))
    await asyncio.sleep(0)  # the task runs up to where it waits
    assert passwords.queued == before + 1
    return task


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hashes that are run, each verification in full."""
    run: list[str] = []
    verify = PasswordHasher.verify

    def spy(hasher: PasswordHasher, stored: str, secret: bytes) -> bool:
        run.append(stored)
        return verify(hasher, stored, secret)

    monkeypatch.setattr(PasswordHasher, "verify", spy)
    return run


# ---- hashing ------------------------------------------------------------------------------------------------------


async def test_a_password_is_verified_by_its_hash_and_no_other_is(passwords: Passwords) -> None:
    password_hash = await passwords.hash("correct horse")

    assert await passwords.verify(password_hash, "correct horse")
    assert not await passwords.verify(password_hash, "Correct horse")


async def test_a_hash_is_argon2id_in_phc_format_with_the_parameters_of_the_settings() -> None:
    passwords = Passwords(Settings(argon2_memory_kib=128, argon2_time_cost=3, argon2_parallelism=2))
    try:
        password_hash = await passwords.hash("correct horse")
    finally:
        await passwords.stop()

    parameters = extract_parameters(password_hash)
    assert password_hash.startswith("$argon2id$v=19$m=128,t=3,p=2$")
    assert (parameters.type, parameters.salt_len, parameters.hash_len) == (Type.ID, 16, 32)


async def test_equal_passwords_have_different_hashes(passwords: Passwords) -> None:
    assert await passwords.hash("correct horse") != await passwords.hash("correct horse")


async def test_a_password_is_the_same_however_a_keyboard_composes_it(passwords: Passwords) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Schöne Grüße") for form in ("NFC", "NFD"))
    password_hash = await passwords.hash(decomposed)

    assert composed != decomposed
    assert await passwords.verify(password_hash, composed)


async def test_without_a_hash_the_answer_is_no_and_costs_the_same(passwords: Passwords, verified: list[str]) -> None:
    known = await passwords.hash("correct horse")

    assert not await passwords.verify(None, "correct horse")
    assert not await passwords.verify(known, "wrong horse")
    assert [extract_parameters(stored) for stored in verified] == [extract_parameters(known)] * 2


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "x",
        "plain text",
        "$2b$12$abcdefghijklmnopqrstuv",
        "$argon2id$v=19$m=64,t=1,p=1$!!!!$????",
        "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$",
        "$argon2id$v=19$m=64,t=1,p=1",
        "$argon2id$v=19$m=sixty,t=1,p=1$c2FsdHNhbHRzYWx0$c2FsdHNhbHRzYWx0",
        "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$ümläut",
        "$argon2id$v=19$m=-64,t=1,p=1$c2FsdHNhbHRzYWx0$c2FsdHNhbHRzYWx0",
    ],
)
async def test_a_hash_that_cannot_be_read_matches_nothing(passwords: Passwords, stored: str) -> None:
    assert not await passwords.verify(stored, "correct horse")
    assert passwords.needs_rehash(stored)


@pytest.mark.parametrize(
    ("memory", "time", "lanes", "extra"),
    [
        (4_194_304, 1, 1, ""),  # 4 GiB
        (262_144, 100, 1, ""),
        (64, 100_000_000, 1, ""),
        (65_536, 1, 4096, ""),
        (64, 1, 1, "A" * 1000),
    ],
)
async def test_a_hash_that_costs_too_much_is_never_run(
    passwords: Passwords, verified: list[str], memory: int, time: int, lanes: int, extra: str
) -> None:
    stored = f"$argon2id$v=19$m={memory},t={time},p={lanes}$c2FsdHNhbHRzYWx0$c2FsdHNhbHRzYWx0{extra}"

    assert not await passwords.verify(stored, "correct horse")
    assert verified == [passwords._dummy]


async def test_a_hash_of_stronger_settings_is_still_verified_and_due_for_renewal(passwords: Passwords) -> None:
    stronger = PasswordHasher(memory_cost=1024, time_cost=3, parallelism=2).hash("correct horse")

    assert await passwords.verify(stronger, "correct horse")
    assert passwords.needs_rehash(stronger)
    assert not passwords.needs_rehash(await passwords.hash("correct horse"))


@pytest.mark.parametrize("password", ["lone \ud800 surrogate", "x" * 5000])
async def test_what_cannot_be_a_password_is_not_hashed_and_matches_nothing(passwords: Passwords, password: str) -> None:
    stored = await passwords.hash("correct horse")

    assert not await passwords.verify(stored, password)
    with pytest.raises(ValidationFailed) as refused:
        await passwords.hash(password)
    assert password not in str(refused.value.members)


@pytest.mark.parametrize("code", [-22, -33])
async def test_no_memory_for_a_hash_is_no_verdict_on_the_password(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    stored = await passwords.hash("correct horse")

    def exhausted(error: Exception) -> None:
        raise error

    monkeypatch.setattr(PasswordHasher, "verify", lambda *_: exhausted(VerificationError(error_to_str(code))))
    monkeypatch.setattr(PasswordHasher, "hash", lambda *_: exhausted(HashingError(error_to_str(code))))

    with pytest.raises(Overloaded):
        await passwords.verify(stored, "correct horse")
    with pytest.raises(Overloaded):
        await passwords.hash("correct horse")


# ---- the queue ----------------------------------------------------------------------------------------------------


async def test_the_gauges_say_what_is_at_work_and_what_waits(passwords: Passwords) -> None:
    assert (passwords.threads, passwords.busy, passwords.queued) == (1, 0, 0)
    held = await Held(passwords).begun()
    waiting = await queued(passwords)

    assert (passwords.threads, passwords.busy, passwords.queued) == (1, 1, 1)
    await held.end()
    await waiting
    assert (passwords.busy, passwords.queued) == (0, 0)


async def test_more_than_can_be_done_in_time_is_refused_without_queueing(passwords: Passwords) -> None:
    held = await Held(passwords).begun()
    passwords._seconds = module.DEADLINE  # a hash takes as long as anyone may wait
    waiting = await queued(passwords)

    with pytest.raises(Overloaded) as refused:
        await passwords.verify(None, "correct horse")

    assert refused.value.headers["Retry-After"] == "1"
    assert passwords.queued == 1
    await held.end()
    assert await waiting


async def test_a_storm_is_refused_at_once_but_for_what_can_be_done_in_time(passwords: Passwords) -> None:
    passwords._seconds = module.DEADLINE / 4
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
    monkeypatch.setattr(module, "DEADLINE", 0.01)
    passwords._seconds = 0.0

    with pytest.raises(Overloaded):
        await passwords.hash("correct horse")

    assert passwords.queued == 0
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
    assert passwords.queued == 1
    await held.end()

    assert await stays == "hash"
    assert hashed == [b"stays"]


async def test_a_caller_who_goes_while_his_hash_is_made_leaves_the_thread_in_order(passwords: Passwords) -> None:
    held = await Held(passwords).begun()

    held.task.cancel()
    await asyncio.gather(held.task, return_exceptions=True)
    assert passwords.busy == 1
    held._go.set()

    assert await passwords.hash("correct horse")
    assert (passwords.busy, passwords.queued) == (0, 0)


async def test_the_pace_follows_what_hashes_take(passwords: Passwords) -> None:
    passwords._seconds = 0.9

    for _ in range(20):
        await passwords.hash("correct horse")

    assert passwords._seconds < 0.45


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

    assert (passwords.busy, passwords.queued) == (0, 0)


# ---- strength -----------------------------------------------------------------------------------------------------


async def check(passwords: Passwords, password: str, username: str = "ada", email: str | None = None) -> None:
    await passwords.check_strength(password, username=username, email=email, full_name="Ada Lovelace")


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "zebra-lamp-42",
        "Grüße aus Köln!",
        "пароль-от-дачи",
        "密码是一个秘密的句子",
        "a" + "xq7!Kd" * 170,  # 1,021 characters
        "Adaptation 19 of it",  # a name of three letters is found in many words
    ],
)
async def test_a_good_password_is_taken(passwords: Passwords, password: str) -> None:
    await check(passwords, password)


@pytest.mark.parametrize(
    "password",
    [
        "",
        "short7!",
        "password1",
        "12345678",
        "qwertyuiop",
        "aaaaaaaaaaaaaaaaaaaaaaaa",
        "gatehouse1",
        "Lovelace1",
        "hunter2hunter2",
        "e\u0301" * 7,  # 14 code points, 7 characters
        "xq7!Kd" * 171,  # 1,026 characters
        "e\u0301" * 5000,
    ],
)
async def test_a_weak_password_is_refused_and_not_repeated(passwords: Passwords, password: str) -> None:
    with pytest.raises(WeakPassword) as refused:
        await check(passwords, password)

    shown = f"{refused.value.detail} {refused.value.members}"
    assert len(refused.value.detail) > len("The password")
    assert not password or password not in shown


@pytest.mark.parametrize(
    ("password", "username", "email"),
    [
        ("Grace-Hopper-9", "grace-hopper-9", None),
        ("xq7 GRACE.HOPPER kd9", "grace.hopper", None),
        ("xq7-rear.admiral-kd9", "grace", "Rear.Admiral@example.org"),
        ("xq7-stra\u00dfe-kd9", "STRASSE", None),
        ("xq7-ame\u0301lie-kd9", "am\u00e9lie", None),
    ],
)
async def test_a_password_may_not_contain_who_it_is_for(
    passwords: Passwords, password: str, username: str, email: str | None
) -> None:
    with pytest.raises(WeakPassword, match="username or the e-mail"):
        await check(passwords, password, username, email)


@pytest.mark.parametrize("password", ["nul \0 inside of it", "half a \udc80 character"])
async def test_what_is_no_text_is_no_password(passwords: Passwords, password: str) -> None:
    with pytest.raises(ValidationFailed):
        await check(passwords, password)


async def test_the_refusal_names_the_field_that_was_sent(passwords: Passwords) -> None:
    with pytest.raises(WeakPassword) as refused:
        await passwords.check_strength("x", username="ada", email=None, full_name=None, field="new_password")

    message = "The password has to have at least 8 characters."
    assert refused.value.members == {"errors": [{"field": "new_password", "message": message}]}


async def test_the_minimum_is_a_setting() -> None:
    passwords = Passwords(Settings(password_min_length=15))
    try:
        with pytest.raises(WeakPassword, match="at least 15"):
            await check(passwords, "zebra-lamp-42")
    finally:
        await passwords.stop()


# ---- the threads --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("available", "workers", "lanes", "threads"), [(8.0, 1, 1, 8), (8.0, 3, 1, 2), (8.0, 1, 4, 2), (0.5, 1, 1, 1)]
)
async def test_the_cores_are_shared_by_the_workers_and_the_lanes(
    monkeypatch: pytest.MonkeyPatch, available: float, workers: int, lanes: int, threads: int
) -> None:
    monkeypatch.setattr(module, "cores", lambda: available)
    passwords = Passwords(Settings(argon2_parallelism=lanes), workers=workers)
    await passwords.stop()

    assert passwords.threads == threads


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")
async def test_hashing_steps_back_behind_the_event_loop(passwords: Passwords) -> None:
    theirs = await passwords._run(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
    ours = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    assert theirs == min(19, ours + module.NICENESS)


async def test_hashing_goes_on_where_priorities_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refused)
    passwords = Passwords(CHEAP)
    try:
        assert await passwords.hash("correct horse")
    finally:
        await passwords.stop()


async def test_on_other_systems_the_process_keeps_its_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(os, "setpriority", lambda *args: asked.append(args))
    monkeypatch.setattr(sys, "platform", "darwin")
    passwords = Passwords(CHEAP)
    try:
        assert await passwords.hash("correct horse")
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

"""Attempts that wait while others are under way, and attempts that are given up."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from app.cache.link import Links
from app.errors import RateLimited
from app.limits import attempts as module
from app.limits.attempts import Attempts, Counter
from app.limits.counters import OPEN_SECONDS, Limit, Refusal, Shared
from app.setting_values import Rate
from tests.limits.kit import FIVE, ONE, keys, limit_of, now, succeed, valkey_of


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long; where nothing may be refused for waiting, the patience of the contract stays."""
    monkeypatch.setattr(module, "PATIENCE", 0.05)


async def in_line(attempts: Attempts, counter: Counter, length: int) -> None:
    """Returns when so many wait at this counter."""
    async with asyncio.timeout(10):
        while attempts._lines.get(limit_of(counter).tag, module.Line()).length < length:
            await asyncio.sleep(0.001)  # they ask Valkey first


# ---- waiting ------------------------------------------------------------------------------------------------------


async def test_who_finds_only_open_attempts_waits_for_one_to_end_here_or_at_another_replica(
    replicas: tuple[Attempts, Attempts], key: str
) -> None:
    counter = Counter("login", key, ONE)

    for holder in replicas:
        async with holder.attempt(counter):
            waiter = asyncio.create_task(succeed(replicas[0], counter))
            await in_line(replicas[0], counter, 1)
        await waiter

    assert not replicas[0]._lines


async def test_who_got_his_place_is_not_refused_for_having_waited_too_long(
    attempts: Attempts, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a process that was stopped for a while finds it: the place is taken, and the patience is over."""
    monkeypatch.setattr(module, "PATIENCE", 0.0)

    await succeed(attempts, Counter("login", key, ONE))


async def test_an_attempt_that_ends_here_wakes_who_waits_here(
    attempts: Attempts, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = Counter("login", key, ONE)
    monkeypatch.setattr(module, "PAUSE_FIRST", 60.0)
    monkeypatch.setattr(module, "PAUSE_MOST", 60.0)

    async with attempts.attempt(counter):
        waiter = asyncio.create_task(succeed(attempts, counter))
        await in_line(attempts, counter, 1)

    await waiter


@pytest.mark.usefixtures("impatient")
async def test_who_waits_too_long_is_refused_for_a_moment(attempts: Attempts, key: str) -> None:
    counter = Counter("login", key, ONE)

    async with attempts.attempt(Counter("account", key, FIVE), counter):
        with pytest.raises(RateLimited) as refused:
            await succeed(attempts, Counter("account", key, FIVE), counter)

    assert (refused.value.limit, refused.value.headers["Retry-After"]) == ("login", "1")
    await succeed(attempts, counter)


async def test_only_the_first_in_line_asks(attempts: Attempts, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = Counter("login", key, ONE)
    asked: set[str] = set()
    reserve = Shared.reserve

    async def spy(shared: Shared, attempt: str, limits: Sequence[Limit]) -> Refusal | None:
        asked.add(attempt)
        return await reserve(shared, attempt, limits)

    monkeypatch.setattr(Shared, "reserve", spy)
    monkeypatch.setattr(module, "PATIENCE", 20.0)  # all 61 are to come to their turn, however slow this machine is
    async with attempts.attempt(counter):
        first = asyncio.create_task(succeed(attempts, counter))
        await in_line(attempts, counter, 1)
        others = [asyncio.create_task(succeed(attempts, counter)) for _ in range(60)]
        await in_line(attempts, counter, 61)
        assert len(asked) == 2  # the one inside and the first in line

    await asyncio.gather(first, *others)
    assert len(asked) == 62


async def test_who_is_admitted_by_one_counter_goes_on_to_wait_at_the_next(attempts: Attempts, key: str) -> None:
    address, account = Counter("login", key, ONE), Counter("account", key, ONE)

    async with AsyncExitStack() as second:
        async with attempts.attempt(address):
            await second.enter_async_context(attempts.attempt(account))
            waiter = asyncio.create_task(succeed(attempts, address, account))
            await in_line(attempts, address, 1)
        await in_line(attempts, account, 1)
        assert limit_of(address).tag not in attempts._lines
        await succeed(attempts, address)  # the waiter holds no place here while it waits there

    await waiter


# ---- cancellation -------------------------------------------------------------------------------------------------


async def test_a_cancelled_attempt_frees_its_place(attempts: Attempts, key: str) -> None:
    counter = Counter("login", key, ONE)
    inside = asyncio.Event()

    async def hang() -> None:
        async with attempts.attempt(counter):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await inside.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert task.cancelled()
    await succeed(attempts, counter)


async def test_who_is_cancelled_in_line_makes_room_for_the_next(attempts: Attempts, key: str) -> None:
    counter = Counter("login", key, ONE)

    async with attempts.attempt(counter):
        tasks = [asyncio.create_task(succeed(attempts, counter)) for _ in range(3)]
        await in_line(attempts, counter, 3)
        for task in tasks[:2]:
            task.cancel()
        await asyncio.gather(*tasks[:2], return_exceptions=True)

    await tasks[2]
    assert [task.cancelled() for task in tasks] == [True, True, False]
    assert not attempts._lines


async def test_who_is_cancelled_while_reserving_or_settling_leaves_no_place_taken(
    attempts: Attempts, links: Links, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = Counter("login", key, ONE)
    reached = {"reserve": asyncio.Event(), "settle": asyncio.Event()}
    go_on = asyncio.Event()
    reserve, settle = Shared.reserve, Shared.settle

    async def slow_reserve(shared: Shared, attempt: str, limits: Sequence[Limit]) -> Refusal | None:
        answer = await reserve(shared, attempt, limits)
        reached["reserve"].set()
        await go_on.wait()
        return answer

    async def slow_settle(shared: Shared, attempt: str, limits: Sequence[Limit], *, failed: bool) -> None:
        reached["settle"].set()
        await go_on.wait()
        await settle(shared, attempt, limits, failed=failed)

    for step, slow in (("reserve", slow_reserve), ("settle", slow_settle)):
        go_on.clear()
        with monkeypatch.context() as patch:
            patch.setattr(Shared, step, slow)
            task = asyncio.create_task(succeed(attempts, counter))
            await reached[step].wait()
            for _ in range(2):  # a client who goes, and a server that shuts down
                task.cancel()
                await asyncio.sleep(0)
            assert not task.done()
            go_on.set()
            await asyncio.gather(task, return_exceptions=True)

        assert task.cancelled()
        async with valkey_of(links) as valkey:
            assert await valkey.exists(*keys(counter)) == 0


@pytest.mark.usefixtures("impatient")
async def test_a_place_of_a_process_that_died_is_free_at_its_deadline(
    attempts: Attempts, links: Links, key: str
) -> None:
    counter = Counter("login", key, Rate(2, 900))
    async with valkey_of(links) as valkey:
        time = await now(valkey)
        await valkey.zadd(keys(counter)[1], {"alive": time + 1_000_000 * OPEN_SECONDS, "dead": time - 1})

    async with attempts.attempt(counter):
        with pytest.raises(RateLimited):
            await succeed(attempts, counter)

"""Failed attempts: counted exactly, over replicas, under concurrency, and whatever breaks in between."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import pytest
from structlog.testing import capture_logs
from valkey.asyncio import Valkey

from app.cache.link import Link, Links, ValkeyAway
from app.cli import embedded
from app.errors import RateLimited
from app.limits import attempts as module
from app.limits import counters
from app.limits.attempts import Attempts, Counter
from app.limits.counters import OPEN_SECONDS, Limit, Refusal, Shared, Twin
from app.settings import Rate
from tests.limits.conftest import Replica

FIVE = Rate(5, 900)
ONE = Rate(1, 900)


@pytest.fixture
def attempts(links: Links) -> Attempts:
    return Attempts(links)


@pytest.fixture
def replicas(links: Links, other_links: Links) -> tuple[Attempts, Attempts]:
    return Attempts(links), Attempts(other_links)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long; where nothing may be refused for waiting, the patience of the contract stays."""
    monkeypatch.setattr(module, "PATIENCE", 0.05)


def limit_of(counter: Counter) -> Limit:
    assert counter.rate is not None
    return Limit.of(counter.name, counter.key, counter.rate)


def keys(counter: Counter) -> tuple[str, str]:
    return counters._keys(limit_of(counter))


@asynccontextmanager
async def valkey_of(links: Links) -> AsyncGenerator[Valkey]:
    async with links.use() as link:
        yield link.client


async def now(valkey: Valkey) -> int:
    seconds, microseconds = await valkey.time()
    return int(seconds) * 1_000_000 + int(microseconds)


async def fail(attempts: Attempts, *counters: Counter) -> None:
    async with attempts.attempt(*counters) as attempt:
        attempt.failed()


async def succeed(attempts: Attempts, *counters: Counter) -> None:
    async with attempts.attempt(*counters):
        pass


async def in_line(attempts: Attempts, counter: Counter, length: int) -> None:
    """Returns when so many wait at this counter."""
    async with asyncio.timeout(10):
        while attempts._lines.get(limit_of(counter).tag, module.Line()).length < length:
            await asyncio.sleep(0.001)  # they ask Valkey first


# ---- counting -----------------------------------------------------------------------------------------------------


async def test_of_a_hundred_parallel_failures_over_two_replicas_five_are_admitted(
    replicas: tuple[Attempts, Attempts], key: str
) -> None:
    reached: list[int] = []

    async def guess(number: int) -> None:
        async with replicas[number % 2].attempt(Counter("login", key, FIVE), Counter("account", key, None)) as attempt:
            reached.append(number)
            await asyncio.sleep(0.01)  # the hash
            attempt.failed()

    answers = await asyncio.gather(*(guess(number) for number in range(100)), return_exceptions=True)

    refusals = [answer for answer in answers if isinstance(answer, RateLimited)]
    assert (len(reached), len(refusals)) == (5, 95)
    assert {refusal.limit for refusal in refusals} == {"login"}
    assert all(890 <= int(refusal.headers["Retry-After"]) <= 900 for refusal in refusals)


async def test_thirty_parallel_successes_behind_one_address_are_all_admitted_five_at_a_time(
    replicas: tuple[Attempts, Attempts], key: str
) -> None:
    under_way = most = 0

    async def log_in(number: int) -> None:
        nonlocal under_way, most
        async with replicas[number % 2].attempt(Counter("login", key, FIVE)):
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.01)  # the hash
            under_way -= 1

    await asyncio.gather(*(log_in(number) for number in range(30)))

    assert most == 5


async def test_mixed_answers_from_many_never_let_more_fail_than_may(
    replicas: tuple[Attempts, Attempts], key: str
) -> None:
    failed: list[int] = []

    async def attempt_one(number: int) -> None:
        async with replicas[number % 2].attempt(
            Counter("login", f"{key} {number % 3}", FIVE), Counter("account", key, Rate(10, 900))
        ) as attempt:
            await asyncio.sleep(0.001 * (number % 5))
            if number % 2:
                failed.append(number)
                attempt.failed()

    answers = await asyncio.gather(*(attempt_one(number) for number in range(120)), return_exceptions=True)

    assert len(failed) == 10
    assert {answer.limit for answer in answers if isinstance(answer, RateLimited)} <= {"login", "account"}
    assert all(answer is None or isinstance(answer, RateLimited) for answer in answers)


async def test_a_success_does_not_count(attempts: Attempts, key: str) -> None:
    counter = Counter("login", key, ONE)

    for _ in range(10):
        await succeed(attempts, counter)
    await fail(attempts, counter)

    with pytest.raises(RateLimited):
        await succeed(attempts, counter)


async def test_an_error_inside_counts_only_if_the_attempt_was_said_to_have_failed(attempts: Attempts, key: str) -> None:
    counter = Counter("login", key, ONE)

    async def break_down(*, after_failing: bool) -> None:
        async with attempts.attempt(counter) as attempt:
            if after_failing:
                attempt.failed()
            raise LookupError

    for after_failing in (False, False, True):
        with pytest.raises(LookupError):
            await break_down(after_failing=after_failing)

    with pytest.raises(RateLimited):
        await succeed(attempts, counter)


async def test_a_limit_that_is_off_asks_nobody(attempts: Attempts, links: Links, key: str) -> None:
    await links.stop()

    for _ in range(3):
        await fail(attempts, Counter("login", key, None))

    assert not attempts._twin._counters


async def test_retry_after_is_when_the_failure_that_has_to_go_leaves_the_window(
    attempts: Attempts, links: Links, key: str
) -> None:
    counter = Counter("login", key, Rate(2, 100))
    async with valkey_of(links) as valkey:
        time = await now(valkey)
        await valkey.zadd(keys(counter)[0], {f"f{age}": time - age * 1_000_000 for age in (90, 40, 20)})

    with pytest.raises(RateLimited) as refused:
        await succeed(attempts, counter)

    # three failures, two allowed: of those of 90, 40 and 20 seconds ago two have to go
    assert refused.value.headers["Retry-After"] == "60"


async def test_a_failure_that_has_left_the_window_counts_no_more(attempts: Attempts, links: Links, key: str) -> None:
    counter = Counter("login", key, Rate(1, 100))
    async with valkey_of(links) as valkey:
        await valkey.zadd(keys(counter)[0], {"old": await now(valkey) - 100_000_001})

    await succeed(attempts, counter)


async def test_a_refusal_by_one_counter_takes_no_place_in_the_other(attempts: Attempts, key: str) -> None:
    address, account = Counter("login", key, ONE), Counter("account", key, ONE)
    await fail(attempts, account)

    for _ in range(3):
        with pytest.raises(RateLimited) as refused:
            await succeed(attempts, address, account)
        assert refused.value.limit == "account"

    await succeed(attempts, address)


async def test_the_longest_refusal_is_told(attempts: Attempts, key: str) -> None:
    short, long = Counter("login", key, Rate(1, 10)), Counter("account", key, Rate(1, 1000))
    await fail(attempts, short, long)

    with pytest.raises(RateLimited) as refused:
        await succeed(attempts, short, long)

    assert refused.value.limit == "account"
    assert 990 <= int(refused.value.headers["Retry-After"]) <= 1000


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


# ---- what stands in Valkey ----------------------------------------------------------------------------------------


async def test_keys_show_nobody_share_a_slot_and_do_not_stay(attempts: Attempts, links: Links) -> None:
    who = "ada}:failed *\n@example.org"
    counter = Counter("account", who, FIVE)

    await fail(attempts, counter)
    async with attempts.attempt(counter), valkey_of(links) as valkey:
        found = [name.decode() async for name in valkey.scan_iter(f"gatehouse:limit:{limit_of(counter).tag}:*")]
        lives = [await valkey.ttl(name) for name in found]
        slots = {await valkey.execute_command("CLUSTER", "KEYSLOT", name) for name in found}  # type: ignore[no-untyped-call]

    assert sorted(found) == sorted(keys(counter))
    assert not any("ada" in name or "example" in name for name in found)
    assert all(0 < life <= 900 for life in lives)
    assert len(slots) == 1


async def test_settling_twice_counts_once(links: Links, key: str) -> None:
    shared = Shared(links)
    counter = Counter("login", key, FIVE)
    limit = limit_of(counter)
    assert await shared.reserve("one", (limit,)) is None

    for _ in range(2):
        await shared.settle("one", (limit,), failed=True)

    async with valkey_of(links) as valkey:
        first = await valkey.zscore(keys(counter)[0], "one")
        await shared.settle("one", (limit,), failed=True)
        assert (await valkey.zcard(keys(counter)[0]), await valkey.zcard(keys(counter)[1])) == (1, 0)
        assert await valkey.zscore(keys(counter)[0], "one") == first  # and when it happened stays what it was


async def test_what_is_asked_in_a_moment_travels_together(
    links: Links, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = Shared(links)
    trips = 0
    use = links.use

    def spy() -> AbstractAsyncContextManager[Link]:
        nonlocal trips
        trips += 1
        return use()

    monkeypatch.setattr(links, "use", spy)
    limits = [limit_of(Counter("login", f"{key} {number}", ONE)) for number in range(counters.TOGETHER + 1)]

    answers = await asyncio.gather(*(shared.reserve("x", (limit,)) for limit in limits))

    assert trips == 2
    assert answers == [None] * len(limits)


async def test_who_goes_before_the_answer_keeps_nobody_from_his_own(links: Links, key: str) -> None:
    shared = Shared(links)
    first, second = (limit_of(Counter("login", f"{key} {number}", ONE)) for number in range(2))

    gone = asyncio.create_task(shared.reserve("gone", (first,)))
    stays = asyncio.create_task(shared.reserve("stays", (second,)))
    await asyncio.sleep(0)
    gone.cancel()
    assert await stays is None

    await links.stop()
    gone = asyncio.create_task(shared.reserve("gone", (first,)))
    stays = asyncio.create_task(shared.reserve("stays", (second,)))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(ValkeyAway):
        await stays


# ---- without Valkey -----------------------------------------------------------------------------------------------


@pytest.fixture
async def own_links(replica: Replica, own_database: str, own_valkey: embedded.Valkey) -> Links:
    """A link to a Valkey that the test may stop."""
    return await replica(own_database, own_valkey.url)


async def test_while_valkey_is_away_a_process_counts_for_itself_and_exactly(
    own_links: Links, own_valkey: embedded.Valkey, key: str
) -> None:
    attempts = Attempts(own_links)
    reached: list[int] = []
    own_valkey.stop()

    async def guess(number: int) -> None:
        async with attempts.attempt(Counter("login", key, FIVE), Counter("account", key, Rate(10, 900))) as attempt:
            reached.append(number)
            await asyncio.sleep(0.01)  # the hash
            attempt.failed()

    with capture_logs() as logs:
        answers = await asyncio.gather(*(guess(number) for number in range(60)), return_exceptions=True)

    refusals = [answer for answer in answers if isinstance(answer, RateLimited)]
    assert (len(reached), len(refusals)) == (5, 55)
    assert all(890 <= int(refusal.headers["Retry-After"]) <= 900 for refusal in refusals)
    assert [entry["event"] for entry in logs].count("limits.alone") == 1


async def test_while_valkey_is_away_successes_wait_for_one_another_as_ever(
    own_links: Links, own_valkey: embedded.Valkey, key: str
) -> None:
    attempts = Attempts(own_links)
    own_valkey.stop()

    async def log_in() -> None:
        async with attempts.attempt(Counter("login", key, FIVE)):
            await asyncio.sleep(0.01)  # the hash

    await asyncio.gather(*(log_in() for _ in range(30)))

    assert not attempts._twin._counters


async def test_a_failure_that_valkey_did_not_live_to_see_counts_here(
    own_links: Links, own_valkey: embedded.Valkey, key: str
) -> None:
    attempts = Attempts(own_links)
    counter = Counter("login", key, ONE)

    async with attempts.attempt(counter) as attempt:
        own_valkey.stop()
        attempt.failed()

    with pytest.raises(RateLimited):
        await succeed(attempts, counter)


async def test_an_attempt_settles_where_it_was_reserved(
    own_links: Links, own_valkey: embedded.Valkey, links: Links, key: str
) -> None:
    attempts = Attempts(own_links)
    counter = Counter("login", key, ONE)
    own_valkey.stop()

    async with attempts.attempt(counter) as attempt:
        attempts._shared = Shared(links)  # Valkey is back
        attempt.failed()
    await succeed(attempts, counter)

    assert attempts._twin.reserve("another", (limit_of(counter),)) is not None


async def test_where_valkey_has_no_memory_left_a_process_counts_for_itself(own_links: Links, key: str) -> None:
    attempts = Attempts(own_links)
    counter = Counter("login", key, Rate(2, 900))
    async with valkey_of(own_links) as valkey:
        await valkey.config_set("maxmemory-policy", "noeviction")

        async with attempts.attempt(counter) as attempt:  # reserved there, and its failure finds no room
            await valkey.config_set("maxmemory", "1")
            attempt.failed()
    await fail(attempts, counter)

    with pytest.raises(RateLimited):
        await succeed(attempts, counter)


async def test_a_counter_that_is_broken_leaves_no_place_taken_in_the_others(
    attempts: Attempts, links: Links, key: str
) -> None:
    good, broken = Counter("login", key, ONE), Counter("account", key, ONE)
    async with valkey_of(links) as valkey:
        await valkey.set(keys(broken)[0], "not a set", ex=60)

    async with attempts.attempt(good, broken), valkey_of(links) as valkey:
        assert await valkey.exists(keys(good)[1]) == 0

    assert not attempts._twin._counters


# ---- the twin -----------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_twin_forgets_failures_and_the_dead_when_their_time_is_over() -> None:
    clock = Clock()
    twin = Twin(clock=clock)
    limits = (limit_of(Counter("login", "x", Rate(2, 100))),)

    assert twin.reserve("fails", limits) is None
    twin.settle("fails", limits, failed=True)
    twin.settle("fails", limits, failed=True)
    clock.now += 40
    assert twin.reserve("dies", limits) is None
    assert twin.reserve("waits", limits) == Refusal(limits[0], counters.WAIT)
    clock.now += OPEN_SECONDS
    assert twin.reserve("fails too", limits) is None
    twin.settle("fails too", limits, failed=True)
    blocked = twin.reserve("blocked", limits)
    assert blocked is not None
    assert blocked.retry_after == 100 - 40 - OPEN_SECONDS
    clock.now += blocked.retry_after
    assert twin.reserve("next", limits) is None


def test_the_twin_takes_all_places_or_none() -> None:
    twin = Twin()
    full, free = limit_of(Counter("login", "x", ONE)), limit_of(Counter("account", "x", ONE))
    assert twin.reserve("one", (full,)) is None

    assert twin.reserve("two", (free, full)) == Refusal(full, counters.WAIT)
    assert twin.reserve("three", (free,)) is None


def test_the_twin_stays_small_and_forgets_what_was_used_longest_ago() -> None:
    twin = Twin(most=10)
    limits = [(limit_of(Counter("login", str(number), ONE)),) for number in range(11)]

    for number in (*range(10), 0, 10):  # the first is used again before there is one too many
        twin.settle("x", limits[number], failed=True)

    assert len(twin._counters) == 10
    assert [twin.reserve("y", limits[number]) is None for number in (0, 1, 10)] == [False, True, False]

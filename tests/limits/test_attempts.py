"""Failed attempts: counted exactly, over replicas and under concurrency."""

import asyncio
from contextlib import AbstractAsyncContextManager

import pytest

from app.cache.link import Links, ValkeyAway
from app.cache.server import Link
from app.errors import RateLimited
from app.limits import counters
from app.limits.attempts import Attempts, Counter
from app.limits.counters import Shared
from app.setting_values import Rate
from tests.limits.kit import FIVE, ONE, fail, keys, limit_of, now, succeed, valkey_of

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


async def test_who_asks_again_for_his_place_has_it(links: Links, key: str) -> None:
    """The first answer was lost."""
    shared, limits = Shared(links), (limit_of(Counter("login", key, ONE)),)

    assert await shared.reserve("one", limits) is None
    assert await shared.reserve("one", limits) is None
    assert await shared.reserve("another", limits) is not None

"""Attempts while Valkey is away, full or broken: each process counts for itself, and as exactly."""

import asyncio
import os
import signal

import pytest
from structlog.testing import capture_logs

from app.cache import link
from app.cache.link import Links
from app.cli import embedded
from app.errors import RateLimited
from app.limits import counters
from app.limits.attempts import Attempts, Counter
from app.limits.counters import OPEN_SECONDS, Refusal, Shared, Twin
from app.setting_values import Rate
from tests.kit import until
from tests.limits.conftest import Replica
from tests.limits.kit import FIVE, ONE, fail, keys, limit_of, succeed, valkey_of

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


async def test_a_valkey_that_is_back_hears_what_has_failed_meanwhile(
    own_links: Links, own_valkey: embedded.Valkey, links: Links, key: str
) -> None:
    attempts = Attempts(own_links)
    counter = Counter("login", key, ONE)
    own_valkey.stop()
    await fail(attempts, counter)
    assert own_links.current is None

    attempts._links, attempts._shared = links, Shared(links)  # Valkey is back

    with pytest.raises(RateLimited):
        await succeed(attempts, counter)
    with pytest.raises(RateLimited):  # and so at every replica
        await succeed(Attempts(links), counter)


async def test_a_question_that_was_answered_too_late_leaves_no_place_taken(
    own_links: Links, own_valkey: embedded.Valkey, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Valkey hangs for a moment, and takes the places of attempts that do not wait for it any more."""
    attempts = Attempts(own_links)
    monkeypatch.setattr(link, "DEADLINE", 0.1)
    os.kill(own_valkey.pid, signal.SIGSTOP)
    try:
        await asyncio.gather(*(succeed(attempts, Counter("login", key, FIVE)) for _ in range(5)))
    finally:
        os.kill(own_valkey.pid, signal.SIGCONT)
    monkeypatch.setattr(link, "DEADLINE", 5.0)
    await until(lambda: own_links.current is not None)

    async with attempts.attempt(Counter("login", key, FIVE)), valkey_of(own_links) as valkey:
        assert await valkey.zcard(keys(Counter("login", key, FIVE))[1]) == 1

    assert not attempts._owed


async def test_a_place_that_was_taken_for_who_is_refused_here_is_given_back(
    own_links: Links, own_valkey: embedded.Valkey, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer was lost, and the process that counts for itself has let in as many as it may."""
    attempts, counter = Attempts(own_links), Counter("login", key, ONE)
    attempts._twin.settle("before", (limit_of(counter),), failed=True)
    await succeed(attempts, Counter("login", f"{key}:another", ONE))  # by a connection that is ready
    monkeypatch.setattr(link, "DEADLINE", 0.1)
    os.kill(own_valkey.pid, signal.SIGSTOP)
    try:
        with pytest.raises(RateLimited):
            await succeed(attempts, counter)
    finally:
        os.kill(own_valkey.pid, signal.SIGCONT)
    monkeypatch.setattr(link, "DEADLINE", 5.0)
    await until(lambda: own_links.current is not None)

    async with attempts.attempt(counter), valkey_of(own_links) as valkey:
        assert await valkey.zcard(keys(counter)[1]) == 1


async def test_what_valkey_cannot_be_told_is_kept_until_it_does_not_matter(
    own_links: Links, own_valkey: embedded.Valkey, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = Attempts(own_links)
    up = own_links.current
    own_valkey.stop()
    await succeed(attempts, Counter("login", key, FIVE))
    monkeypatch.setattr(own_links, "current", up)  # and has gone again when it is told

    await succeed(attempts, Counter("login", key, FIVE))

    assert len(attempts._owed) == 2
    monkeypatch.setattr(own_links, "current", up)
    monkeypatch.setattr("app.limits.attempts.OPEN_SECONDS", 0)
    await succeed(attempts, Counter("login", key, FIVE))
    assert len(attempts._owed) == 1


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

"""Plain limits: so many events in a window, over replicas, whatever becomes of Valkey."""

import asyncio
import time

import pytest
from valkey.asyncio import Valkey

from app.cache.link import Links
from app.cli import embedded
from app.errors import RateLimited
from app.limits.counters import Limit
from app.limits.windows import Windows
from app.setting_values import Rate
from tests.limits.conftest import Replica

THREE = Rate(3, 3600)


async def hits(windows: list[Windows], key: str, number: int, rate: Rate | None = THREE) -> list[RateLimited]:
    """The refusals among so many at once."""
    answers = await asyncio.gather(
        *(windows[i % len(windows)].hit("register", key, rate) for i in range(number)), return_exceptions=True
    )
    refusals = [answer for answer in answers if isinstance(answer, RateLimited)]
    assert len(refusals) + answers.count(None) == number
    return refusals


async def test_of_fifty_at_once_over_two_replicas_three_are_admitted(
    links: Links, other_links: Links, key: str
) -> None:
    refusals = await hits([Windows(links), Windows(other_links)], key, 50)

    assert len(refusals) == 47
    assert {refusal.limit for refusal in refusals} == {"register"}
    assert all(3590 <= int(refusal.headers["Retry-After"]) <= 3600 for refusal in refusals)


async def test_one_key_does_not_count_for_another(links: Links, key: str) -> None:
    windows = [Windows(links)]
    await hits(windows, key, 4)

    assert not await hits(windows, f"{key} and another", 3)


async def test_a_limit_that_is_off_refuses_nobody(links: Links, key: str) -> None:
    assert not await hits([Windows(links)], key, 20, None)


async def test_retry_after_is_when_the_oldest_event_leaves_the_window(links: Links, key: str) -> None:
    rate = Rate(2, 100)
    name = f"gatehouse:limit:window/{Limit.of('register', key, rate).tag}/2/100/second"
    async with links.use() as link:
        await link.client.execute_command("LPUSH", name, time.time() - 70.5, time.time() - 20)  # type: ignore[no-untyped-call]

    (refused,) = await hits([Windows(links)], key, 1, rate)

    assert refused.headers["Retry-After"] == "30"


async def test_an_event_that_has_left_the_window_counts_no_more(links: Links, key: str) -> None:
    rate = Rate(1, 100)
    name = f"gatehouse:limit:window/{Limit.of('register', key, rate).tag}/1/100/second"
    async with links.use() as link:
        await link.client.execute_command("LPUSH", name, time.time() - 101)  # type: ignore[no-untyped-call]

    assert not await hits([Windows(links)], key, 1, rate)


async def test_the_count_goes_on_over_a_new_connection(links: Links, key: str) -> None:
    windows = Windows(links)
    await hits([windows], key, 2)

    old = links.current
    links.drop(old)
    async with asyncio.timeout(10):
        while links.current is None:
            await asyncio.sleep(0.01)
    refusals = await hits([windows], key, 2)

    assert links.current is not old
    assert len(refusals) == 1
    assert not windows._twin._counters


async def test_while_valkey_is_away_a_process_counts_for_itself(
    replica: Replica, own_database: str, own_valkey: embedded.Valkey, key: str
) -> None:
    windows = Windows(await replica(own_database, own_valkey.url))
    own_valkey.stop()

    refusals = await hits([windows], key, 50)

    assert len(refusals) == 47
    assert all(3590 <= int(refusal.headers["Retry-After"]) <= 3600 for refusal in refusals)


async def test_a_server_has_one_limiter_whoever_asks_it(
    links: Links, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that is traced hands out a client of its own each time."""
    link = links.current
    assert link is not None
    monkeypatch.setattr(link, "at", lambda _: Valkey(connection_pool=link.client.connection_pool))
    windows = Windows(links)

    assert len(await hits([windows], key, 5)) == 2

    assert len(windows._limiters) == 1

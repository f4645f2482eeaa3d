"""Many lookups in one call: joined only while it has not been sent."""

import asyncio
from collections.abc import Sequence

import pytest

from app.cache.batch import Batch

Found = dict[str, str]


class Store:
    """Answers a call when told to; remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.answers: list[asyncio.Future[Found]] = []
        self.asked = asyncio.Event()

    async def load(self, keys: list[str]) -> Found:
        self.calls.append(keys)
        answer: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self.answers.append(answer)
        self.asked.set()
        return await answer

    async def call(self, number: int) -> asyncio.Future[Found]:
        while len(self.answers) <= number:
            self.asked.clear()
            await self.asked.wait()
        return self.answers[number]


def ask(batch: Batch[str, Found], *keys: str) -> "asyncio.Task[Found]":
    async def wait() -> Found:
        return await batch.get(keys)

    return asyncio.create_task(wait())


async def test_all_who_ask_at_a_moment_share_a_call() -> None:
    store = Store()
    batch = Batch(store.load, most=100)

    first, second = ask(batch, "a", "b"), ask(batch, "b", "c")
    (await store.call(0)).set_result({"a": "1"})

    assert await first == await second == {"a": "1"}
    assert store.calls == [["a", "b", "c"]]


async def test_who_asks_once_a_call_is_sent_waits_for_the_next() -> None:
    store = Store()
    batch = Batch(store.load, most=100)

    early = ask(batch, "a")
    sent = await store.call(0)
    late = ask(batch, "a")
    sent.set_result({"a": "old"})
    assert await early == {"a": "old"}
    (await store.call(1)).set_result({"a": "new"})

    assert await late == {"a": "new"}
    assert store.calls == [["a"], ["a"]]


async def test_a_call_has_a_bound() -> None:
    store = Store()
    batch = Batch(store.load, most=2)

    tasks = [ask(batch, *keys) for keys in ("ab", "cd", "efg", "h")]
    for number in range(4):
        (await store.call(number)).set_result({})
    await asyncio.gather(*tasks)

    assert store.calls == [["a", "b"], ["c", "d"], ["e", "f", "g"], ["h"]]


async def test_a_failure_releases_also_those_who_wait_for_the_next_call() -> None:
    store = Store()
    batch = Batch(store.load, most=100)

    first = ask(batch, "a")
    sent = await store.call(0)
    second = ask(batch, "b")
    await asyncio.sleep(0)
    sent.set_exception(ConnectionError("gone"))

    for task in (first, second):
        with pytest.raises(ConnectionError):
            await task
    assert store.calls == [["a"]]


async def test_after_a_failure_the_next_call_is_a_new_one() -> None:
    store = Store()
    batch = Batch(store.load, most=100)
    failed = ask(batch, "a")
    (await store.call(0)).set_exception(ConnectionError("gone"))
    with pytest.raises(ConnectionError):
        await failed

    again = ask(batch, "a")
    (await store.call(1)).set_result({"a": "1"})

    assert await again == {"a": "1"}


async def test_who_goes_away_takes_nobody_with_him() -> None:
    store = Store()
    batch = Batch(store.load, most=100)
    gone, stays = ask(batch, "a"), ask(batch, "b")
    sent = await store.call(0)

    gone.cancel()
    waiting, gone_before_sent = ask(batch, "c"), ask(batch, "d")
    await asyncio.sleep(0)
    gone_before_sent.cancel()
    await asyncio.sleep(0)
    sent.set_result({"b": "2"})
    assert await stays == {"b": "2"}
    (await store.call(1)).set_result({"c": "3"})

    assert await waiting == {"c": "3"}
    assert store.calls[1] == ["c"]


async def test_a_failure_after_somebody_has_gone_reaches_the_others() -> None:
    store = Store()
    batch = Batch(store.load, most=100)
    gone, stays = ask(batch, "a"), ask(batch, "b")
    sent = await store.call(0)
    gone.cancel()
    await asyncio.sleep(0)
    sent.set_exception(ConnectionError("gone"))

    with pytest.raises(ConnectionError):
        await stays


async def test_stopping_cancels_whoever_waits() -> None:
    store = Store()
    batch = Batch(store.load, most=100)
    await batch.stop()
    first = ask(batch, "a")
    _ = await store.call(0)
    second = ask(batch, "b")
    await asyncio.sleep(0)

    await batch.stop()

    results: Sequence[object] = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError] * 2

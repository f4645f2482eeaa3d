"""What the tests of attempts do over and over: fail, succeed, and look at what is counted."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from valkey.asyncio import Valkey

from app.cache.link import Links
from app.limits import counters
from app.limits.attempts import Attempts, Counter
from app.limits.counters import Limit
from app.setting_values import Rate

FIVE = Rate(5, 900)
ONE = Rate(1, 900)


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

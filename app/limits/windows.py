"""Plain limits: so many events in any window of time, over all replicas (registrations, mails)."""

import asyncio
import math
import secrets
import time
from typing import Any

from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from valkey.asyncio import ConnectionPool
from valkey.exceptions import ResponseError

from app.cache.link import Links, ValkeyAway
from app.cache.server import Link
from app.errors import RateLimited
from app.limits.counters import Limit, Twin
from app.setting_values import Rate

AT_ONCE = 4  # connections that a burst may take: opening many at a time would run into the deadline of `Links.use`


class Windows:
    """Moving windows in Valkey, by the `limits` library on our own connections; while it is away, of this process.

    The library's own store in memory looks through all of its keys at every event (150 µs each, in a thread), so the
    twin of the counters stands in: an event is an attempt that fails at once.
    """

    def __init__(self, links: Links) -> None:
        self._links = links
        self._twin = Twin()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._link: Link | None = None
        self._limiters: dict[ConnectionPool, MovingWindowRateLimiter] = {}  # on that link

    async def hit(self, name: str, key: str, rate: Rate | None) -> None:
        """Count an event.

        Raises:
            RateLimited: there were as many as there may be; this one is not counted.
        """
        if rate is None:
            return
        limit = Limit.of(name, key, rate)
        try:
            wait = await self._hit(limit)
        except (ValkeyAway, ResponseError):
            wait = self._hit_twin(limit)
        if wait:
            raise RateLimited(name, wait)

    async def _hit(self, limit: Limit) -> int:
        """Seconds until there is room; 0 if there was."""
        item = RateLimitItemPerSecond(limit.most, limit.seconds, namespace="window")
        async with self._turns, self._links.use() as link:
            limiter = self._limiter_on(link, limit.tag)
            if await limiter.hit(item, limit.tag):
                return 0
            leaves_at, room = await limiter.get_window_stats(item, limit.tag)
        return 1 if room else math.floor(leaves_at - time.time()) + 1

    def _hit_twin(self, limit: Limit) -> int:
        event = secrets.token_hex(8)
        refusal = self._twin.reserve(event, (limit,))
        if refusal is not None:
            return refusal.retry_after
        self._twin.settle(event, (limit,), failed=True)
        return 0

    def _limiter_on(self, link: Link, tag: str) -> MovingWindowRateLimiter:
        """The one on the server that has this tag's keys."""
        if self._link is not link:
            self._link, self._limiters = link, {}
        connections = link.at(tag).connection_pool  # a server has one, however many clients
        if connections not in self._limiters:
            taken: Any = connections  # the library takes more than its annotations say
            storage = RedisStorage("valkey://", key_prefix="gatehouse:limit", connection_pool=taken)
            self._limiters[connections] = MovingWindowRateLimiter(storage)
        return self._limiters[connections]

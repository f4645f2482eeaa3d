"""Failed attempts, counted exactly over all replicas: an attempt reserves its place before it is known how it ends.

Whoever counts failures only when they have happened lets a hundred parallel guesses past a limit of five. So a counter
holds the failures of its window and the attempts that are open, and admits while the two together are below the limit.
Where failures alone reach it, the answer is no; where only open attempts stand in the way, the attempt waits for one of
them to end, so that thirty people who log in at once behind one address all get in.
"""

import asyncio
import hashlib
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import structlog
from valkey.exceptions import ResponseError

from app.cache.link import Links, ValkeyAway
from app.errors import RateLimited
from app.settings import Rate

log = structlog.get_logger(__name__)
T = TypeVar("T")

PATIENCE = 2.0  # seconds that an attempt waits for open ones to end
OPEN_SECONDS = 30  # after which an attempt that has not ended is dropped: its process has died
PAUSE_FIRST, PAUSE_MOST = 0.01, 0.05  # seconds between two questions to Valkey by the one that waits first
MOST_COUNTERS = 100_000  # of a process while Valkey is away; some 50 MB, then the one used longest ago goes

ADMITTED, WAIT = -2, -1  # what a counter answers; a positive number: blocked for as many microseconds
MICROSECONDS = 1_000_000  # a second

# Times are microseconds by Valkey's own clock, so that the replicas' clocks need not agree; they fit a double exactly.
# The open attempts' key goes with its last member; its TTL is for what died, and long, because a Valkey that runs out of
# memory evicts what would go next.
RESERVE = """
local failed, open, id = KEYS[1], KEYS[2], ARGV[1]
local limit, window, life = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('ZREMRANGEBYSCORE', failed, '-inf', now - window)
redis.call('ZREMRANGEBYSCORE', open, '-inf', now)
local failures = redis.call('ZCARD', failed)
if failures >= limit then
  local oldest = redis.call('ZRANGE', failed, failures - limit, failures - limit, 'WITHSCORES')
  return oldest[2] + window - now
end
if failures + redis.call('ZCARD', open) >= limit then
  return -1 -- WAIT
end
redis.call('ZADD', open, now + life, id)
redis.call('PEXPIRE', open, math.max(window, life) / 1000)
return -2 -- ADMITTED
"""
SETTLE = """
local failed, open, id = KEYS[1], KEYS[2], ARGV[1]
redis.call('ZREM', open, id)
if ARGV[2] == '1' then
  local time = redis.call('TIME')
  redis.call('ZADD', failed, 'NX', time[1] * 1000000 + time[2], id)
  redis.call('PEXPIRE', failed, ARGV[3] / 1000)
end
"""


@dataclass(frozen=True)
class Counter:
    """What failures are counted by; without a rate it does not count."""

    name: str  # of the limit, in the metrics: a word of ours
    key: str  # an address, a name: whatever a client sends
    rate: Rate | None


@dataclass(frozen=True)
class Limit:
    """A counter as it is kept: its key neither shapes a key of Valkey's nor can be read from one."""

    name: str
    tag: str  # in braces, so that both of its keys are in one slot of a cluster
    most: int
    seconds: int

    @classmethod
    def of(cls, counter: Counter, rate: Rate) -> "Limit":
        digest = hashlib.sha256(counter.key.encode(errors="surrogatepass")).hexdigest()[:32]
        return cls(counter.name, f"{{{counter.name}:{digest}}}", rate.limit, rate.seconds)


@dataclass(frozen=True)
class Refusal:
    """The limit that stands most in the way, and what its counter answered."""

    limit: Limit
    answer: int

    @property
    def retry_after(self) -> int:
        """Seconds until there is room for an attempt."""
        return math.ceil(self.answer / MICROSECONDS)

    @classmethod
    def among(cls, limits: Sequence[Limit], answers: Iterable[int]) -> "Refusal | None":
        limit, answer = max(zip(limits, answers, strict=True), key=lambda pair: pair[1])
        return None if answer == ADMITTED else cls(limit, answer)


class Attempt:
    """An attempt under way; it counts only if it is said to have failed."""

    def __init__(self) -> None:
        self.has_failed = False

    def failed(self) -> None:
        self.has_failed = True


@dataclass
class Reservation:
    """A place in every counter of an attempt, or in none."""

    limits: tuple[Limit, ...]
    attempt: str = field(default_factory=lambda: secrets.token_hex(8))
    taken_from: "Shared | Twin | None" = None


class Attempts:
    """Admits attempts; while Valkey is away, each process by what it has seen itself."""

    def __init__(self, links: Links) -> None:
        self._shared = Shared(links)
        self._twin = Twin()
        self._alone = False  # the last question went to the twin
        self._lines: dict[str, Line] = {}

    @asynccontextmanager
    async def attempt(self, *counters: Counter) -> AsyncGenerator[Attempt]:
        """An attempt that may fail; leaving it without `failed()` counts nothing, whatever the reason.

        Raises:
            RateLimited: too many have failed, or as many as may still fail are open and none of them ends.
        """
        reservation = Reservation(tuple(Limit.of(counter, counter.rate) for counter in counters if counter.rate))
        attempt = Attempt()
        try:
            if reservation.limits:
                await self._admit(reservation)
            yield attempt
        finally:
            if reservation.taken_from is not None:
                await _whole(self._settle(reservation, failed=attempt.has_failed))

    async def _admit(self, reservation: Reservation) -> None:
        ahead = next((limit for limit in reservation.limits if limit.tag in self._lines), None)
        try:
            async with asyncio.timeout(PATIENCE):
                if ahead is None:  # nobody of this process is waiting
                    ahead = await self._take(reservation)
                while ahead is not None:
                    ahead = await self._stand_in_line(ahead, reservation)
        except TimeoutError:
            raise RateLimited((ahead or reservation.limits[0]).name, 1) from None

    async def _take(self, reservation: Reservation) -> Limit | None:
        """Take the places if there are any; else the limit that has to be waited for."""
        refusal = await _whole(self._reserve(reservation))
        if refusal is None:
            return None
        if refusal.answer != WAIT:
            raise RateLimited(refusal.limit.name, refusal.retry_after)
        return refusal.limit

    async def _stand_in_line(self, limit: Limit, reservation: Reservation) -> Limit | None:
        line = self._lines.setdefault(limit.tag, Line())
        line.length += 1
        try:
            async with line.turn:
                return await self._ask(line, limit, reservation)
        finally:
            line.length -= 1
            if not line.length:
                del self._lines[limit.tag]

    async def _ask(self, line: "Line", limit: Limit, reservation: Reservation) -> Limit | None:
        """Ask again and again, until this limit is no longer what stands in the way."""
        pause = PAUSE_FIRST
        while True:
            line.moved.clear()
            ahead = await self._take(reservation)
            if ahead != limit:
                return ahead
            with suppress(TimeoutError):
                await asyncio.wait_for(line.moved.wait(), pause)
            pause = min(2 * pause, PAUSE_MOST)

    async def _reserve(self, reservation: Reservation) -> Refusal | None:
        store: Shared | Twin = self._shared
        try:
            refusal = await self._shared.reserve(reservation.attempt, reservation.limits)
            self._alone = False
        except (ValkeyAway, ResponseError) as error:
            if not self._alone:
                log.warning("limits.alone", reason=str(error)[:200])
            self._alone = True
            store = self._twin
            refusal = self._twin.reserve(reservation.attempt, reservation.limits)
        if refusal is None:
            reservation.taken_from = store
        return refusal

    async def _settle(self, reservation: Reservation, *, failed: bool) -> None:
        try:
            if reservation.taken_from is self._shared:
                await self._shared.settle(reservation.attempt, reservation.limits, failed=failed)
            else:
                self._twin.settle(reservation.attempt, reservation.limits, failed=failed)
        except (ValkeyAway, ResponseError):  # it has gone since; the failure shall count here at least
            self._twin.settle(reservation.attempt, reservation.limits, failed=failed)
        for limit in reservation.limits:
            if line := self._lines.get(limit.tag):
                line.moved.set()


class Line:
    """Those of a process who wait at one counter. Only the first asks Valkey, so that a storm costs it one question."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()  # serves in the order of arrival
        self.moved = asyncio.Event()  # an attempt of this process has ended
        self.length = 0


class Shared:
    """The counters of all replicas, in Valkey: one round trip to reserve, one to settle.

    Raises `ValkeyAway` and `ResponseError` (no memory left, a key of another type); then nothing may have been done.
    """

    def __init__(self, links: Links) -> None:
        self._links = links

    async def reserve(self, attempt: str, limits: Sequence[Limit]) -> Refusal | None:
        """Take a place in every counter, or in none."""
        async with self._links.use() as link:
            pipe = link.client.pipeline(transaction=False)
            for limit in limits:
                window, life = limit.seconds * MICROSECONDS, OPEN_SECONDS * MICROSECONDS
                pipe.eval(RESERVE, 2, *_keys(limit), attempt, str(limit.most), str(window), str(life))
            answers = await pipe.execute(raise_on_error=False)
        taken = [limit for limit, answer in zip(limits, answers, strict=True) if answer == ADMITTED]
        if len(taken) == len(limits):
            return None
        if taken:
            await self.settle(attempt, taken, failed=False)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return Refusal.among(limits, cast("list[int]", answers))

    async def settle(self, attempt: str, limits: Sequence[Limit], *, failed: bool) -> None:
        """Give the places back; a failure stays in each counter for its window. Twice is as good as once."""
        async with self._links.use() as link:
            pipe = link.client.pipeline(transaction=False)
            for limit in limits:
                pipe.eval(SETTLE, 2, *_keys(limit), attempt, str(int(failed)), str(limit.seconds * MICROSECONDS))
            await pipe.execute()


@dataclass
class Held:
    """One counter of the twin: attempts with the time of their failure, and with the time when they are dropped."""

    failed: dict[str, float] = field(default_factory=dict)
    open: dict[str, float] = field(default_factory=dict)


class Twin:
    """The same rules in the memory of one process, bounded; the counter that was used longest ago makes room."""

    def __init__(self, most: int = MOST_COUNTERS, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._counters: OrderedDict[str, Held] = OrderedDict()

    def reserve(self, attempt: str, limits: Sequence[Limit]) -> Refusal | None:
        """Take a place in every counter, or in none."""
        now = self._clock()
        refusal = Refusal.among(limits, [self._answer(limit, now) for limit in limits])
        if refusal is None:
            for limit in limits:
                self._held(limit).open[attempt] = now + OPEN_SECONDS
        return refusal

    def settle(self, attempt: str, limits: Sequence[Limit], *, failed: bool) -> None:
        """Give the places back; a failure stays in each counter for its window. Twice is as good as once."""
        for limit in limits:
            held = self._held(limit)
            held.open.pop(attempt, None)
            if failed:
                held.failed.setdefault(attempt, self._clock())
            if not held.failed and not held.open:
                del self._counters[limit.tag]

    def _answer(self, limit: Limit, now: float) -> int:
        held = self._counters.get(limit.tag, Held())
        held.failed = {attempt: at for attempt, at in held.failed.items() if at > now - limit.seconds}
        held.open = {attempt: until for attempt, until in held.open.items() if until > now}
        failures = len(held.failed)
        if failures >= limit.most:
            oldest = list(held.failed.values())[failures - limit.most]
            return math.ceil((oldest + limit.seconds - now) * MICROSECONDS)
        return WAIT if failures + len(held.open) >= limit.most else ADMITTED

    def _held(self, limit: Limit) -> Held:
        held = self._counters.setdefault(limit.tag, Held())
        self._counters.move_to_end(limit.tag)
        if len(self._counters) > self._most:
            self._counters.popitem(last=False)
        return held


def _keys(limit: Limit) -> tuple[str, str]:
    return f"gatehouse:limit:{limit.tag}:failed", f"gatehouse:limit:{limit.tag}:open"


async def _whole(work: Coroutine[Any, Any, T]) -> T:
    """Do the work to its end, also if the caller is cancelled meanwhile: half a question leaves a place taken.

    The work is bounded by the deadline of `Links.use`.
    """
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait((task,))
        raise

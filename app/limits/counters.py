"""Where attempts are counted: in Valkey for all replicas, or in the process while Valkey is away; by the same rules."""

import asyncio
import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from app.cache.link import Links
from app.setting_values import Rate

OPEN_SECONDS = 30  # after which an attempt that has not ended is dropped: its process has died
TOGETHER = 100  # attempts in one round trip, which then takes Valkey some milliseconds
MOST_COUNTERS = 100_000  # of a process while Valkey is away; some 50 MB, then the one used longest ago goes

ADMITTED, WAIT = -2, -1  # what a counter answers; a positive number: blocked for as many microseconds
MICROSECONDS = 1_000_000  # a second

# Times are microseconds by Valkey's own clock, so that the replicas' clocks need not agree; they fit a double exactly.
# The key of open attempts goes with its last member; its TTL is for those that died, and long, because a Valkey that
# runs out of memory evicts first what would go next.
RESERVE = """
local failed, open, id = KEYS[1], KEYS[2], ARGV[1]
local limit, window, life = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('ZREMRANGEBYSCORE', failed, '-inf', now - window)
redis.call('ZREMRANGEBYSCORE', open, '-inf', now)
if redis.call('ZSCORE', open, id) then
  return -2 -- ADMITTED, by a question whose answer was lost
end
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


def digest(key: str) -> str:
    """Of whatever a client sends, also of half a surrogate pair; 128 bits are enough that no two are the same."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:32]


@dataclass(frozen=True)
class Limit:
    """A counter as it is kept: its key neither shapes a key of Valkey's nor can be read from one."""

    name: str
    tag: str  # in braces, so that both of its keys are in one slot of a cluster
    most: int
    seconds: int

    @classmethod
    def of(cls, name: str, key: str, rate: Rate) -> "Limit":
        return cls(name, f"{{{name}:{digest(key)}}}", rate.limit, rate.seconds)


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


Answer = int | Exception | None


@dataclass
class Asked:
    """Script calls of one attempt (script, both keys, arguments), and where their answers go."""

    calls: list[tuple[str, ...]]
    answers: "asyncio.Future[list[Answer]]"


class Shared:
    """The counters of all replicas, in Valkey; what is asked in a moment travels together, one round trip at a time.

    So a storm takes one connection, and does not run into the deadline that an outage is known by.
    Raises `ValkeyAway` and `ResponseError` (no memory left, a key of another type); then nothing may have been done.
    """

    def __init__(self, links: Links) -> None:
        self._links = links
        self._waiting: list[Asked] = []
        self._running: asyncio.Task[None] | None = None

    async def reserve(self, attempt: str, limits: Sequence[Limit]) -> Refusal | None:
        """Take a place in every counter, or in none."""
        life = str(OPEN_SECONDS * MICROSECONDS)
        answers = await self._ask(
            [(RESERVE, *_keys(limit), attempt, str(limit.most), _window(limit), life) for limit in limits]
        )
        taken = [limit for limit, answer in zip(limits, answers, strict=True) if answer == ADMITTED]
        if len(taken) == len(limits):
            return None
        if taken:
            await self.settle(attempt, taken, failed=False)
        return Refusal.among(limits, _sound(answers))

    async def settle(self, attempt: str, limits: Sequence[Limit], *, failed: bool) -> None:
        """Give the places back; a failure stays in each counter for its window. Twice is as good as once."""
        counts = str(int(failed))
        _sound(await self._ask([(SETTLE, *_keys(limit), attempt, counts, _window(limit)) for limit in limits]))

    async def _ask(self, calls: list[tuple[str, ...]]) -> list[Answer]:
        asked = Asked(calls, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await asked.answers

    async def _run(self) -> None:
        try:
            while self._waiting:
                together, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
                await self._call(together)
        finally:
            self._running = None

    async def _call(self, together: Sequence[Asked]) -> None:
        try:
            async with self._links.use() as link:
                calls = [call for asked in together for call in asked.calls]
                answers = iter(await link.run([(key, ("EVAL", script, 2, key, *rest)) for script, key, *rest in calls]))
        except Exception as error:  # noqa: BLE001 - it is handed to everybody who waits
            for asked in together:
                if not asked.answers.done():
                    asked.answers.set_exception(error)
        else:
            for asked in together:
                own = [next(answers) for _ in asked.calls]
                if not asked.answers.done():  # its caller has gone
                    asked.answers.set_result(own)


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


def _window(limit: Limit) -> str:
    return str(limit.seconds * MICROSECONDS)


def _sound(answers: Iterable[Answer]) -> list[int]:
    """The answers, if none of them is an error; 0 where a script says nothing.

    Raises:
        ResponseError: the first.
    """
    sound = []
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
        sound.append(answer or 0)
    return sound

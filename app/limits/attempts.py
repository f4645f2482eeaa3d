"""Failed attempts, counted exactly over all replicas: an attempt reserves its place before it is known how it ends.

Whoever counts failures only when they have happened lets a hundred parallel guesses past a limit of five. So a counter
holds the failures of its window and the attempts that are open, and admits while the two together are below the limit.
Where failures alone reach it, the answer is no; where only open attempts stand in the way, the attempt waits for one of
them to end, so that thirty people who log in at once behind one address all get in.
"""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from valkey.exceptions import ResponseError

from app.cache.link import Links, ValkeyAway
from app.errors import RateLimited
from app.limits.counters import OPEN_SECONDS, WAIT, Limit, Refusal, Shared, Twin
from app.setting_values import Rate

log = structlog.get_logger(__name__)
T = TypeVar("T")

PATIENCE = 2.0  # seconds that an attempt waits for open ones to end
MOST_OWED = 1000  # attempts of a process; of those beyond it the places are free at their deadline, OPEN_SECONDS
PAUSE_FIRST, PAUSE_MOST = 0.01, 0.05  # seconds between two questions to Valkey by the one that waits first


@dataclass(frozen=True)
class Counter:
    """What failures are counted by; without a rate it does not count."""

    name: str  # of the limit, in the metrics: a word of ours
    key: str  # an address, a name: whatever a client sends
    rate: Rate | None


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
    in_doubt: bool = False  # Valkey was asked and did not answer: it may hold a place


@dataclass(frozen=True)
class Owed:
    """How an attempt has ended that Valkey may hold a place for, and was not told: its answer did not come in time."""

    reservation: Reservation
    failed: bool
    ended_at: float = field(default_factory=time.monotonic)

    @property
    def matters_seconds(self) -> int:
        """How long Valkey would go by it: a failure counts for its window, a place is free at its deadline."""
        return max(limit.seconds for limit in self.reservation.limits) if self.failed else OPEN_SECONDS


class Attempts:
    """Admits attempts; while Valkey is away, each process by what it has seen itself."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self._owed: deque[Owed] = deque(maxlen=MOST_OWED)
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
        reservation = Reservation(tuple(Limit.of(c.name, c.key, c.rate) for c in counters if c.rate))
        attempt = Attempt()
        try:
            if reservation.limits:
                await self._admit(reservation)
            yield attempt
        finally:
            if reservation.taken_from is not None:
                await _whole(self._settle(reservation, failed=attempt.has_failed))
            elif reservation.in_doubt:
                self._owed.append(Owed(reservation, failed=False))

    async def _admit(self, reservation: Reservation) -> None:
        ahead = next((limit for limit in reservation.limits if limit.tag in self._lines), None)
        try:
            async with asyncio.timeout(PATIENCE):
                if ahead is None:  # nobody of this process is waiting
                    ahead = await self._take(reservation)
                while ahead is not None:
                    ahead = await self._stand_in_line(ahead, reservation)
        except TimeoutError:
            if reservation.taken_from is None:  # else it has its places, late as this process may be
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
            await self._pay()
            refusal = await self._shared.reserve(reservation.attempt, reservation.limits)
            self._alone = False
        except (ValkeyAway, ResponseError) as error:
            if not self._alone:
                log.warning("limits.alone", reason=str(error)[:200])
            self._alone = True
            reservation.in_doubt = True
            store = self._twin
            refusal = self._twin.reserve(reservation.attempt, reservation.limits)
        if refusal is None:
            reservation.taken_from = store
        return refusal

    async def _settle(self, reservation: Reservation, *, failed: bool) -> None:
        settled = False
        if reservation.taken_from is self._shared:
            with suppress(ValkeyAway, ResponseError):  # it has gone since
                await self._shared.settle(reservation.attempt, reservation.limits, failed=failed)
                settled = True
        if not settled:
            self._twin.settle(reservation.attempt, reservation.limits, failed=failed)
            self._owed.append(Owed(reservation, failed))
        for limit in reservation.limits:
            if line := self._lines.get(limit.tag):
                line.moved.set()

    async def _pay(self) -> None:
        """Tell Valkey what it was not told, now that it is back.

        Raises:
            ValkeyAway: it has gone again.
        """
        if not self._owed or self._links.current is None:
            return
        owed = [each for each in self._owed if each.ended_at > time.monotonic() - each.matters_seconds]
        self._owed.clear()
        try:
            await asyncio.gather(*(self._tell(each) for each in owed))
        except ValkeyAway:
            self._owed.extend(owed)
            raise

    async def _tell(self, owed: Owed) -> None:
        with suppress(ResponseError):
            await self._shared.settle(owed.reservation.attempt, owed.reservation.limits, failed=owed.failed)


class Line:
    """Those of a process who wait at one counter. Only the first asks Valkey, so that a storm costs it one question."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()  # serves in the order of arrival
        self.moved = asyncio.Event()  # an attempt of this process has ended
        self.length = 0


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

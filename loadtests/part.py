"""What a part of a run at one rate gave; without locust, which changes the sockets of whoever imports it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

KEPT_UP = 0.97  # of what was due has to have been answered by the end

Times = Mapping[int, int]  # how many answers took so many milliseconds, from when they were due


@dataclass(frozen=True)
class Part:
    """Sign-ins have times of their own: they wait for a hash."""

    rate: float  # requests a second that were due
    seconds: float
    failures: int
    times: Times
    sign_in_times: Times

    @property
    def requests(self) -> int:
        return sum(self.times.values()) + sum(self.sign_in_times.values())

    @property
    def answered(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    def miss(self, in_time: float) -> float:
        """How many times so many milliseconds the p99 was; infinite if anything failed, or it fell behind."""
        if self.failures or self.answered < KEPT_UP * self.rate:
            return inf
        return percentile(self.times, 0.99) / in_time

    def __str__(self) -> str:
        return (
            f"{self.rate:.0f}/s due, {self.answered:.0f}/s answered, {self.failures} failed, "
            f"p50 {percentile(self.times, 0.5)} ms, p99 {percentile(self.times, 0.99)} ms, "
            f"sign-ins p99 {percentile(self.sign_in_times, 0.99)} ms"
        )


def together(parts: Sequence[Part]) -> Part:
    """Several as one."""
    seconds = sum(part.seconds for part in parts)
    times: Counter[int] = Counter()
    sign_in_times: Counter[int] = Counter()
    for part in parts:
        times.update(part.times)
        sign_in_times.update(part.sign_in_times)
    rate = sum(part.rate * part.seconds for part in parts) / seconds
    return Part(rate, seconds, sum(part.failures for part in parts), times, sign_in_times)


def percentile(times: Times, part: float) -> int:
    """The milliseconds within which that part of the answers came; 0 where there were none."""
    left = part * sum(times.values())
    for milliseconds in sorted(times):
        left -= times[milliseconds]
        if left <= 0:
            return milliseconds
    return 0

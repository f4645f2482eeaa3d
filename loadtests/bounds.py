"""What a run has to keep within, and the verdict on what was seen.

Knows nothing of locust, whose import patches sockets and threads.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

VIOLATION = "VIOLATION: "  # begins the name of what may not happen once, however much else went well
REFUSALS = ("overloaded", "rate_limited")  # codes that say: come again later


@dataclass(frozen=True)
class Seen:
    """What was asked by one method under one name; times are in milliseconds."""

    method: str
    name: str
    requests: int
    failures: int
    p95: float
    p99: float


@dataclass(frozen=True)
class Share:
    """A part of all requests."""

    most: float
    reason: str


@dataclass(frozen=True)
class Time:
    """In milliseconds."""

    request: str  # method and name: GET /me
    p95: float
    p99: float
    reason: str


@dataclass(frozen=True)
class Bounds:
    failed: Share  # of all requests
    refused: Share  # of those that cost a hash: told to come again later, which is no failure
    times: Sequence[Time]


@dataclass(frozen=True)
class Finding:
    text: str
    holds: bool = False

    def __str__(self) -> str:
        return f"  {'ok    ' if self.holds else 'BROKEN'}  {self.text}"


def refused(path: str, code: str) -> str:
    """The name under which a refusal is counted, apart from the answers."""
    return f"{path} ({code})"


def judge(seen: Sequence[Seen], bounds: Bounds) -> list[Finding]:
    return [
        *_violations(seen),
        _failed(seen, bounds.failed),
        _refused(seen, bounds.refused),
        *_times(seen, bounds.times),
    ]


def _violations(seen: Sequence[Seen]) -> Iterator[Finding]:
    for each in seen:
        if each.name.startswith(VIOLATION):
            yield Finding(f"{each.name.removeprefix(VIOLATION)}: {each.requests:,} times, and may not happen once")


def _failed(seen: Sequence[Seen], bound: Share) -> Finding:
    return _share("failed", sum(each.failures for each in seen), sum(each.requests for each in seen), bound)


def _refused(seen: Sequence[Seen], bound: Share) -> Finding:
    """Sign-ins and registrations are what can be refused; what was refused stands under names of its own."""
    answered = sum(each.requests for each in seen if each.name in {"/login", "/register"})
    told = {code: sum(each.requests for each in seen if each.name.endswith(f" ({code})")) for code in REFUSALS}
    parts = ", ".join(f"{number:,} {code}" for code, number in told.items())
    return _share(f"told to come again ({parts})", sum(told.values()), answered + sum(told.values()), bound)


def _share(what: str, part: int, whole: int, bound: Share) -> Finding:
    holds = part <= bound.most * whole
    text = f"{what}: {part:,} of {whole:,}, at most {bound.most:.2%}"
    return Finding(text if holds else f"{text}, because {bound.reason}", holds)


def _times(seen: Sequence[Seen], bounds: Sequence[Time]) -> Iterator[Finding]:
    by_request = {f"{each.method} {each.name}": each for each in seen}
    for bound in bounds:
        each = by_request.get(bound.request)
        if each is None:
            yield Finding(f"{bound.request}: nobody asked, so nothing is known")
            continue
        holds = each.p95 <= bound.p95 and each.p99 <= bound.p99
        times = f"p95 {each.p95:.0f} ms (at most {bound.p95:.0f}), p99 {each.p99:.0f} ms (at most {bound.p99:.0f})"
        text = f"{bound.request}: {each.requests:,} requests, {times}"
        yield Finding(text if holds else f"{text}, because {bound.reason}", holds)

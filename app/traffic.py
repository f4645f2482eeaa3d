"""Requests by route, as Prometheus reads them everywhere: how many, how they ended, how long they took.

Counted in plain numbers and told once a second: a histogram that is shared by processes takes three microseconds to
touch, and one request of `/me` forty.
"""

from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
OTHER = "other"  # methods: a client may make up as many as it likes
UNMATCHED = "unmatched"  # whatever leads to no route of ours
PREFLIGHT = "preflight"  # what browsers ask before they ask (CORS), whatever for


class Tally:
    """Requests of one route, method and class of status that Prometheus has not been told of."""

    __slots__ = ("_durations", "_requests", "_size", "counts", "seconds")

    def __init__(self, requests: Counter, durations: Histogram, size: int) -> None:
        self._requests = requests
        self._durations = durations
        self._size = size
        self.counts = [0] * size  # by bucket, the last one without an end
        self.seconds = 0.0

    def tell(self) -> None:
        counts, seconds = self.counts, self.seconds
        total = sum(counts)
        if not total:
            return
        self.counts, self.seconds = [0] * self._size, 0.0
        self._requests.inc(total)
        self._durations._sum.inc(seconds)  # noqa: SLF001 - `observe` knows no more than one at a time
        for bucket, count in zip(self._durations._buckets, counts, strict=True):  # noqa: SLF001 - the same
            if count:
                bucket.inc(count)


class Traffic:
    """All of a process. Whoever counts calls from its event loop alone."""

    def __init__(self, registry: CollectorRegistry, buckets: Sequence[float]) -> None:
        self._requests = Counter(
            "http_requests",
            "Requests that were answered, by class of status.",
            ["method", "route", "status"],
            registry=registry,
        )
        self._durations = Histogram(
            "http_request_duration_seconds",
            "Time from a request to the end of its answer.",
            ["method", "route"],
            registry=registry,
            buckets=buckets,
        )
        self._buckets = list(buckets)
        self._tallies: dict[tuple[str, str, int], Tally] = {}

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request of this route (its template, never its path) was."""
        tally = self._tallies.get((method, route, status)) or self._tally(method, route, status)
        tally.counts[bisect_left(self._buckets, seconds)] += 1
        tally.seconds += seconds

    def _tally(self, method: str, route: str, status: int) -> Tally:
        if method not in METHODS:
            method = OTHER
        key = method, route, status
        if key not in self._tallies:
            requests = self._requests.labels(method, route, f"{status // 100}xx")
            self._tallies[key] = Tally(requests, self._durations.labels(method, route), len(self._buckets) + 1)
        return self._tallies[key]

    def tell(self) -> None:
        for tally in self._tallies.values():
            tally.tell()

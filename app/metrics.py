"""What Prometheus reads: the metrics of the contract, over all workers of a server.

With PROMETHEUS_MULTIPROC_DIR set (`gatehouse serve` sets it before its workers start) each process keeps its numbers in
a file there, and a scrape of any worker adds them up.
"""

import asyncio
import math
import os
import re
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, Self

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from app.errors import AppError, ClientGone
from app.traffic import Traffic

CONTENT_TYPE = "text/plain; version=0.0.4"  # of the format; the charset follows when it is sent

# seconds: from a lookup in memory (0.1 ms) to the deadline of a statement (5 s)
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

LOGIN_CODES = (
    "mfa_required",
    "invalid_mfa",
    "invalid_grant",
    "email_taken",
    "forbidden",
    "rate_limited",
    "overloaded",
    "client_gone",
)
# as what errors of these codes are counted
LOGIN_ERRORS = {code: code for code in LOGIN_CODES}
REFRESH_ERRORS = {"refresh_token_reused": "reused", "invalid_refresh_token": "invalid"}
GPUSTACK_ERRORS = {code: code for code in ("overloaded", "client_gone")}
MAILED = ("sent", "retried", "given_up", "expired")
REFRESHED = ("rotated", "grace", *REFRESH_ERRORS.values(), "error")

Together = Literal["livesum", "livemax", "livemin"]


class Operation:
    """An operation under way: measured when it is left, as `error` unless it, or its error, says how it ended."""

    def __init__(self, duration: Histogram, count: Callable[[str], None], errors: Mapping[str, str]) -> None:
        self._duration = duration
        self._count = count
        self._errors = errors
        self._result = "error"

    def ended(self, result: str) -> None:
        self._result = result

    def __enter__(self) -> Self:
        self._started = time.perf_counter()
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._duration.observe(time.perf_counter() - self._started)
        code = error.code if isinstance(error, AppError) else ""
        if isinstance(error, asyncio.CancelledError):
            code = ClientGone.code
        self._count(self._errors.get(code, self._result))


class Metrics:
    """The metrics of one application; no two applications of a process share any."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.traffic = Traffic(self.registry, BUCKETS)
        self._login_success = self._counter("auth_login_success", "Logins that opened a session.")
        self._login_failure = self._counter("auth_login_failure", "Logins refused, by reason.", "reason")
        self._refresh = self._counter("auth_token_refresh", "Refreshes, by result.", "result")
        self._rate_limited = self._counter("auth_rate_limited", "Requests refused by a limit.", "limit")
        self._session_check = self._counter(
            "auth_session_check", "Session checks, by the store that answered.", "source"
        )
        mail = self._counter("auth_mail", "Mails, by what became of a try to send one.", "result")
        self._gpustack = self._counter("auth_gpustack_verification", "Passwords that GPUStack judged.", "result")
        self._offline = self._counter("auth_gpustack_offline", "Passwords taken while GPUStack was away.")
        duration = Histogram(
            "auth_operation_duration_seconds",
            "Time an operation took.",
            ["operation"],
            registry=self.registry,
            buckets=BUCKETS,
        )
        self._refreshed = {result: self._refresh.labels(result) for result in REFRESHED}
        self._login_duration, self._refresh_duration = duration.labels("login"), duration.labels("refresh")
        self._gpustack_duration = duration.labels("gpustack")
        # what alerts ask for is there from the start: the first of a number that comes from nowhere is no increase
        self._mails = {result: mail.labels(result) for result in MAILED}
        for reason in ("error", "overloaded"):
            self._login_failure.labels(reason)
        self._sources = {source: self._session_check.labels(source) for source in ("valkey", "postgres")}
        self._gauges: list[tuple[Gauge, Callable[[], float]]] = []
        # under the names that Prometheus's own libraries have for them, but of all workers together
        self._processor = self._counter("process_cpu_seconds", "Time of the processor that was used.")
        self._processor_used = 0.0  # seconds, when the counter was last moved on
        self.gauge(
            "process_resident_memory_bytes",
            "Memory that is resident; what workers share counts for each.",
            resident_bytes,
        )
        self.gauge("process_open_fds", "Open files and connections; 0: the kernel does not say.", open_files)
        self.gauge("process_max_fds", "How many there may be.", open_files_limit)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(name, help_text, labels, registry=self.registry)

    def gauge(self, name: str, help_text: str, read: Callable[[], float], over_workers: Together = "livesum") -> None:
        """A number read at each scrape; of the workers that live the sum, or what one of them has seen of a whole."""
        gauge = Gauge(name, help_text, registry=self.registry, multiprocess_mode=over_workers)
        self._gauges.append((gauge, read))

    def login(self) -> Operation:
        """Ends as `success`, with the reason of the refusal, or as `mfa_required`: then the next step tells."""
        return Operation(self._login_duration, self._count_login, LOGIN_ERRORS)

    def _count_login(self, result: str) -> None:
        if result == "success":
            self._login_success.inc()
        elif result != "mfa_required":
            self._login_failure.labels(result).inc()

    def refresh(self) -> Operation:
        """Ends as `rotated`, `grace`, `reused` or `invalid`."""
        return Operation(self._refresh_duration, lambda result: self._refreshed[result].inc(), REFRESH_ERRORS)

    def gpustack(self) -> Operation:
        """Ends as `verified`, `refused`, `deactivated`, `away` or `misconfigured`."""
        return Operation(self._gpustack_duration, lambda result: self._gpustack.labels(result).inc(), GPUSTACK_ERRORS)

    def let_in_offline(self) -> None:
        self._offline.inc()

    def rate_limited(self, limit: str) -> None:
        self._rate_limited.labels(limit).inc()

    def mailed(self, result: Literal["sent", "retried", "given_up", "expired"]) -> None:
        self._mails[result].inc()

    def session_checked(self, source: str, entries: int) -> None:
        """So many sessions were looked up in `valkey` or `postgres`; told once a second, not on the hot path."""
        self._sources[source].inc(entries)

    def sample(self) -> None:
        """Write the gauges, and what was counted; every second in every worker, for a scrape runs in only one."""
        self.traffic.tell()
        for gauge, read in self._gauges:
            gauge.set(read())
        used = time.process_time()
        self._processor.inc(used - self._processor_used)
        self._processor_used = used

    def text(self) -> bytes:
        """The exposition of all workers, this one as of its last sample; in a thread, for it takes some 30 ms."""
        directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        if not directory:
            return generate_latest(self.registry)
        forget_dead(Path(directory))
        shared = CollectorRegistry()
        MultiProcessCollector(shared, directory)  # type: ignore[no-untyped-call]
        return generate_latest(shared)


def resident_bytes() -> float:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:  # no Linux
        return 0
    return pages * resource.getpagesize()


def open_files() -> float:
    """By one question, whatever their number; kernels before 6.2 do not answer it."""
    try:
        return Path("/proc/self/fd").stat().st_size
    except OSError:  # no Linux
        return 0


def open_files_limit() -> float:
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return math.inf if soft == resource.RLIM_INFINITY else soft


def forget_dead(directory: Path) -> None:
    """Remove the gauges of workers that are no more; their counters stay, or a respawn would count backwards."""
    for path in directory.glob("gauge_live*_*.db"):
        match = re.search(r"_(\d+)\.db$", path.name)
        if match and not Path(f"/proc/{match[1]}").exists() and Path("/proc").exists():
            path.unlink(missing_ok=True)

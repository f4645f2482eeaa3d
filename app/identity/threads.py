"""Work that takes a thread for longer than a loop may stand still: no more of it is queued than can be done soon."""

import asyncio
import contextvars
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from app.errors import Overloaded

T = TypeVar("T")

DEADLINE = 0.8  # seconds of work that may be queued, and that anyone waits: whoever is refused knows within one
WEIGHT = 0.1  # of the newest piece of work in the running average: it follows a change of pace within some 20
NICENESS = 5  # added to that of the event loop, which so gets thrice the weight where both want the core
LEAST = 19  # what gives way to those, with a twentieth of their weight; SCHED_IDLE would starve on a busy machine


class Threads:
    """Runs work of one kind; what cannot be begun within the deadline is refused, most of it at once.

    `count` is how many threads there are, `busy` how many are at work, and `queued` how much work waits.

    Args:
        name: of the threads.
        count: how many.
        assumed_seconds: what a piece of work takes, until it is known.
        deadline: seconds of work that may be queued, and that anyone waits.
        niceness: added to that of the event loop.
    """

    def __init__(
        self,
        name: str,
        count: int,
        assumed_seconds: float,
        *,
        deadline: float = DEADLINE,
        niceness: int = NICENESS,
    ) -> None:
        self.count = count
        self.queued = 0
        self.busy = 0
        self._seconds = assumed_seconds  # of a piece of work, as a running average
        self._counting = threading.Lock()
        self._deadline = deadline
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name, initializer=_step_back, initargs=(niceness,))
        self._stopped = False

    async def stop(self) -> None:
        """Refuse what is queued and what comes, and let the threads finish."""
        self._stopped = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._pool.shutdown)

    async def run(self, work: Callable[[], T]) -> T:
        """Do the work in a thread, if one takes it up in time.

        A caller who is cancelled takes it along while it waits. Once a thread is at it he stays to its end: what it has
        cost shall count like any other try.

        Raises:
            Overloaded: there is more to do than can be done soon.
        """
        job = self._submit(work)
        done = asyncio.wrap_future(job)
        try:
            await asyncio.wait((done,), timeout=self._deadline)
        except asyncio.CancelledError:
            if job.cancel():
                raise
            asyncio.current_task().uncancel()  # type: ignore[union-attr] # it is one that was cancelled
            await asyncio.wait((done,))
        if job.cancel():  # it still waited for a thread, or `stop` has refused it
            raise Overloaded
        return await done

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        if self._stopped or self.queued * self._seconds / self.count >= self._deadline:
            raise Overloaded
        with self._counting:
            self.queued += 1
        job = self._pool.submit(contextvars.copy_context().run, self._timed, work)  # log lines name the request
        job.add_done_callback(self._left)
        return job

    def _left(self, job: Future[T]) -> None:
        if job.cancelled():
            with self._counting:
                self.queued -= 1

    def _timed(self, work: Callable[[], T]) -> T:
        with self._counting:
            self.queued -= 1
            self.busy += 1
        started = time.perf_counter()
        try:
            return work()
        finally:
            with self._counting:
                self.busy -= 1
                self._seconds += WEIGHT * (time.perf_counter() - started - self._seconds)


def _step_back(niceness: int) -> None:
    """Lower the priority of the calling thread; Linux alone counts it by thread, elsewhere it would be the process."""
    if sys.platform == "linux":
        with suppress(OSError):
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + niceness)


def cores(root: Path = Path("/")) -> float:
    """The cores this process may use: its affinity, and its container's quota; `os.cpu_count()` would be the node's."""
    affinity = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min([float(affinity), *_quotas(root)])


def _quotas(root: Path) -> Iterable[float]:
    """The quota of each cgroup, v1 or v2, that holds this process; a container sees its own at the mount itself."""
    mount = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            top = mount / "cpu" if controllers else mount
            group = top / path.strip("/")
            while group.is_relative_to(top):
                yield from _quota(group)
                group = group.parent


def _quota(group: Path) -> Iterable[float]:
    words = _read(group / "cpu.max") or f"{_read(group / 'cpu.cfs_quota_us')} {_read(group / 'cpu.cfs_period_us')}"
    with suppress(ValueError):  # "max", or no such file
        granted, period = (int(word) for word in words.split())
        if granted > 0 and period > 0:  # -1 is no limit in v1
            yield granted / period


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""

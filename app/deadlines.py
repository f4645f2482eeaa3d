"""Deadlines that share a timer: `asyncio.timeout` makes and frees one for each, which takes uvloop ten microseconds."""

import asyncio
import time
from types import TracebackType
from typing import Any, Self


class Deadlines:
    """Looks after many deadlines.

    Args:
        interval: seconds between two looks; by so much a deadline may be late.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._running: set[Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None

    def within(self, seconds: float) -> "Deadline":
        """Around what may take so long (`with`); TimeoutError if it takes longer."""
        return Deadline(self, time.monotonic() + seconds)

    def add(self, deadline: "Deadline") -> None:
        self._running.add(deadline)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._interval, self._look)

    def remove(self, deadline: "Deadline") -> None:
        self._running.discard(deadline)

    def _look(self) -> None:
        now = time.monotonic()
        for deadline in [each for each in self._running if each.until <= now]:
            self._running.remove(deadline)
            deadline.exceeded()
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._look) if self._running else None


class Deadline:
    """One deadline of the current task; a cancellation by somebody else stays one, as with `asyncio.timeout`."""

    __slots__ = ("_cancelled_before", "_deadlines", "_late", "_task", "until")

    def __init__(self, deadlines: Deadlines, until: float) -> None:
        self.until = until  # on the monotonic clock
        self._deadlines = deadlines
        self._late = False

    def __enter__(self) -> Self:
        task: asyncio.Task[Any] | None = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline needs a task")
        self._task = task
        self._cancelled_before = task.cancelling()
        self._deadlines.add(self)
        return self

    def exceeded(self) -> None:
        self._late = True
        self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._deadlines.remove(self)
        if self._late and self._task.uncancel() <= self._cancelled_before and kind is asyncio.CancelledError:
            raise TimeoutError from error

"""Requests at a given rate, whether the service keeps up or not: each has a time at which it is due.

Answers are timed from then on, so that a service (or a load) that falls behind cannot hide it by being asked less
often. Where locust runs in several processes, the first one sets the pace of all.
"""

import random
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from locust import events, runners
from locust.env import Environment
from locust.rpc import Message
from locust.runners import Runner

from loadtests import verdict

PACE, ARRIVED = "pace", "arrived"
REPORT_SECONDS = 0.5  # between two reports of a process to the first one, by default 3: each part waits for them
PATIENCE_SECONDS = 120.0  # for everybody to register and sign in
UNMEASURED = ""
IDLE_SECONDS = 0.2  # between two looks whether all are there
MARK = " @"  # between the name of a request and the part of the run that it was due in

runners.WORKER_REPORT_INTERVAL = REPORT_SECONDS


@dataclass(frozen=True)
class Pace:
    part: int  # of the run: in a new one nobody makes up for what was not done in the last
    period: float  # seconds between two requests of one person; 0: none
    name: str  # under which answers are counted


@dataclass
class Clock:
    """What this process knows of the pace."""

    pace: Pace = Pace(0, 0.0, UNMEASURED)
    moves: threading.Event = field(default_factory=threading.Event)

    def keep(self, pace: Pace) -> None:
        self.pace = pace
        if pace.period:
            self.moves.set()
        else:
            self.moves.clear()


clock = Clock()


class Turns:
    """When one person's requests are due."""

    def __init__(self) -> None:
        self._part = 0
        self._due = 0.0

    def wait(self) -> tuple[str, float]:
        """Returns when the next request is due: the name to count it by, and the milliseconds it is late."""
        clock.moves.wait()
        pace, now = clock.pace, time.perf_counter()
        if pace.part == self._part:
            self._due += pace.period
        else:
            self._part, self._due = pace.part, now + random.random() * pace.period  # noqa: S311 - no secret
        if self._due > now:
            time.sleep(self._due - now)
        return clock.pace.name, max(0.0, (time.perf_counter() - self._due) * 1000)


def marked(path: str, name: str) -> str:
    return f"{path}{MARK}{name}" if name else path


class Pacer:
    """In the first process: sets the pace of all."""

    def __init__(self, runner: Runner) -> None:
        self.arrived = 0
        self._runner = runner
        self._part = 0
        runner.register_message(ARRIVED, self._count)

    def _count(self, **_: Any) -> None:  # noqa: ANN401 - locust's
        self.arrived += 1

    def everybody(self, people: int) -> bool:
        """Whether all have come in time; returns when they have."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.arrived < people and time.monotonic() < deadline:
            time.sleep(IDLE_SECONDS)
        return self.arrived >= people

    def begin(self, rate: float, people: int) -> None:
        """So many requests a second by all people together, none of them counted yet."""
        self._part += 1
        self._send(Pace(self._part, people / rate if rate else 0.0, UNMEASURED))

    def count(self, name: str) -> None:
        """Count what is due from now on under this name."""
        self._send(Pace(self._part, clock.pace.period, name))

    def _send(self, pace: Pace) -> None:
        clock.keep(pace)
        self._runner.send_message(PACE, asdict(pace))


def arrive(environment: Environment) -> None:
    """One more person is ready to go."""
    if environment.runner is not None:
        environment.runner.send_message(ARRIVED)


def _keep_to_it(environment: Environment, **_: Any) -> None:  # noqa: ANN401 - locust's, and more with each release
    def hear(msg: Message, **_: Any) -> None:  # noqa: ANN401 - locust's
        clock.keep(Pace(**msg.data))

    if environment.runner is not None:
        environment.runner.register_message(PACE, hear)


verdict.listen(events.init, _keep_to_it)

"""One rate after another is tried, as it is told, and what each gave is said; the first process does it, for all.

Each line of standard input is a rate and for how many seconds to keep it: `250 20`. At its end the run ends.
"""

import json
import sys
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict

from gevent.fileobject import FileObjectThread
from locust.env import Environment
from locust.runners import Runner
from locust.stats import StatsEntry

from loadtests import verdict
from loadtests.bounds import VIOLATION
from loadtests.pace import MARK, Pacer
from loadtests.part import Part, Times

LATE = 0.5  # of the seconds to settle: after so long the answers to what was due are here, or later than any bound
SIGN_IN = "/login"  # has times of its own: it waits for a hash


class Trials:
    def __init__(self, environment: Environment, runner: Runner, chosen: Namespace) -> None:
        self._environment = environment
        self._runner = runner
        self._chosen = chosen
        self._pacer = Pacer(runner)
        self._number = 0

    def run(self) -> None:
        try:
            good = self._run()
            self._environment.process_exit_code = verdict.HELD if self._served() == 0 and good else verdict.BROKEN
            self._runner.quit()
        finally:
            verdict.give_up(self._environment, "it could not be found out")  # unless it was

    def _run(self) -> bool:
        if not self._pacer.everybody(self._chosen.num_users):
            verdict.say_last("  BROKEN  not everybody could register and sign in")
            return False
        tell("ready")
        for line in FileObjectThread(sys.stdin.buffer):  # in a thread of its own: nobody else has to wait
            rate, seconds = (float(word) for word in line.split())
            self._try(rate, seconds)
        return True

    def _try(self, rate: float, seconds: float) -> None:
        self._number += 1
        name = f"{rate:.0f}/s {self._number}"
        self._pacer.begin(rate, self._chosen.num_users)
        time.sleep(self._chosen.settle_seconds)
        self._pacer.count(name)
        tell("begins")
        started = time.monotonic()
        time.sleep(seconds)
        lasted = time.monotonic() - started
        tell("ends")
        self._pacer.begin(0, 0)
        time.sleep(self._chosen.settle_seconds * LATE)
        part = Part(
            rate,
            lasted,
            sum(entry.num_failures for entry in self._entries(lambda entry: entry.name.endswith(MARK + name))),
            self._times(lambda entry: entry.name.endswith(MARK + name) and entry.name != SIGN_IN + MARK + name),
            self._times(lambda entry: entry.name == SIGN_IN + MARK + name),
        )
        tell("tried", **asdict(part))

    def _entries(self, wanted: Callable[[StatsEntry], bool]) -> list[StatsEntry]:
        return [entry for entry in self._environment.stats.entries.values() if wanted(entry)]

    def _times(self, wanted: Callable[[StatsEntry], bool]) -> Times:
        times: Counter[int] = Counter()
        for entry in self._entries(wanted):
            times.update(entry.response_times)
        return dict(times)

    def _served(self) -> int:
        """How often what had ended was served, by the way of saying what else went wrong."""
        stats = self._environment.stats
        for error in stats.errors.values():
            verdict.say_last(f"  {error.occurrences:,} times {error.method} {error.name}: {error.error}")
        served = sum(entry.num_requests for entry in stats.entries.values() if entry.name.startswith(VIOLATION))
        verdict.say_last(f"  {'BROKEN' if served else 'ok    '}  served after a logout or a demotion: {served:,} times")
        return served


def tell(event: str, **figures: object) -> None:
    """A line for whoever has started us."""
    verdict.say(json.dumps({"event": event, **figures}))

"""One rate after another is tried, and what each gave is said; the first process does it, for all."""

import json
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict, dataclass

from locust.env import Environment
from locust.runners import Runner
from locust.stats import StatsEntry

from loadtests import verdict
from loadtests.bounds import VIOLATION
from loadtests.pace import MARK, Answers, Pacer, answers
from loadtests.search import highest

LATE = 0.5  # of the seconds to settle: after so long the answers to what was due are here, or later than any bound
TRIED = 2  # times a rate has to fail: on a machine of others' one stall is no proof
KEPT_UP = 0.97  # of what was due has to have been answered by the end
SIGN_IN = "/login"  # has times of its own: it waits for a hash


@dataclass(frozen=True)
class Part:
    """A part of the run at one rate; times are in milliseconds, from when a request was due."""

    rate: float  # requests a second that were due
    seconds: float
    requests: int
    failures: int
    p50: float
    p99: float
    sign_ins: int
    sign_in_p50: float
    sign_in_p99: float

    def holds(self, in_time: float) -> bool:
        return not self.failures and self.p99 <= in_time and self.requests >= KEPT_UP * self.rate * self.seconds


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
            self._pacer.begin(0, 0)
            time.sleep(self._chosen.settle_seconds * LATE)  # nothing is to be cut off
            self._environment.process_exit_code = verdict.HELD if self._served() == 0 and good else verdict.BROKEN
            self._runner.quit()
        finally:
            verdict.give_up(self._environment, "it could not be found out")  # unless it was

    def _run(self) -> bool:
        if not self._pacer.everybody(self._chosen.num_users):
            verdict.say_last("  BROKEN  not everybody could register and sign in")
            return False
        tell("ready")
        time.sleep(self._chosen.settle_seconds)  # whoever has started us may now hold the replicas to their shares
        self._measured("idle", self._chosen.idle_seconds)
        return self._go_on() if self._chosen.rate else self._search()

    def _go_on(self) -> bool:
        part = self._try(self._chosen.rate)
        verdict.say_last(f"  {'BROKEN' if part.failures else 'ok    '}  failed: {part.failures:,} of {part.requests:,}")
        return not part.failures

    def _search(self) -> bool:
        chosen = self._chosen
        found = highest(self._holds, chosen.first, stride=chosen.stride, precision=chosen.precision)
        tell("found", rate=found)
        if found is None:
            verdict.say_last("  BROKEN  no rate was found that holds, or none that does not")
        return found is not None

    def _holds(self, rate: float) -> bool:
        return any(self._try(rate).holds(self._chosen.in_time) for _ in range(TRIED))

    def _try(self, rate: float) -> Part:
        self._number += 1
        name, seconds = f"{rate:.0f}/s {self._number}", self._chosen.part_seconds
        self._pacer.begin(rate, self._chosen.num_users)
        time.sleep(self._chosen.settle_seconds)
        self._pacer.count(name)
        lasted = self._measured("part", seconds)
        self._pacer.count("")
        time.sleep(self._chosen.settle_seconds * LATE)
        part = self._part(name, rate, lasted)
        tell("tried", **asdict(part), holds=part.holds(self._chosen.in_time))
        return part

    def _measured(self, what: str, seconds: float) -> float:
        """Seconds it took, beginning and end of which are told."""
        tell(f"{what} begins")
        started = time.monotonic()
        time.sleep(seconds)
        lasted = time.monotonic() - started
        tell(f"{what} ends")
        return lasted

    def _part(self, name: str, rate: float, seconds: float) -> Part:
        rest = self._answers(lambda entry: entry.name.endswith(MARK + name) and entry.name != SIGN_IN + MARK + name)
        sign_ins = self._answers(lambda entry: entry.name == SIGN_IN + MARK + name)
        return Part(
            rate,
            seconds,
            rest.requests + sign_ins.requests,
            rest.failures + sign_ins.failures,
            rest.p50,
            rest.p99,
            sign_ins.requests,
            sign_ins.p50,
            sign_ins.p99,
        )

    def _answers(self, wanted: Callable[[StatsEntry], bool]) -> Answers:
        return answers(entry for entry in self._environment.stats.entries.values() if wanted(entry))

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

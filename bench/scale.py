"""`make scale`: what one, two and four replicas carry, each held to the same share of a core, at the same p99.

All stand beside each other, each number of them with stores of its own, and are asked in turns by locust
(loadtests/scale.py); the meters are read at the beginning and the end of what it counts.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.cli.embedded import Postgres, Valkey
from bench import scale_report
from bench.ballast import ballast
from bench.meters import STATEMENTS, Meters, Use, family
from bench.replicas import ADMIN, environment_of, migrate, running
from bench.scale_report import FINDING, Carried, Tried
from bench.shares import Share, shares
from bench.stack import free_port, leave_by_all_doors, refuse, say
from bench.staircase import Staircase

COUNTS = (1, 2, 4)
SHARE = 0.15  # of a core a replica: with four, their stores and the load two cores are little more than half full
IN_TIME = 150.0  # milliseconds for 99 of 100 requests, but sign-ins
PART_REQUESTS = 5_000  # whoever carries them: so many of them are sign-ins, and the p99 is that of fifty
ROUNDS = 16  # the first few find out about where to look
IDLE_SECONDS = 20  # before anything is asked: twice as long as the rarest of what replicas do by themselves
PEOPLE = 80  # a replica: who waits for his sign-in is late for the next request or two, and not for the next ten
ARRIVALS = 12  # people a second, two hashes each, while replicas are not held to their shares yet
LAST = 10  # niceness: on a machine of its own the load would take no core from who is measured
PROCESSES = 2  # of the load: one alone would be the first to be full
FIRST = 150.0  # requests a second of a replica, to begin with


@dataclass(frozen=True)
class Lab:
    """Stores and replicas; where the load is told to go."""

    held: list[Share]
    postgres: Postgres
    valkey: Valkey
    environment: dict[str, str]
    urls: list[str]

    def hold(self) -> None:
        for share in self.held:
            share.hold()

    def pids(self) -> list[int]:
        return [pid for share in self.held for pid in share.pids]


@contextmanager
def lab(number: int, share: float, logs: Path) -> Iterator[Lab]:
    with tempfile.TemporaryDirectory() as folder, shares(number, share) as held:
        directory = Path(folder)
        directory.chmod(0o711)  # PostgreSQL runs as somebody else where we are root
        postgres = Postgres(directory / "postgres", settings=[STATEMENTS])
        with postgres, Valkey(directory / "valkey") as store:
            environment = environment_of(postgres.url(), store.url)
            migrate(environment, directory)
            names = [logs.absolute() / f"scale-{number}-{each + 1}.log" for each in range(number)]
            with running(environment, directory, names, held) as urls:
                yield Lab(held, postgres, store, environment, urls)


class Travel:
    """The load of one lab: people who are signed in, and ask at the rates that they are told."""

    def __init__(self, made: Lab, locust: "subprocess.Popen[str]", idlers: Iterable[int]) -> None:
        self.meters = Meters(made.postgres, made.valkey, made.pids, lambda: family(locust.pid), idlers)
        self._locust = locust
        self._hear("ready")
        made.hold()

    def attempt(self, rate: float, seconds: float) -> Tried:
        """Keep so many requests a second up for so long."""
        assert self._locust.stdin is not None  # noqa: S101 - it was asked for
        self._locust.stdin.write(f"{rate} {seconds}\n")
        self._locust.stdin.flush()
        self._hear("begins")
        first = self.meters.read()
        self._hear("ends")
        last = self.meters.read()
        told = self._hear("tried")
        for which in ("times", "sign_in_times"):
            told[which] = {int(milliseconds): number for milliseconds, number in told[which].items()}
        return Tried(**told, use=Use.between(first, last))

    def end(self) -> bool:
        """Whether nothing was seen that may not be."""
        assert self._locust.stdin is not None  # noqa: S101 - it was asked for
        self._locust.stdin.close()
        for _ in self._told():
            pass
        return self._locust.wait() == 0

    def _hear(self, event: str) -> dict[str, Any]:
        """Wait until it tells of this."""
        for told in self._told():
            if told.pop("event") == event:
                return told
        return refuse("the load has ended before its time")

    def _told(self) -> Iterator[dict[str, Any]]:
        """What it tells, until it ends; its findings are shown, and not its tables."""
        assert self._locust.stdout is not None  # noqa: S101 - it was asked for
        for line in self._locust.stdout:
            if line.startswith("{"):
                yield json.loads(line)
            elif line.startswith("  "):
                say(line.rstrip())


@contextmanager
def travel(made: Lab, report: Path, idlers: Iterable[int]) -> Iterator[Travel]:
    """People who have come, with the replicas held to their shares from then on."""
    command = ["nice", f"--adjustment={LAST}", sys.executable, "-m", "locust", "-f", "loadtests/scale.py"]
    command += ["--host", ",".join(made.urls), "--headless"]
    command += ["--only-summary", "--loglevel", "WARNING", "--html", str(report), "--processes", str(PROCESSES)]
    command += ["--users", str(PEOPLE * len(made.urls)), "--spawn-rate", str(ARRIVALS)]
    port = str(free_port())  # where its processes meet; by default they would be anybody's who runs locust here
    command += ["--master-bind-port", port, "--master-port", port]
    environment = {**os.environ, "LOADTEST_ADMIN_USERNAME": ADMIN, "PYTHONUNBUFFERED": "1"}
    environment["LOADTEST_ADMIN_PASSWORD"] = made.environment["ADMIN_PASSWORD"]
    with (
        report.with_suffix(".log").open("wb") as log,  # locust's tables; the report has them, too
        subprocess.Popen(  # noqa: S603 - what our lock names
            command,
            env=environment,
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as locust,
    ):
        try:
            yield Travel(made, locust, idlers)
        finally:
            if locust.poll() is None:
                locust.terminate()


class Climb:
    """One number of replicas, and what is found of it."""

    def __init__(self, number: int, share: float, load: Travel, in_time: float) -> None:
        self.number = number
        self.load = load
        self._share = share
        self._in_time = in_time
        self._stairs = Staircase(FIRST * number)
        self._tried: list[Tried] = []

    def step(self) -> None:
        """Ask as many requests as every other, however long that takes."""
        rate = self._stairs.rate
        tried = self.load.attempt(rate, PART_REQUESTS / rate)
        say(f"{self.number:>2} of {self._share}: {tried}")
        self._tried.append(tried)
        self._stairs.heard(tried.miss(self._in_time))

    def carried(self, idle: Use) -> Carried:
        return Carried(self.number, self._share, idle, self._tried)


def climb(counts: Sequence[int], share: float, in_time: float, rounds: int, reports: Path) -> list[Carried]:
    """What each number of replicas carries, by turns."""
    with ExitStack() as stack:
        idlers = stack.enter_context(ballast())
        climbs = []
        for number in counts:
            made = stack.enter_context(lab(number, share, reports))
            load = stack.enter_context(travel(made, reports / f"scale-{number}.html", idlers))
            climbs.append(Climb(number, share, load, in_time))
        first = [each.load.meters.read() for each in climbs]
        time.sleep(IDLE_SECONDS)
        idle = [Use.between(begun, each.load.meters.read()) for begun, each in zip(first, climbs, strict=True)]
        for _ in range(rounds):
            for each in climbs:
                each.step()
        fine = [each.load.end() for each in climbs]
        if not all(fine):
            refuse("the load has seen what may not be: see above")
        return [each.carried(use) for each, use in zip(climbs, idle, strict=True)]


def main() -> int:
    parser = argparse.ArgumentParser("python -m bench.scale", description="What replicas carry, by their number.")
    parser.add_argument("--share", type=float, default=SHARE, metavar="CORES", help=f"of a replica (default {SHARE})")
    parser.add_argument("--in-time", type=float, default=IN_TIME, metavar="MS", help="99 of 100 (default %(default)s)")
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS), metavar="N", help="of replicas")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="tries of each (default %(default)s)")
    parser.add_argument("--reports", type=Path, default=Path(".reports"), metavar="DIR", help="(default .reports)")
    chosen = parser.parse_args()
    if chosen.rounds <= FINDING:
        parser.error(f"the first {FINDING} rounds are about where to look: take more")
    chosen.reports.mkdir(parents=True, exist_ok=True)
    leave_by_all_doors()
    carried = climb(sorted(chosen.counts), chosen.share, chosen.in_time, chosen.rounds, chosen.reports)
    say(scale_report.table(carried, chosen.in_time))
    scale_report.plot(carried, chosen.in_time, chosen.reports / "scale.png")
    findings = scale_report.findings(carried, os.cpu_count() or 1)
    for finding in findings:
        say(str(finding))
    return 0 if all(finding.holds for finding in findings) else 1


if __name__ == "__main__":
    sys.exit(main())

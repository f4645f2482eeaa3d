"""`make scale`: what one, two and four replicas carry, each held to the same share of a core, at the same p99.

locust (loadtests/scale.py) looks for the highest rate at which 99 of 100 requests are answered in time; the meters are
read at the beginning and the end of what it counts. Stores are new for each number of replicas.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.cli.embedded import Postgres, Valkey
from bench import scale_report
from bench.meters import STATEMENTS, Meters, Use, family
from bench.replicas import ADMIN, environment_of, migrate, running
from bench.scale_report import Carried, Tried
from bench.shares import Share, shares
from bench.stack import refuse, say

COUNTS = (1, 2, 4)
SHARE = 0.2  # of a core a replica: four take less than one core of two, and leave the rest to the stores and the load
IN_TIME = 150.0  # milliseconds for 99 of 100 requests, but sign-ins
PART_SECONDS = 24  # that a rate is held: some twenty sign-ins of a replica, which the others wait for
IDLE_SECONDS = 20  # before anything is asked: twice as long as the rarest of what replicas do by themselves
PEOPLE = 40  # at a time, whatever the rate: hardly one waits for an answer when the next request is due
ARRIVALS = 20  # people a second, while replicas have a core each
PROCESSES = 2  # of the load: one alone would be the first to be full
FIRST = 120.0  # requests a second of one replica, to begin with
FIRST_STRIDE = 1.35  # towards what one replica carries, which is not known
STRIDE = 1.14  # from what so many times one would be, which is a guess; searches end within PRECISION
PRECISION = 1.04
LIMITS = {"RATE_LIMIT_REGISTER": "off"}


@dataclass(frozen=True)
class Lab:
    """Stores, replicas and meters; where the load is told to go."""

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


def leave_by_all_doors() -> None:
    """At SIGTERM, for replicas and shares are not ended by our end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


@contextmanager
def lab(number: int, share: float, logs: Path) -> Iterator[Lab]:
    with tempfile.TemporaryDirectory() as folder, shares(number, share) as held:
        directory = Path(folder)
        directory.chmod(0o711)  # PostgreSQL runs as somebody else where we are root
        postgres = Postgres(directory / "postgres", settings=[STATEMENTS])
        with postgres, Valkey(directory / "valkey") as store:
            environment = environment_of(postgres.url(), store.url) | LIMITS
            migrate(environment, directory)
            names = [logs.absolute() / f"scale-{number}-{each + 1}.log" for each in range(number)]
            with running(environment, directory, names, held) as urls:
                yield Lab(held, postgres, store, environment, urls)


def travel(
    lab: Lab, words: list[str], report: Path, hear: Callable[[dict[str, Any], Meters], None], people: int = PEOPLE
) -> int:
    """Run the scenario, and have what it tells heard; its exit status."""
    command = [sys.executable, "-m", "locust", "-f", "loadtests/scale.py", "--host", ",".join(lab.urls), "--headless"]
    command += ["--only-summary", "--loglevel", "WARNING", "--html", str(report), "--processes", str(PROCESSES)]
    command += ["--users", str(people), "--spawn-rate", str(ARRIVALS), *words]
    environment = {**os.environ, "LOADTEST_ADMIN_USERNAME": ADMIN, "PYTHONUNBUFFERED": "1"}
    environment["LOADTEST_ADMIN_PASSWORD"] = lab.environment["ADMIN_PASSWORD"]
    root = Path(__file__).parents[1]
    with (
        report.with_suffix(".log").open("wb") as log,  # locust's tables; the report has them, too
        subprocess.Popen(command, env=environment, cwd=root, stdout=subprocess.PIPE, stderr=log, text=True) as locust,  # noqa: S603
    ):
        assert locust.stdout is not None  # noqa: S101 - it was asked for
        meters = Meters(lab.postgres, lab.valkey, lab.pids, lambda: family(locust.pid))
        try:
            for line in locust.stdout:
                if not line.startswith("{"):
                    sys.stdout.write(line if line.startswith("  ") else "")  # its findings, and not its tables
                    continue
                told = json.loads(line)
                if told["event"] == "ready":
                    lab.hold()
                hear(told, meters)
            return locust.wait()
        finally:
            if locust.poll() is None:
                locust.terminate()


def carry(number: int, share: float, words: list[str], reports: Path) -> Carried:
    """What so many replicas carry, by what was tried."""
    readings: list[Any] = []
    tried: list[Tried] = []
    idle: list[Use] = []

    def hear(told: dict[str, Any], meters: Meters) -> None:
        event = told.pop("event")
        if event.endswith("begins"):
            readings[:] = [meters.read()]
        elif event.endswith("ends"):
            readings.append(meters.read())
            if event == "idle ends":
                idle.append(Use.between(*readings))
                say(f"{number:>2} of {share}: idle ({idle[-1]})")
        elif event == "tried":
            tried.append(Tried(**told, use=Use.between(*readings)))
            say(f"{number:>2} of {share}: {tried[-1]}")

    with lab(number, share, reports) as made:
        status = travel(made, words, reports / f"scale-{number}.html", hear)
    if status != 0 or not idle:
        refuse(f"the load of {number} has found nothing, or what may not be: see above, and {reports}")
    return Carried(number, share, idle[0], tried)


def main() -> int:
    parser = argparse.ArgumentParser("python -m bench.scale", description="What replicas carry, by their number.")
    parser.add_argument("--share", type=float, default=SHARE, metavar="CORES", help=f"of a replica (default {SHARE})")
    parser.add_argument("--in-time", type=float, default=IN_TIME, metavar="MS", help="99 of 100 (default %(default)s)")
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS), metavar="N", help="of replicas")
    parser.add_argument("--seconds", type=int, default=PART_SECONDS, help="that a rate is held (default %(default)s)")
    parser.add_argument("--reports", type=Path, default=Path(".reports"), metavar="DIR", help="(default .reports)")
    chosen = parser.parse_args()
    chosen.reports.mkdir(parents=True, exist_ok=True)
    leave_by_all_doors()
    carried: list[Carried] = []
    for number in sorted(chosen.counts):
        first, stride = FIRST, FIRST_STRIDE
        if carried:
            first, stride = carried[0].best.rate / carried[0].replicas * number, STRIDE
        words = ["--in-time", str(chosen.in_time), "--part-seconds", str(chosen.seconds), "--first", str(first)]
        words += ["--stride", str(stride), "--precision", str(PRECISION), "--idle-seconds", str(IDLE_SECONDS)]
        carried.append(carry(number, chosen.share, words, chosen.reports))
    say(scale_report.table(carried, chosen.in_time))
    scale_report.plot(carried, chosen.in_time, chosen.reports / "scale.png")
    findings = scale_report.findings(carried, os.cpu_count() or 1)
    for finding in findings:
        say(str(finding))
    return 0 if all(finding.holds for finding in findings) else 1


if __name__ == "__main__":
    sys.exit(main())

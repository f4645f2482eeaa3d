"""`make loadtest`: scenarios in turn against the replicas named; fails if one of them does not keep its bounds."""

import argparse
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
READY = "/api/auth/v2/health/ready"
STOP_SECONDS = 30  # for what people are about when the time is over
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


@dataclass(frozen=True)
class Plan:
    """How many people by default, and how many of them come a second."""

    users: int
    rate: int


# So many keep two replicas, their stores and the load busy on two cores without drowning them.
PLANS = {
    "steady": Plan(30, 6),
    "rush": Plan(120, 30),
    "refresh": Plan(20, 5),
    "hunt": Plan(8, 4),
    "attack": Plan(36, 12),
}
NAMED = {"rolling": Plan(24, 6)}  # says something where replicas are started anew meanwhile: `make rolling`


def main() -> int:
    arguments = _parser().parse_args()
    hosts = [host.strip().rstrip("/") for host in arguments.host.split(",") if host.strip()]
    if not hosts:
        return _complain("name the service by --host, or LOADTEST_HOST")
    for host in hosts:
        if not _ready(host):
            return _complain(f"{host}{READY} does not say that it is ready")
    if arguments.ui:
        return _serve(",".join(hosts), arguments.port)
    arguments.reports.mkdir(parents=True, exist_ok=True)
    broken = []
    for scenario in PLANS if arguments.scenario == "all" else [arguments.scenario]:
        report = arguments.reports / f"{scenario}.html"
        if _run(scenario, ",".join(hosts), arguments.users, arguments.seconds, report) != 0:
            broken.append(scenario)
    print("loadtests: " + (f"BROKEN: {', '.join(broken)}" if broken else "all bounds were kept"))  # noqa: T201
    return 1 if broken else 0


def _run(scenario: str, host: str, users: int | None, seconds: int, report: Path) -> int:
    plan = (PLANS | NAMED)[scenario]
    users = users or plan.users
    print(f"\n{scenario}: {users} people for {seconds} s; report in {report}", flush=True)  # noqa: T201
    command: list[str | Path] = [sys.executable, "-m", "locust", "-f", HERE / f"{scenario}.py", "--host", host]
    command += ["--headless", "--only-summary", "--loglevel", "WARNING", "--html", report]
    command += ["--users", str(users), "--spawn-rate", str(min(plan.rate, users)), "--run-time", str(seconds)]
    return _locust([*command, "--stop-timeout", str(STOP_SECONDS)])


def _serve(host: str, port: int) -> int:
    """Locust's own pages, for this machine alone; nothing is held to bounds."""
    files = ",".join(str(HERE / f"{scenario}.py") for scenario in PLANS)
    print(f"loadtests: http://127.0.0.1:{port} drives {host}; Ctrl-C ends it", flush=True)  # noqa: T201
    command: list[str | Path] = [sys.executable, "-m", "locust", "-f", files, "--host", host, "--class-picker"]
    return _locust([*command, "--web-host", "127.0.0.1", "--web-port", str(port), "--loglevel", "WARNING"])


def _locust(command: Sequence[str | Path]) -> int:
    with subprocess.Popen(command, cwd=HERE.parent) as locust:  # noqa: S603 - our own words
        signals: list[int] = []

        def stop(number: int, _: object) -> None:
            signals.append(number)
            if number == signal.SIGTERM:  # Ctrl-C reaches it without us
                locust.terminate()

        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        status = locust.wait()
        if signals:  # it has reported; that is no verdict on a run that was cut short
            raise KeyboardInterrupt
        return status


def _ready(host: str) -> bool:
    if not host.startswith(("http://", "https://")):
        return False
    try:
        with urllib.request.urlopen(host + READY, timeout=10) as answer:  # noqa: S310 - looked at above
            return bool(answer.status == 200)  # noqa: PLR2004 - ok
    except OSError:
        return False


def _complain(reason: str) -> int:
    print(f"loadtests: {reason}", file=sys.stderr)  # noqa: T201 - a command's own complaint
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m loadtests", description="Load from outside, held to bounds.")
    parser.add_argument("--scenario", choices=["all", *PLANS, *NAMED], default="all")
    host = os.environ.get("LOADTEST_HOST", "")
    parser.add_argument("--host", default=host, metavar="URL[,URL]", help="the replicas (default LOADTEST_HOST)")
    parser.add_argument("--users", type=_number, help="people at a time")
    parser.add_argument("--seconds", type=_number, default=20, help="of each scenario (default 20)")
    parser.add_argument("--reports", type=Path, default=Path(".reports"), metavar="DIR", help="(default .reports)")
    parser.add_argument(
        "--ui", action="store_true", help="serve locust's own pages instead, to start any of them by hand"
    )
    parser.add_argument("--port", type=_number, default=8089, help="of these pages (default %(default)s)")
    return parser


def _number(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)

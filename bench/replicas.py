"""`python -m bench.replicas COMMAND …`: the command beside replicas of its own, on stores out of their wheels.

The command finds their addresses in LOADTEST_HOST, with commas, an administrator in LOADTEST_ADMIN_USERNAME and
LOADTEST_ADMIN_PASSWORD, and a token that has expired in LOADTEST_EXPIRED_TOKEN. Its exit status is ours. Settings of
the service that the environment has hold, but for those that `environment_of` gives.
"""

import argparse
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path

from app.cli.embedded import Postgres, Valkey
from bench.expired import expired_token
from bench.shares import Share
from bench.stack import BASE, BIN, START_SECONDS, free_port, leave_by_all_doors, refuse

ADMIN = "admin"
STOP_SECONDS = 30  # for a replica to end what it is about


def main() -> int:
    parser = argparse.ArgumentParser("python -m bench.replicas", description="A command beside replicas of its own.")
    parser.add_argument("--replicas", type=int, default=2, metavar="N", help="(default 2)")
    parser.add_argument("--logs", type=Path, default=Path(".reports"), metavar="DIR", help="of them (default .reports)")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    if not arguments.command or arguments.replicas < 1:
        parser.error("a command is needed, and one replica or more")
    arguments.logs.mkdir(parents=True, exist_ok=True)
    leave_by_all_doors()
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        directory.chmod(0o711)  # PostgreSQL runs as somebody else where we are root
        with Postgres(directory / "postgres") as postgres, Valkey(directory / "valkey") as valkey:
            environment = environment_of(postgres.url(), valkey.url)
            migrate(environment, directory)
            logs = [arguments.logs.absolute() / f"replica-{number + 1}.log" for number in range(arguments.replicas)]
            with running(environment, directory, logs) as urls:
                found = {"LOADTEST_HOST": ",".join(urls), "LOADTEST_ADMIN_USERNAME": ADMIN}
                found["LOADTEST_ADMIN_PASSWORD"] = environment["ADMIN_PASSWORD"]
                found["LOADTEST_EXPIRED_TOKEN"] = expired_token(environment, urls[0])
                return _run(arguments.command, {**os.environ, **found})


def environment_of(database_url: str, valkey_url: str) -> dict[str, str]:
    return {
        **os.environ,
        "ENVIRONMENT": "production",
        "PUBLIC_URL": "https://auth.example.test",
        "SECRET_KEY": secrets.token_urlsafe(48),
        "DATABASE_URL": database_url,
        "VALKEY_URL": valkey_url,
        "ADMIN_USERNAME": ADMIN,
        "ADMIN_PASSWORD": f"{secrets.token_urlsafe(12)}-Zebra",
        "TRUSTED_PROXIES": "127.0.0.1",  # each person of the load has an address of their own
        "RATE_LIMIT_REGISTER": "off",
        "DRAIN_SECONDS": "0",
    }


def migrate(environment: Mapping[str, str], directory: Path) -> None:
    subprocess.run([BIN / "gatehouse", "migrate"], env=environment, cwd=directory, check=True)  # noqa: S603


@contextmanager
def running(
    environment: Mapping[str, str], directory: Path, logs: Sequence[Path], shares: Sequence[Share] = ()
) -> Iterator[list[str]]:
    """One replica for each log, within its share of the cores if there is one; their addresses, once all are ready."""
    processes: list[subprocess.Popen[bytes]] = []
    urls = []
    try:
        for path, share in zip_longest(logs, shares):
            port = free_port()
            urls.append(f"http://127.0.0.1:{port}")
            command: list[str | Path] = [BIN / "gatehouse", "serve", "--host", "127.0.0.1", "--port", str(port)]
            if share is not None:
                command = share.within(command)
            with path.open("wb") as log:
                processes.append(
                    subprocess.Popen(  # noqa: S603 - our own program
                        command, env=environment, cwd=directory, stdout=log, stderr=log, start_new_session=True
                    )
                )
        for process, url, path in zip(processes, urls, logs, strict=True):
            _await(process, url, path)
        yield urls
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(STOP_SECONDS)


def _await(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}{BASE}/health/ready", timeout=2):  # noqa: S310 - our own loopback address
                return
        except OSError:
            time.sleep(0.05)
    refuse(f"{url} does not become ready: see {log}")


def _run(command: Sequence[str], environment: dict[str, str]) -> int:
    with subprocess.Popen(command, env=environment) as process:  # noqa: S603 - what we were asked to run
        signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C reaches it, too, and it may have something to say
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        return abs(process.wait())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before the command began
        sys.exit(128 + signal.SIGINT)

"""`make rolling`: three replicas behind HAProxy as it is shipped, started anew one after another under load.

At first all run this release. Each is replaced by the release after it, which is this one and a migration that is
written here. The first comes before its schema, and has to wait; then `gatehouse migrate` of the new release applies
the migration, under which the old replicas go on until it is their turn. No request may fail: neither by what clients
have seen (loadtests/rolling.py), who repeat nothing, nor by what HAProxy has written down.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError

from app.cli.embedded import Postgres, Valkey
from bench.replicas import environment_of, migrate
from bench.stack import START_SECONDS, leave_by_all_doors
from db.revisions import known
from tests.deploy.files import KUBERNETES, ROOT
from tests.kit import BASE
from tests.proxies.running import SERVICE, HAProxy
from tests.servers import COMMAND, free_port

REPLICAS = 3
WARM_SECONDS = 8.0  # until all people have come
SEEN_SECONDS = 3.0  # HAProxy asks every 2 s: by then it knows that a replica is there, or is to be left alone
STOP_SECONDS = 30.0  # terminationGracePeriodSeconds
READY, STARTUP = "/health/ready", "/health/startup"
NEXT = "9000"  # the revision of the release after this one
MIGRATION = f'''"""A column, and an index, of the table that sign-ins write to."""

from alembic import op

revision = "{NEXT}"
down_revision = "{{before}}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE sessions ADD COLUMN rolling text")
    op.execute("CREATE INDEX sessions_rolling_idx ON sessions (rolling)")
    op.execute("INSERT INTO schema_history (revision, oldest_release) VALUES ('{NEXT}', '0.1.0')")
'''
# `%b/%s %ST %B %Ta %tsc` of the shipped log-format: the server, the status, …, how it ended.
LINE = re.compile(r"^\S+ \S+ (?P<server>\S+) (?P<status>-?\d+) \S+ \S+ (?P<ended>\S+) (?P<what>.*)$")
UNFINISHED_BY_CLIENT = "C"  # begins the state of what the client itself gave up, as at the end of the load


def say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)  # noqa: T201 - what a run is for


@dataclass
class Replica:
    port: int
    environment: Mapping[str, str]
    directory: Path
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self, release: Path) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [COMMAND, "serve", "--host", "127.0.0.1", "--port", str(self.port)],
                env={**self.environment, "PYTHONPATH": str(release)},
                cwd=self.directory,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def await_answer(self, path: str, status: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while self._status(path) != status:
            if time.monotonic() > deadline:
                sys.exit(f"{path} of a replica does not become {status}: see {self.log}")
            time.sleep(0.1)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(STOP_SECONDS)

    def _status(self, path: str) -> int:
        """0: no answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{BASE}{path}", timeout=2) as answer:
                return int(answer.status)
        except HTTPError as error:
            return error.code
        except OSError:
            return 0


def next_release(directory: Path) -> Path:
    """This tree, and a migration more."""
    release = directory / "next"
    for name in ("app", "db"):
        shutil.copytree(ROOT / name, release / name)
    text = MIGRATION.replace("{before}", max(known()))
    (release / f"db/migrations/versions/{NEXT}_rolling.py").write_text(text, encoding="utf-8")
    return release


def drain_seconds() -> str:
    """As it is shipped."""
    found = re.search(r"^DRAIN_SECONDS=(\S+)$", (KUBERNETES / "base/settings.env").read_text("utf-8"), re.MULTILINE)
    assert found is not None
    return found[1]


def failures(log: Path) -> tuple[int, Counter[str]]:
    """How many requests HAProxy has written down, and what went wrong with some of them."""
    requests, wrong = 0, Counter[str]()
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        found = LINE.match(line)
        if found is None:
            continue
        requests += 1
        unfinished = found["ended"][0] not in {"-", UNFINISHED_BY_CLIENT}
        if int(found["status"]) >= 500 or unfinished:
            wrong[f"{found['status']} {found['ended']} {found['server']} {found['what']}"] += 1
    return requests, wrong


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.proxies", description="A rolling restart under load.")
    parser.add_argument("--users", type=int, default=24, help="people at a time (default 24)")
    parser.add_argument("--seconds", type=int, default=90, help="of the load; a restart takes some 20 (default 90)")
    parser.add_argument("--reports", type=Path, default=ROOT / ".reports", metavar="DIR", help="(default .reports)")
    arguments = parser.parse_args()
    arguments.reports.mkdir(parents=True, exist_ok=True)
    leave_by_all_doors()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        directory = Path(folder)
        directory.chmod(0o711)  # PostgreSQL runs as somebody else where we are root
        postgres = stack.enter_context(Postgres(directory / "postgres"))
        valkey = stack.enter_context(Valkey(directory / "valkey"))
        environment = {
            **environment_of(postgres.url(), valkey.url),
            "PUBLIC_URL": f"https://{SERVICE}",
            "DRAIN_SECONDS": drain_seconds(),
            "RATE_LIMIT_LOGIN": "off",  # all people have one address: what they say of it does not get through HAProxy
        }
        migrate(environment, directory)
        new = next_release(directory)
        replicas = []
        for number in range(REPLICAS):
            log = arguments.reports / f"rolling-{number + 1}.log"
            log.write_bytes(b"")
            replicas.append(replica := Replica(free_port(), environment, directory, log))
            stack.callback(replica.stop)
            replica.start(ROOT)
            replica.await_answer(READY, 200)
        (directory / "haproxy").mkdir()
        proxy = stack.enter_context(HAProxy(directory / "haproxy", [each.port for each in replicas], free_port()))
        time.sleep(SEEN_SECONDS)
        load = start_load(proxy, arguments.users, arguments.seconds)
        stack.callback(load.kill)
        time.sleep(WARM_SECONDS)
        began = time.monotonic()
        for number, replica in enumerate(replicas):
            replica.stop()
            say(f"replica {number + 1} has left")
            replica.start(new)
            if not number:
                replica.await_answer(STARTUP, 503)
                migrate({**environment, "PYTHONPATH": str(new)}, directory)
            replica.await_answer(READY, 200)
            say(f"replica {number + 1} is there")
            time.sleep(SEEN_SECONDS)
        took = time.monotonic() - began
        in_time = load.poll() is None
        status = load.wait()
        requests, wrong = failures(directory / "haproxy/haproxy-0.log")
        shutil.copy(directory / "haproxy/haproxy-0.log", arguments.reports / "rolling-haproxy.log")
    say(
        f"{REPLICAS} restarts and a migration in {took:.0f} s; HAProxy: {requests:,} requests, {wrong.total():,} failed"
    )
    for what, times in wrong.most_common(20):
        say(f"  {times} times {what}")
    if not in_time:
        say("BROKEN: the load ended before the last restart; give it more --seconds")
    return 0 if status == 0 and in_time and requests and not wrong else 1


def start_load(proxy: HAProxy, users: int, seconds: int) -> subprocess.Popen[bytes]:
    host = f"https://127.0.0.1:{proxy.ports[SERVICE]}"
    words = ["--scenario", "rolling", "--host", host, "--users", str(users), "--seconds", str(seconds)]
    trusted = {**os.environ, "SSL_CERT_FILE": str(proxy.certified.authority)}
    return subprocess.Popen([sys.executable, "-m", "loadtests", *words], env=trusted, cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())

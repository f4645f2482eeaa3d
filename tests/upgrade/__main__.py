"""`make test-upgrade`: the release before this one and this one side by side, on the schema that this one has made.

In the order of an upgrade: the schema of the release before, people who have signed in; the migrations of this one
under its feet; a replica of each, and what clients rely on between them, both ways; then back to the release before.
"""

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from httpx import Client, HTTPError

from app.cli.embedded import DATABASE, Postgres, Valkey
from db.revisions import known
from tests.servers import free_port
from tests.upgrade.conversation import BASE, Admin, Broken, Replica, login, me, register, talk
from tests.upgrade.releases import NoRelease, Release, before, checked_out, present

START_SECONDS = 60.0  # until a server is ready, or will not be
STOP_SECONDS = 30.0
LEAVES_ALONE = "0011"  # who knows this migration has a `gatehouse migrate` that does nothing to a newer schema
ADMIN = Admin("admin", f"{secrets.token_urlsafe(12)}-Zebra")


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.upgrade", description="Two releases on one schema.")
    parser.add_argument("--ref", help="the release to go from (default: the newest tag, or what the history shows)")
    arguments = parser.parse_args()
    started = time.monotonic()
    try:
        commit = before(arguments.ref)
        with tempfile.TemporaryDirectory() as folder:
            directory = Path(folder)
            directory.chmod(0o711)  # PostgreSQL runs as somebody else where we are root
            with checked_out(commit, directory / "before") as old:
                say(
                    f"from {old.name} to this tree ({max(known())}), installed after {time.monotonic() - started:.0f} s"
                )
                upgrade(old, present(), directory)
    except (NoRelease, Broken) as error:
        sys.stderr.write(f"test-upgrade: {error}\n")
        return 1
    say(f"both releases go together on this schema ({time.monotonic() - started:.0f} s)")
    return 0


def upgrade(old: Release, new: Release, directory: Path) -> None:
    with Postgres(directory / "postgres", settings=["fsync=off"]) as postgres, Valkey(directory / "valkey") as valkey:
        environment = environment_for(postgres.url(), valkey.url)
        migrate(old, environment, directory)
        with ExitStack() as stack:
            first = stack.enter_context(serving(old, environment, directory))
            someone = register(first)
            session = login(first, someone)
            me(first, session)
            second = stack.enter_context(serving(new, environment, directory, ready=False))
            early = second.ask("GET", "/me", session["access_token"])
            if early.status_code != 503 and not (early.status_code == 200 and early.json() == me(first, session)):
                raise Broken(
                    f"{second.name} answers {early.status_code}: {early.text} on a schema without its migrations"
                )
            say(f"  {second.name}: not ready before its migrations, and answers as {first.name} or 503")
            say(f"  {first.name}: {migrate(new, environment, directory)}, under its feet")
            expect(first, 200)
            me(first, session)
            expect(second, 200)
            me(second, session)
            with too_new(postgres):
                expect(first, 503)
                expect(second, 503)
            expect(first, 200)
            expect(second, 200)
            say("  both: not ready while the schema asks for a newer release than they are")
            talk(first, second, ADMIN, say)
            talk(second, first, ADMIN, say)
        if old.newest >= LEAVES_ALONE:
            say(f"  {old.name}: {migrate(old, environment, directory)}")
        with serving(old, environment, directory) as back:
            me(back, session)
            talk(back, back, ADMIN, say)
        say(f"  {old.name}: started anew on the new schema, it knows who was signed in")


@contextmanager
def too_new(postgres: Postgres) -> Iterator[None]:
    """A migration that no release of today works on."""
    postgres.sql("INSERT INTO schema_history (revision, oldest_release) VALUES ('9999', '99.0.0')", DATABASE)
    yield
    postgres.sql("DELETE FROM schema_history WHERE revision = '9999'", DATABASE)


def environment_for(database_url: str, valkey_url: str) -> dict[str, str]:
    limits = ("LOGIN", "MFA", "ACCOUNT", "REGISTER", "FORGOT", "FORGOT_IP")
    return {
        "PATH": os.environ["PATH"],
        "ENVIRONMENT": "production",
        "PUBLIC_URL": "https://auth.example.test",
        "SECRET_KEY": secrets.token_urlsafe(48),
        "DATABASE_URL": database_url,
        "VALKEY_URL": valkey_url,
        "ADMIN_USERNAME": ADMIN.username,
        "ADMIN_PASSWORD": ADMIN.password,
        "TRUSTED_PROXIES": "127.0.0.1/32",
        "ARGON2_MEMORY_KIB": "8192",
        "ARGON2_TIME_COST": "1",
        "DRAIN_SECONDS": "0",
        **{f"RATE_LIMIT_{name}": "off" for name in limits},
    }


def migrate(release: Release, environment: Mapping[str, str], directory: Path) -> str:
    """What it said."""
    done = subprocess.run(
        [release.command, "migrate"], env=environment, cwd=directory, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Broken(f"`gatehouse migrate` of {release.name}: {done.stdout}{done.stderr}")
    return (done.stdout.splitlines() or ["it said nothing"])[0]


@contextmanager
def serving(
    release: Release, environment: Mapping[str, str], directory: Path, *, ready: bool = True
) -> Iterator[Replica]:
    """A server of this release, once it is ready; or once it says that it is not."""
    port = free_port()
    log = directory / f"{release.name}-{port}.log"
    with log.open("wb") as out, Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        process = subprocess.Popen(
            [release.command, "serve", "--host", "127.0.0.1", "--port", str(port)],
            env=environment,
            cwd=directory,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        replica = Replica(release.name, client)
        try:
            expect(replica, 200 if ready else 503, process)
            yield replica
        except Broken as broken:
            raise Broken(f"{broken}\n--- {release.name}:\n{log.read_text()[-2000:]}") from broken
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)


def expect(replica: Replica, status: int, process: "subprocess.Popen[bytes] | None" = None) -> None:
    """Return once it says of itself that it is ready (200), or not (503)."""
    deadline = time.monotonic() + START_SECONDS
    while readiness(replica) != status:
        if time.monotonic() > deadline or (process and process.poll() is not None):
            raise Broken(f"{replica.name} does not say {status} to who asks whether it is ready")
        time.sleep(0.05)


def readiness(replica: Replica) -> int:
    """0 while nobody listens."""
    try:
        return replica.http.get(f"{BASE}/health/ready").status_code
    except HTTPError:
        return 0


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

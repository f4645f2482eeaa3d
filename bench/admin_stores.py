"""Stores that are as full as after years, and replicas on them, for `make bench-admin`."""

import asyncio
import hashlib
import json
import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from app.cli.embedded import Postgres, Valkey
from app.keys.cursors import Cursors
from bench import replicas, seed, seed_audit
from bench.load import Connection, Person, login
from bench.stack import BASE, BIN, refuse
from db import schema

# A server of its own has more memory than this; the rest is PostgreSQL's defaults, fsync on, and huge pages where the
# kernel has some (docs/performance.md).
SERVING = ("shared_buffers=4GB", "max_wal_size=4GB")  # what the lists read fits, as it should: docs/operations.md
FILLING = (*SERVING, "fsync=off", "full_page_writes=off", "maintenance_work_mem=512MB")
CHECKPOINT_SECONDS = 600.0
# As they are half-way between two clean-ups (autovacuum: of a million users after 1,500 changes, of sessions after a
# fifth), and those before have left gaps everywhere: an index answers by itself only for pages that are as they were.
SIGNED_IN = "UPDATE users SET last_login = now() WHERE random() < 0.00075"
SEEN = "UPDATE sessions SET last_accessed = now() WHERE revoked_at IS NULL AND expires_at > now() AND random() < 0.15"
STIRRED = (SIGNED_IN, SIGNED_IN, SIGNED_IN, SIGNED_IN, "VACUUM ANALYZE", SIGNED_IN, SEEN, "CHECKPOINT")
COUNTED = "SELECT p.folded >= (SELECT max(id) FROM audit_events) - 1000 FROM activity_progress p"
LONG_AGO = 75  # days since the last of the sessions began that are expired: for 45, and kept for 30
TOKEN_MINUTES = 240  # an access token lasts: longer than all of it


@dataclass(frozen=True)
class Size:
    users: int
    sessions: int
    events: int


@dataclass(frozen=True)
class Service:
    """Two replicas, and what is known of them."""

    urls: Sequence[str]
    database_url: str
    environment: Mapping[str, str]
    postgres_log: Path
    directory: Path

    @property
    def cursors(self) -> Cursors:
        """Signed as the service signs them: so we begin at any depth without reading all before it."""
        return Cursors(self.environment["SECRET_KEY"])

    async def administrator(self) -> Person:
        """Who may do everything, signed in."""
        person = Person(f"root-{secrets.token_hex(4)}", secrets.token_urlsafe(24))
        command = [str(BIN / "gatehouse"), "users", "create-admin", "--username", person.username, "--password-stdin"]
        subprocess.run(  # noqa: ASYNC221, S603 - nothing else runs
            command,
            env=self.environment,
            input=person.password.encode(),
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self.directory,
        )
        connection = await Connection(self.urls[0]).open()
        await login(connection, person)
        connection.close()
        return person


@contextmanager
def serving(directory: Path, size: Size, settings: Sequence[str] = (), expired: int = 0) -> Iterator[Service]:
    """Two replicas on full stores, which are filled unless this directory has them; with more sessions long expired."""
    directory.chmod(0o711)  # PostgreSQL runs as somebody else where we are root
    secret = _filled(directory / "postgres", size, directory / "filled.json")
    with (
        Postgres(directory / "postgres", settings=(*SERVING, *settings)) as postgres,
        Valkey(directory / "valkey") as valkey,
    ):
        environment = {
            **replicas.environment_of(postgres.url(), valkey.url),
            "SECRET_KEY": secret,
            "ACCESS_TOKEN_EXPIRE_MINUTES": str(TOKEN_MINUTES),
        }
        replicas.migrate(environment, directory)
        if expired:  # before the replicas are there, which would delete them on schedule
            asyncio.run(_expire(postgres.url(), expired))
        logs = [directory / f"replica-{number}.log" for number in (1, 2)]
        with replicas.running(environment, directory, logs) as urls:
            found = [f"{url}{BASE}" for url in urls]
            yield Service(found, postgres.url(), environment, postgres.log, directory)


def _filled(directory: Path, size: Size, note: Path) -> str:
    """Fill a database, unless it is; the service's secret, which its own rows are sealed with."""
    wanted = {**vars(size), "migrations": _migrations()}
    if note.exists():
        found = json.loads(note.read_text())
        if found["size"] != wanted:
            refuse(f"{directory.parent} has {found['size']}: empty it, or ask for as many")
        kept: str = found["secret"]
        return kept
    with Postgres(directory, settings=FILLING) as postgres:
        asyncio.run(_fill(postgres.url(), size))
    os.sync()  # which nobody has done so far
    secret = secrets.token_urlsafe(48)
    note.write_text(json.dumps({"size": wanted, "secret": secret}))
    note.chmod(0o600)
    return secret


def _migrations() -> str:
    """By which the tables are made: what was filled by others has other indexes."""
    found = sorted((Path(schema.__file__).parent / "migrations" / "versions").glob("*.py"))
    return hashlib.sha256(b"".join(each.read_bytes() for each in found)).hexdigest()[:16]


async def counted(service: Service) -> None:
    """Come back when the events that were written at once are counted: the analytics wait for it, and it for nobody."""
    connection = await asyncpg.connect(service.database_url)
    while not await connection.fetchval(COUNTED):  # noqa: ASYNC110 - it happens in another process
        await asyncio.sleep(1)
    await connection.close()


async def _fill(url: str, size: Size) -> None:
    await schema.upgrade(url)
    connection = await asyncpg.connect(url)
    first = await seed.users(connection, size.users)
    await seed.sessions(connection, size.sessions, first, size.users)
    await seed_audit.seed(url, size.events)
    for statement in STIRRED:
        await connection.execute(statement, timeout=CHECKPOINT_SECONDS)
    await connection.close()


async def _expire(url: str, number: int) -> None:
    connection = await asyncpg.connect(url)
    people: int = await connection.fetchval("SELECT count(*) FROM users")
    first: int = await connection.fetchval("SELECT min(id) FROM users WHERE id > 1")
    await seed.sessions(connection, number, first, people // 2, before=LONG_AGO)
    await connection.execute("VACUUM ANALYZE sessions", timeout=CHECKPOINT_SECONDS)
    await connection.close()

"""What tests of the clean-up do over and over: make what is old, and look at what is left."""

from datetime import UTC, date, datetime

import msgspec

from app.database import Database
from app.maintenance import queries
from app.maintenance.service import Deleted

NOTHING = Deleted(
    sessions=0, audit_events=0, audit_partitions=0, signing_keys=0, one_time_tokens=0, sign_ins=0, factors=0
)


async def add_sessions(db: Database, number: int, *, revoked_days_ago: int | None, expired_days_ago: int = -1) -> None:
    await db.execute(
        """
        WITH somebody AS (
            INSERT INTO users (username) SELECT 'user-' || gen_random_uuid() RETURNING id
        )
        INSERT INTO sessions (id, user_id, expires_at, revoked_at, amr)
        SELECT gen_random_uuid(), id, now() - make_interval(days => $2), now() - make_interval(days => $3), '{pwd}'
        FROM somebody, generate_series(1, $1::integer)
        """,
        number,
        expired_days_ago,
        revoked_days_ago,
    )


async def add_events(db: Database, number: int, *, days_ago: int) -> None:
    await db.execute(
        """
        INSERT INTO audit_events (event, at) SELECT 'logout', now() - make_interval(days => $2)
        FROM generate_series(1, $1::integer)
        """,
        number,
        days_ago,
    )


def deleted(**counts: int) -> Deleted:
    """These, and nothing else."""
    return msgspec.structs.replace(NOTHING, **counts)


async def events(db: Database) -> list[str]:
    return [row["event"] for row in await db.fetch("SELECT event FROM audit_events ORDER BY id")]


async def count(db: Database, table: str) -> int:
    row = await db.fetchrow(f"SELECT count(*) AS rows FROM {table}")
    assert row is not None
    rows: int = row["rows"]
    return rows


async def partitions(db: Database) -> list[str]:
    rows = await db.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'audit_events'::regclass"
    )
    return sorted(row["name"].removeprefix("audit_events_") for row in rows)


def month(ahead: int) -> str:
    now = datetime.now(UTC)
    number = now.year * 12 + now.month - 1 + ahead
    return f"{number // 12}{number % 12 + 1:02}"


async def add_month(db: Database, first_day: str) -> None:
    async with db.transaction() as tx:
        assert await queries.add_month(tx, date.fromisoformat(first_day))


async def cleanups(db: Database) -> list[tuple[int | None, dict[str, int]]]:
    rows = await db.fetch("SELECT actor_id, details FROM audit_events WHERE event = 'cleanup.ran' ORDER BY id")
    return [(row["actor_id"], msgspec.json.decode(row["details"])["deleted"]) for row in rows]

"""Statements of the clean-up: its lock, and the partitions of the audit. Time is PostgreSQL's."""

from datetime import datetime

import asyncpg

from app.database import Transaction
from db import locks


async def wait_turn(tx: Transaction, seconds: float) -> None:
    """Hold the lock until the transaction ends; asyncpg.LockNotAvailableError if it cannot be had for so long."""
    await limit_waits(tx, seconds)
    await tx.execute("SELECT pg_advisory_xact_lock($1)", locks.CLEANUP)


async def try_turn(tx: Transaction) -> bool:
    """Hold the lock until the transaction ends, if nobody else does."""
    free: bool = await tx.fetchval("SELECT pg_try_advisory_xact_lock($1)", locks.CLEANUP)
    return free


async def limit_waits(tx: Transaction, seconds: float) -> None:
    """How long a statement of this transaction may wait for a lock."""
    await tx.execute("SELECT set_config('lock_timeout', $1, true)", f"{round(1000 * seconds)}ms")


async def missing_months(tx: Transaction, ahead: int) -> list[asyncpg.Record]:
    """This month and so many after it (`name`, `begins`, `ends`), as far as they have no partition yet."""
    return await tx.fetch(
        """
        WITH this AS (SELECT date_trunc('month', now() AT TIME ZONE 'UTC') AS month),
        months AS (
            SELECT format('audit_events_%s', to_char(each.month, 'YYYYMM')) AS name,
                   each.month AT TIME ZONE 'UTC' AS begins, (each.month + interval '1 month') AT TIME ZONE 'UTC' AS ends
            FROM this, generate_series(month, month + make_interval(months => $1), interval '1 month') AS each (month)
        )
        SELECT name, begins, ends FROM months
        WHERE to_regclass(name) IS NULL ORDER BY begins
        """,
        ahead,
    )


async def in_default(tx: Transaction, begins: datetime, ends: datetime) -> bool:
    """Whether the default partition has rows of this time, so that it cannot have a partition of its own any more."""
    found: bool = await tx.fetchval(
        "SELECT EXISTS (SELECT FROM audit_events_default WHERE at >= $1 AND at < $2)", begins, ends
    )
    return found


async def add_month(tx: Transaction, name: str, begins: datetime, ends: datetime) -> None:
    bounds = f"FROM ('{begins.isoformat()}') TO ('{ends.isoformat()}')"
    await tx.execute(f'CREATE TABLE IF NOT EXISTS "{name}" PARTITION OF audit_events FOR VALUES {bounds}')


async def old_months(tx: Transaction, retention_days: int) -> list[str]:
    """The partitions of months that ended longer ago than that, oldest first."""
    rows = await tx.fetch(
        """
        SELECT c.relname AS name
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'audit_events'::regclass AND c.relname ~ '^audit_events_[0-9]{6}$'
          AND (to_date(right(c.relname, 6), 'YYYYMM') + interval '1 month') AT TIME ZONE 'UTC'
              < now() - make_interval(days => $1)
        ORDER BY c.relname
        """,
        retention_days,
    )
    return [row["name"] for row in rows]


async def drop_month(tx: Transaction, name: str) -> bool:
    """Whether it was there until now."""
    there: bool = await tx.fetchval("SELECT to_regclass($1) IS NOT NULL", name)
    await tx.execute(f'DROP TABLE IF EXISTS "{name}"')
    return there


async def delete_old_events(tx: Transaction, retention_days: int, most: int) -> int:
    """Delete up to `most` events of the default partition that are older than that.

    Looks at the lowest ids only, for these are the oldest and have an index.
    """
    done: str = await tx.execute(
        """
        DELETE FROM audit_events_default e USING (SELECT id, at FROM audit_events_default ORDER BY id LIMIT $2) AS o
        WHERE e.id = o.id AND e.at = o.at AND e.at < now() - make_interval(days => $1)
        """,
        retention_days,
        most,
    )
    return int(done.rpartition(" ")[2])

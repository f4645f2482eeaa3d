"""Statements of the clean-up: its lock, and the partitions of the audit. Time is PostgreSQL's.

What changes the audit is a function of the database, with its owner's rights: ours may be fewer (docs/security.md).
"""

from datetime import date

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


async def missing_months(tx: Transaction, ahead: int) -> list[date]:
    """This month and so many after it, by their first days, as far as they have no partition yet."""
    rows = await tx.fetch(
        """
        WITH this AS (SELECT date_trunc('month', now() AT TIME ZONE 'UTC') AS month)
        SELECT each.month::date AS month
        FROM this, generate_series(month, month + make_interval(months => $1), interval '1 month') AS each (month)
        WHERE to_regclass('audit_events_' || to_char(each.month, 'YYYYMM')) IS NULL ORDER BY 1
        """,
        ahead,
    )
    return [row["month"] for row in rows]


async def add_month(tx: Transaction, month: date) -> bool:
    """Whether it has a partition of its own from now on: not if the default partition has events of it."""
    added: bool = await tx.fetchval("SELECT audit_add_month($1)", month)
    return added


async def old_months(tx: Transaction, retention_days: int) -> list[date]:
    """The months that ended longer ago than that, oldest first, as far as they have a partition."""
    rows = await tx.fetch(
        """
        SELECT to_date(right(c.relname, 6), 'YYYYMM') AS month
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'audit_events'::regclass AND c.relname ~ '^audit_events_[0-9]{6}$'
          AND (to_date(right(c.relname, 6), 'YYYYMM') + interval '1 month') AT TIME ZONE 'UTC'
              < now() - make_interval(days => $1)
        ORDER BY 1
        """,
        retention_days,
    )
    return [row["month"] for row in rows]


async def drop_month(tx: Transaction, month: date) -> bool:
    """Whether it was there until now, and old enough for us."""
    dropped: bool = await tx.fetchval("SELECT audit_drop_month($1)", month)
    return dropped


async def delete_old_events(tx: Transaction, retention_days: int, most: int) -> int:
    """Delete up to `most` events of the default partition that are older than that.

    Looks at the lowest ids only, for these are the oldest and have an index.
    """
    deleted: int = await tx.fetchval("SELECT audit_delete_old($1, $2)", retention_days, most)
    return deleted

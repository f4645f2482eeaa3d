"""Deleted people are blanked out of the audit: in small statements, for one person may have a million events.

The events and the bare id stay, and so does what he did to others, which is theirs to know.
"""

import time

from app.database import Database, Transaction

BATCH = 2000  # events a statement: some 20 ms

# What tells who somebody was: his address and program, and what was noted of him.
BLANK = """
    WITH batch AS (
        SELECT id, at FROM audit_events WHERE {column} = $1 AND id > $2 ORDER BY id LIMIT $3
    ), blanked AS (
        UPDATE audit_events a
        SET ip_address = CASE WHEN coalesce(a.actor_id, a.user_id) = $1 THEN NULL ELSE a.ip_address END,
            user_agent = CASE WHEN coalesce(a.actor_id, a.user_id) = $1 THEN NULL ELSE a.user_agent END,
            details = CASE WHEN a.user_id = $1 THEN '{{}}' ELSE a.details END
        FROM batch b WHERE a.id = b.id AND a.at = b.at
    )
    SELECT max(id) FROM batch
"""


async def announce(tx: Transaction, user_id: int) -> None:
    """Note in the transaction of his deletion that somebody is to be blanked out."""
    await tx.execute("INSERT INTO erasures (user_id) VALUES ($1) ON CONFLICT DO NOTHING", user_id)


async def blank(db: Database, user_id: int, seconds: float) -> bool:
    """Blank a deleted person's traces; whether that took less than so many seconds, and is done."""
    until = time.monotonic() + seconds
    for column in ("user_id", "actor_id"):
        last: int | None = 0
        while last is not None:
            if time.monotonic() > until:
                return False
            row = await db.fetchrow(BLANK.format(column=column), user_id, last, BATCH)
            last = row["max"] if row else None
    await db.execute("DELETE FROM erasures WHERE user_id = $1", user_id)
    return True


async def left_over(db: Database) -> list[int]:
    """Who is still to be blanked out, the longest first."""
    return [row["user_id"] for row in await db.fetch("SELECT user_id FROM erasures ORDER BY at")]

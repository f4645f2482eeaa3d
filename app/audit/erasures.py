"""Deleted people are blanked out of the audit: in small statements, for one person may have a million events.

The events and the bare id stay, and so does what he did to others, which is theirs to know. What is blanked says a
function of the database, which works for nobody who is there, or was never deleted.
"""

import time

from app.database import Database, Transaction

BATCH = 2000  # events a statement: some 20 ms


async def announce(tx: Transaction, user_id: int) -> None:
    """Note in the transaction of his deletion that somebody is to be blanked out."""
    await tx.execute("INSERT INTO erasures (user_id) VALUES ($1) ON CONFLICT DO NOTHING", user_id)


async def blank(db: Database, user_id: int, seconds: float) -> bool:
    """Blank a deleted person's traces; whether that took less than so many seconds, and is done."""
    until = time.monotonic() + seconds
    for by_actor in (False, True):
        last: int | None = 0
        while last is not None:
            if time.monotonic() > until:
                return False
            row = await db.fetchrow("SELECT audit_blank($1, $2, $3, $4) AS last", user_id, by_actor, last, BATCH)
            last = row["last"] if row else None
    await db.execute("DELETE FROM erasures WHERE user_id = $1", user_id)
    return True


async def left_over(db: Database) -> list[int]:
    """Who is still to be blanked out, the longest first."""
    return [row["user_id"] for row in await db.fetch("SELECT user_id FROM erasures ORDER BY at")]

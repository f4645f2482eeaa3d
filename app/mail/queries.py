"""The sender's statements on the outbox. Time is PostgreSQL's."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from app.database import Database, Transaction
from app.mail.outbox import Link

COUNTED = 10_000  # rows at most: the gauge of a longer queue says as many
KEEP_DAYS = 3  # that a letter without an end of its own is tried


class Claimed(Struct, frozen=True, kw_only=True):
    """A row that is ours until its lease ends."""

    id: UUID
    kind: str
    recipient: str
    language: str | None
    context: dict[str, Any]
    links: dict[str, Link]
    created_at: datetime
    expires_at: datetime | None
    attempts: int  # with this one
    age: float  # seconds
    expired: bool


class Look(Struct, frozen=True):
    """What a look at the outbox has found."""

    waiting: int  # rows
    oldest: float  # seconds since the first of them was written; 0.0 where none waits
    next_due: float | None  # seconds until the next row is due
    claimed: list[Claimed]


async def claim(db: Database, lease: float, most: int) -> Look:
    """Claim up to `most` rows that are due: they are nobody else's for `lease` seconds; new ones first.

    One statement that writes nothing where nothing is due.
    """
    rows = await db.fetch(
        """
        WITH due AS (
            SELECT id FROM mail_outbox WHERE due_at <= clock_timestamp()
            ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
        ), claimed AS (
            UPDATE mail_outbox m SET due_at = clock_timestamp() + make_interval(secs => $1), attempts = attempts + 1
            FROM due WHERE m.id = due.id
            RETURNING m.id, kind, recipient, language, context, links, created_at, expires_at, attempts,
                      extract(epoch FROM clock_timestamp() - created_at)::float8 AS age,
                      coalesce(expires_at, created_at + make_interval(days => $3)) <= clock_timestamp() AS expired
        )
        SELECT (SELECT count(*) FROM (SELECT FROM mail_outbox LIMIT $4) AS counted) AS waiting,
               (SELECT extract(epoch FROM clock_timestamp() - created_at)::float8
                FROM mail_outbox ORDER BY id LIMIT 1) AS oldest,
               (SELECT extract(epoch FROM min(due_at) - clock_timestamp())::float8
                FROM mail_outbox WHERE due_at > clock_timestamp()) AS next_due,
               claimed.*
        FROM (VALUES (1)) AS always LEFT JOIN claimed ON true ORDER BY claimed.attempts, claimed.id
        """,
        lease,
        most,
        KEEP_DAYS,
        COUNTED,
    )
    claimed = [
        Claimed(
            id=row["id"],
            kind=row["kind"],
            recipient=row["recipient"],
            language=row["language"],
            context=msgspec.json.decode(row["context"]),
            links=msgspec.json.decode(row["links"], type=dict[str, Link]),
            created_at=row["created_at"],
            expires_at=row["expires_at"],
            attempts=row["attempts"],
            age=row["age"],
            expired=row["expired"],
        )
        for row in rows
        if row["id"] is not None
    ]
    return Look(rows[0]["waiting"], rows[0]["oldest"] or 0.0, rows[0]["next_due"], claimed)


async def remove(on: Database | Transaction, ids: Iterable[UUID]) -> bool:
    """Whether there was any of them until now."""
    return await on.execute("DELETE FROM mail_outbox WHERE id = ANY($1)", list(ids)) != "DELETE 0"


async def postpone(db: Database, claimed: Claimed, seconds: float, reason: str) -> None:
    """Due again in so many seconds, unless somebody else has claimed it since."""
    await db.execute(
        """
        UPDATE mail_outbox SET due_at = clock_timestamp() + make_interval(secs => $3), last_error = $4
        WHERE id = $1 AND attempts = $2
        """,
        claimed.id,
        claimed.attempts,
        seconds,
        reason,
    )


async def give_back(db: Database, claimed: Sequence[Claimed]) -> None:
    """As if they had not been claimed, but behind all others that are due."""
    await db.execute(
        """
        UPDATE mail_outbox m SET due_at = clock_timestamp(), attempts = m.attempts - 1
        FROM (
            SELECT m.id
            FROM mail_outbox m JOIN unnest($1::uuid[], $2::int[]) AS held (id, attempts) USING (id, attempts)
            FOR UPDATE OF m SKIP LOCKED
        ) AS ours
        WHERE m.id = ours.id
        """,
        [each.id for each in claimed],
        [each.attempts for each in claimed],
    )

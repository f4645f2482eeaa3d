"""Statements on one-time tokens.

Whoever issues, uses or voids holds the user's row, so that nothing is issued past what voids it. The clean-up does not,
and steps back from what somebody else is about.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
from msgspec import Struct

from app.database import Database, Transaction
from app.proofs.tokens import Purpose
from app.uuid7 import uuid7


class Issued(Struct, frozen=True):
    token_id: UUID
    expires_at: datetime


class Proof(Struct, frozen=True):
    """Whom a token was made for, and where it was sent."""

    user_id: int
    email: str
    made_at: datetime


async def issue(tx: Transaction, purpose: Purpose, user_id: int, email: str, seconds: int) -> Issued:
    """A token that has not been there before; those that are out stay good."""
    token_id = uuid7()
    expires_at = await tx.fetchval(
        """
        INSERT INTO one_time_tokens (id, purpose, user_id, email, expires_at)
        VALUES ($1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5)) RETURNING expires_at
        """,
        token_id,
        purpose,
        user_id,
        email,
        seconds,
    )
    return Issued(token_id, expires_at)


async def look(db: Database, purpose: Purpose, token_id: UUID) -> Proof | None:
    """What it would prove; it stays good."""
    return _proof(
        await db.fetchrow(
            """
            SELECT user_id, email, created_at FROM one_time_tokens
            WHERE id = $1 AND purpose = $2 AND expires_at > clock_timestamp()
            """,
            token_id,
            purpose,
        )
    )


async def use(tx: Transaction, purpose: Purpose, token_id: UUID) -> Proof | None:
    """What it proves, once: of any number of callers one gets it."""
    return _proof(
        await tx.fetchrow(
            """
            DELETE FROM one_time_tokens WHERE id = $1 AND purpose = $2 AND expires_at > clock_timestamp()
            RETURNING user_id, email, created_at
            """,
            token_id,
            purpose,
        )
    )


async def void(tx: Transaction, user_id: int, purposes: Sequence[Purpose]) -> None:
    """What is out for these purposes is good for nothing any more."""
    await tx.execute("DELETE FROM one_time_tokens WHERE user_id = $1 AND purpose = ANY($2::text[])", user_id, purposes)


async def void_elsewhere(tx: Transaction, user_id: int, purpose: Purpose, email: str | None) -> None:
    """The same for what was sent to any other address than this one."""
    await tx.execute(
        "DELETE FROM one_time_tokens WHERE user_id = $1 AND purpose = $2 AND email IS DISTINCT FROM $3",
        user_id,
        purpose,
        email,
    )


async def oldest(tx: Transaction, user_id: int, purpose: Purpose, email: str) -> datetime | None:
    """When the oldest of a user's links for this, to this address, was made that is still good."""
    row = await tx.fetchrow(
        """
        SELECT min(created_at) AS made_at FROM one_time_tokens
        WHERE user_id = $1 AND purpose = $2 AND email = $3 AND expires_at > clock_timestamp()
        """,
        user_id,
        purpose,
        email,
    )
    return None if row is None else row["made_at"]


async def void_not_me(tx: Transaction, user_id: int, token_id: UUID, email: str) -> None:
    """A panic link was used: those that were made after it, and those to the same address, are void.

    An older one at another address stays good, for it may be the true owner's, and the used one the intruder's.
    """
    await tx.execute(
        "DELETE FROM one_time_tokens WHERE user_id = $1 AND purpose = $2 AND (id > $3 OR email = $4)",
        user_id,
        Purpose.NOT_ME,
        token_id,
        email,
    )


async def newest_email(db: Database | Transaction, user_id: int) -> str | None:
    """The address that waits to be verified, if one does."""
    row = await db.fetchrow(
        """
        SELECT email FROM one_time_tokens
        WHERE user_id = $1 AND purpose = $2 AND expires_at > clock_timestamp() ORDER BY id DESC LIMIT 1
        """,
        user_id,
        Purpose.VERIFY_EMAIL,
    )
    return None if row is None else row["email"]


async def delete_expired(tx: Transaction, most: int) -> int:
    done = await tx.execute(
        """
        DELETE FROM one_time_tokens WHERE id IN (
            SELECT id FROM one_time_tokens WHERE expires_at <= statement_timestamp()
            ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
        )
        """,
        most,
    )
    return int(done.rpartition(" ")[2])


def _proof(row: asyncpg.Record | None) -> Proof | None:
    return None if row is None else Proof(row["user_id"], row["email"], row["created_at"])

"""Statements on signing keys."""

import asyncpg
from msgspec import Struct

from app.database import Database, Transaction

KEYS_LOCK = 4_849_321_707  # whoever makes a key holds it, so that two starts make one


async def all_keys(db: Database | Transaction) -> list[asyncpg.Record]:
    """Every key, oldest first, with the seconds until it signs (negative: since when it may)."""
    return await db.fetch(
        """
        SELECT kid, algorithm, public_jwk, private_key,
               extract(epoch FROM signing_from - clock_timestamp())::float8 AS signs_in
        FROM signing_keys ORDER BY signing_from, kid
        """
    )


async def lock(tx: Transaction) -> None:
    await tx.execute("SELECT pg_advisory_xact_lock($1)", KEYS_LOCK)


class NewKey(Struct, frozen=True):
    """A key pair to be stored: the public half as JSON, the private one sealed."""

    kid: str
    algorithm: str
    public_jwk: str
    private_key: bytes


async def add(tx: Transaction, new: NewKey, signs_in: float) -> None:
    await tx.execute(
        """
        INSERT INTO signing_keys (kid, algorithm, public_jwk, private_key, signing_from)
        VALUES ($1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5))
        """,
        new.kid,
        new.algorithm,
        new.public_jwk,
        new.private_key,
        signs_in,
    )


async def reseal(db: Database, kid: str, sealed_before: bytes, sealed: bytes) -> None:
    await db.execute(
        "UPDATE signing_keys SET private_key = $3 WHERE kid = $1 AND private_key = $2", kid, sealed_before, sealed
    )


async def delete_retired(tx: Transaction, token_seconds: float) -> int:
    """Delete keys whose successor of the same or another algorithm has signed for longer than any token lives."""
    rows = await tx.fetch(
        """
        DELETE FROM signing_keys WHERE signing_from < (
            SELECT max(signing_from) FROM signing_keys
            WHERE signing_from < clock_timestamp() - make_interval(secs => $1)
        ) RETURNING kid
        """,
        token_seconds,
    )
    return len(rows)

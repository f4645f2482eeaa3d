"""Statements on signing keys."""

import asyncpg
from msgspec import Struct

from app.database import Database, Transaction
from db import locks

STRAGGLER_SECONDS = 86400.0  # a day: the longest that two settings are in use side by side, as in a slow rollout


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
    await tx.execute("SELECT pg_advisory_xact_lock($1)", locks.KEYS)


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
    """Delete keys whose successor has signed for longer than any token lives.

    One of another algorithm has to have signed for STRAGGLER_SECONDS more: with their old setting, replicas that were
    not restarted yet go on signing with the newest key of the old algorithm.
    """
    rows = await tx.fetch(
        """
        DELETE FROM signing_keys k WHERE EXISTS (
            SELECT FROM signing_keys s
            WHERE s.signing_from > k.signing_from
              AND s.signing_from + make_interval(secs => $1)
                + CASE WHEN s.algorithm = k.algorithm THEN interval '0' ELSE make_interval(secs => $2) END
                < clock_timestamp()
        ) RETURNING kid
        """,
        token_seconds,
        STRAGGLER_SECONDS,
    )
    return len(rows)

"""Statements on preferences."""

from collections.abc import Mapping, Sequence

from app.database import Database, Transaction
from db import locks


async def lock(tx: Transaction, user_id: int) -> None:
    await tx.execute(
        "SELECT pg_advisory_xact_lock(($1::bigint << 48) | ($2::bigint & 281474976710655))", locks.PREFERENCES, user_id
    )


async def all_of(db: Database | Transaction, user_id: int) -> dict[str, str]:
    """Keys and values as JSON texts; at most 256 KiB by the bounds of writing."""
    rows = await db.fetch("SELECT key, value FROM preferences WHERE user_id = $1 ORDER BY key", user_id)
    return {row["key"]: row["value"] for row in rows}


async def some_of(db: Database, user_id: int, keys: Sequence[str]) -> dict[str, str]:
    rows = await db.fetch("SELECT key, value FROM preferences WHERE user_id = $1 AND key = ANY($2)", user_id, keys)
    return {row["key"]: row["value"] for row in rows}


async def one_of(db: Database, user_id: int, key: str) -> str | None:
    row = await db.fetchrow("SELECT value FROM preferences WHERE user_id = $1 AND key = $2", user_id, key)
    return row["value"] if row else None


async def put(tx: Transaction, user_id: int, values: Mapping[str, str]) -> None:
    await tx.execute(
        """
        INSERT INTO preferences (user_id, key, value)
        SELECT $1, k, v::json FROM unnest($2::text[], $3::text[]) AS n (k, v)
        ON CONFLICT (user_id, key) DO UPDATE SET value = excluded.value, updated_at = now()
        """,
        user_id,
        list(values),
        list(values.values()),
    )


async def keep_only(tx: Transaction, user_id: int, keys: Sequence[str]) -> None:
    await tx.execute("DELETE FROM preferences WHERE user_id = $1 AND key <> ALL($2::text[])", user_id, list(keys))


async def delete(db: Database, user_id: int, key: str) -> bool:
    row = await db.fetchrow("DELETE FROM preferences WHERE user_id = $1 AND key = $2 RETURNING key", user_id, key)
    return row is not None


async def size(tx: Transaction, user_id: int) -> tuple[int, int]:
    """How many keys a user has, and how many bytes their values have together."""
    row = await tx.fetchrow(
        """
        SELECT count(*) AS keys, coalesce(sum(octet_length(value::text)), 0)::bigint AS bytes
        FROM preferences WHERE user_id = $1
        """,
        user_id,
    )
    return (row["keys"], row["bytes"]) if row else (0, 0)

"""Statements on clients."""

from collections.abc import Mapping, Sequence

import asyncpg
import msgspec

from app.cache.entries import Truth
from app.database import Database, Transaction


async def add(tx: Transaction, client_id: str, name: str, secret_digest: bytes, most: int) -> bool:
    """Whether it was added: the index decides about the name. Two at once may go one beyond `most`: no harm."""
    added = await tx.fetchval(
        """
        INSERT INTO clients (id, name, secret_digest)
        SELECT $1, $2, $3 WHERE (SELECT count(*) FROM clients) < $4
        ON CONFLICT (name) DO NOTHING RETURNING id
        """,
        client_id,
        name,
        secret_digest,
        most,
    )
    return added is not None


async def is_taken(tx: Transaction, name: str) -> bool:
    taken: bool = await tx.fetchval("SELECT EXISTS (SELECT FROM clients WHERE name = $1)", name)
    return taken


async def remove(tx: Transaction, name_or_id: str) -> asyncpg.Record | None:
    """What was removed; no name looks like an id, so that it is one client at most."""
    return await tx.fetchrow(
        "DELETE FROM clients WHERE id = $1 OR name = $1 RETURNING id AS client_id, name, created_at", name_or_id
    )


async def everyone(db: Database) -> list[asyncpg.Record]:
    return await db.fetch("SELECT id AS client_id, name, created_at FROM clients ORDER BY name")


async def truths(db: Database, _: Sequence[str]) -> Mapping[str, Truth]:
    """The whole table, for the cache: digests of secrets by the client's id."""
    rows = await db.fetch("SELECT id, secret_digest FROM clients")
    return {"table": Truth(msgspec.msgpack.encode({row["id"]: row["secret_digest"] for row in rows}))}

"""Statements on sessions. Time is PostgreSQL's: `clock_timestamp()`, taken after any wait for a lock."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import asyncpg
import msgspec

from app.audit.events import Event
from app.cache.entries import ENTRY_SECONDS, Truth
from app.client import Client
from app.database import Database, Transaction
from app.sessions.structs import SessionEntry

LIVE = "revoked_at IS NULL AND expires_at > clock_timestamp()"

COLUMNS = """
    id, user_id, generation, floor(extract(epoch FROM auth_time))::int8 AS auth_time, amr,
    extract(epoch FROM expires_at - clock_timestamp())::float8 AS seconds_left
"""

# The compare-and-set and its audit row travel together: one round trip, one commit.
ROTATE = f"""
    WITH rotated AS (
        UPDATE sessions
        SET generation = generation + 1, rotated_at = clock_timestamp(), last_accessed = clock_timestamp(),
            ip_address = $3, user_agent = $4
        WHERE id = $1 AND generation = $2 AND {LIVE}
        RETURNING {COLUMNS}
    ), recorded AS (
        INSERT INTO audit_events (event, user_id, actor_id, session_id, ip_address, user_agent, request_id)
        SELECT '{Event.TOKEN_REFRESHED}', user_id, user_id, id, $3, $4, $5 FROM rotated
    )
    SELECT * FROM rotated
"""  # noqa: S608 - only constants are put in


async def add(
    tx: Transaction,
    session_id: UUID,
    user_id: int,
    client: Client,
    *,
    device_name: str | None,
    amr: list[str],
    lifetime_days: int,
) -> asyncpg.Record:
    row = await tx.fetchrow(
        f"""
        INSERT INTO sessions (id, user_id, expires_at, amr, ip_address, user_agent, device_name)
        VALUES ($1, $2, clock_timestamp() + make_interval(days => $3), $4, $5, $6, $7)
        RETURNING {COLUMNS}
        """,  # noqa: S608 - only constants are put in
        session_id,
        user_id,
        lifetime_days,
        amr,
        client.ip,
        client.user_agent,
        device_name,
    )
    assert row is not None  # noqa: S101 - INSERT … RETURNING without a condition
    return row


async def rotate(db: Database, session_id: UUID, generation: int, client: Client) -> asyncpg.Record | None:
    """Move a live session from this generation to the next; None if it is not at this generation, or not live."""
    return await db.fetchrow(ROTATE, session_id, generation, client.ip, client.user_agent, client.request_id)


async def state(db: Database, session_id: UUID, grace_seconds: int) -> asyncpg.Record | None:
    """Why a rotation found nothing: its own statement, because the snapshot of the first may be too old (C9)."""
    return await db.fetchrow(
        f"""
        SELECT {COLUMNS}, {LIVE} AS live,
               rotated_at >= clock_timestamp() - make_interval(secs => $2) AS in_grace
        FROM sessions WHERE id = $1
        """,  # noqa: S608 - only constants are put in
        session_id,
        grace_seconds,
    )


async def truths(db: Database, session_ids: Sequence[str]) -> Mapping[str, Truth]:
    """What PostgreSQL says of these sessions, for the cache."""
    rows = await db.fetch(
        f"SELECT {COLUMNS} FROM sessions WHERE id = ANY($1::uuid[]) AND {LIVE}",  # noqa: S608 - constants
        session_ids,
    )
    return {
        str(row["id"]): Truth(
            msgspec.msgpack.encode(SessionEntry(row["user_id"], row["generation"], row["auth_time"], row["amr"])),
            min(ENTRY_SECONDS, row["seconds_left"]),
        )
        for row in rows
    }


async def revoke(
    tx: Transaction,
    reason: str,
    *,
    user_id: int,
    only: Sequence[UUID] | None = None,
    except_id: UUID | None = None,
) -> list[UUID]:
    """End these sessions of a user, or all, or all but one; those that were live.

    Rows are locked in the order of their ids, so that two who end many cannot block each other.
    """
    rows = await tx.fetch(
        f"""
        WITH held AS (
            SELECT id FROM sessions
            WHERE user_id = $2 AND ($3::uuid[] IS NULL OR id = ANY($3)) AND ($4::uuid IS NULL OR id <> $4) AND {LIVE}
            ORDER BY id FOR NO KEY UPDATE
        )
        UPDATE sessions SET revoked_at = clock_timestamp(), revoked_reason = $1
        WHERE id IN (SELECT id FROM held) AND {LIVE}
        RETURNING id
        """,  # noqa: S608 - only constants are put in
        reason,
        user_id,
        only,
        except_id,
    )
    return [row["id"] for row in rows]


async def of_user(tx: Transaction, user_id: int, session_ids: Sequence[str]) -> list[UUID]:
    """Which of these sessions are this user's."""
    rows = await tx.fetch("SELECT id FROM sessions WHERE user_id = $1 AND id = ANY($2::uuid[])", user_id, session_ids)
    return [row["id"] for row in rows]


async def surplus(tx: Transaction, user_id: int, cap: int) -> list[UUID]:
    """The live sessions of a user beyond the newest `cap`."""
    rows = await tx.fetch(
        f"SELECT id FROM sessions WHERE user_id = $1 AND {LIVE} ORDER BY created_at DESC, id DESC OFFSET $2",  # noqa: S608
        user_id,
        cap,
    )
    return [row["id"] for row in rows]


async def live_of(db: Database, user_id: int) -> list[asyncpg.Record]:
    """The live sessions of a user, newest first. At most 1,000: more devices than anybody looks through."""
    return await db.fetch(
        f"""
        SELECT s.id, s.user_id, u.username, s.created_at, s.last_accessed, s.expires_at,
               host(s.ip_address) AS ip_address, s.user_agent, s.device_name, s.amr, s.revoked_at, s.revoked_reason
        FROM sessions s JOIN user_names u ON u.id = s.user_id
        WHERE s.user_id = $1 AND {LIVE}
        ORDER BY s.created_at DESC, s.id DESC LIMIT 1000
        """,  # noqa: S608 - only constants are put in
        user_id,
    )


async def touch(db: Database, seconds_ago: Mapping[UUID, float]) -> None:
    """Note when sessions were last seen: one statement for all of them, on no index.

    A session that somebody else is changing is left out: he has seen it himself, or ends it.
    """
    await db.execute(
        """
        WITH held AS (SELECT id FROM sessions WHERE id = ANY($1) FOR NO KEY UPDATE SKIP LOCKED)
        UPDATE sessions s
        SET last_accessed = greatest(s.last_accessed, clock_timestamp() - make_interval(secs => v.ago))
        FROM unnest($1::uuid[], $2::float8[]) AS v (id, ago), held h WHERE s.id = v.id AND h.id = v.id
        """,
        list(seconds_ago),
        list(seconds_ago.values()),
    )


async def delete_ended(tx: Transaction, retention_days: int, most: int) -> int:
    """Delete up to `most` sessions that ended longer ago than that."""
    done: str = await tx.execute(
        """
        DELETE FROM sessions WHERE id IN (
            SELECT id FROM sessions
            WHERE COALESCE(revoked_at, expires_at) < clock_timestamp() - make_interval(days => $1)
            ORDER BY COALESCE(revoked_at, expires_at) LIMIT $2
        )
        """,
        retention_days,
        most,
    )
    return int(done.rpartition(" ")[2])

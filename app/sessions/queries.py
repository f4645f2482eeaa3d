"""Statements on sessions. Time is PostgreSQL's: `clock_timestamp()`, taken after any wait for a lock."""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct

from app.audit.events import Event
from app.cache.entries import ENTRY_SECONDS, Truth
from app.client import Client
from app.database import Database, Transaction
from app.sessions.structs import SessionEntry, SessionState

LIVE = "s.revoked_at IS NULL AND s.expires_at > clock_timestamp()"

MOST = 50_000  # live sessions of a user: a login a minute for a month. So many can still be ended in one transaction
COLUMNS = """
    s.id AS session_id, s.user_id, s.generation, floor(extract(epoch FROM s.auth_time))::int8 AS auth_time, s.amr,
    extract(epoch FROM s.expires_at - clock_timestamp())::float8 AS seconds_left, s.by_cookie
"""


def _session(row: asyncpg.Record) -> SessionState:
    return SessionState(*(row[name] for name in SessionState.__struct_fields__))


# ---- opening ------------------------------------------------------------------------------------------------------


LOOKED_THROUGH = 500  # sessions of a user, for a device: who has more is a program, and always the same one


class Gate(Struct, frozen=True):
    """A statement that returns the user who may come in, with the id in the column `id`, or no row."""

    statement: str
    arguments: tuple[object, ...]


async def open_behind(
    gate: Gate,
    on: Database | Transaction,
    session_id: UUID,
    client: Client,
    *,
    device_name: str | None,
    amr: list[str],
    auth_time: int | None,
    by_cookie: bool,
    lifetime_days: int,
) -> tuple[SessionState, asyncpg.Record] | None:
    """A session, with its audit row, for whom the gate lets in, and the gate's row; one statement, one commit.

    What the gate changes stays locked until then: whoever deactivates the user, or sets a password, comes before, and
    the gate sees it, or after, and ends the session.

    The row's `crowded` says whether the user has MOST sessions beside this one.

    Without an `auth_time` the login is now (`least` leaves out what is NULL), and so is one ahead of our clock.
    """
    first = len(gate.arguments) + 1
    own_id, days, methods, ip, agent, request_id, device, shown_at, by = (f"${n}" for n in range(first, first + 9))
    row = await on.fetchrow(
        f"""
        WITH person AS (
            {gate.statement}
        ), opened AS (
            INSERT INTO sessions AS s
                (id, user_id, expires_at, amr, ip_address, user_agent, device_name, auth_time, by_cookie)
            SELECT {own_id}, id, clock_timestamp() + make_interval(days => {days}), {methods}, {ip}, {agent}, {device},
                   least(to_timestamp({shown_at}::int8), clock_timestamp()), {by}
            FROM person
            RETURNING {COLUMNS}
        ), recorded AS (
            INSERT INTO audit_events (event, user_id, actor_id, session_id, ip_address, user_agent, request_id, details)
            SELECT '{Event.LOGIN_SUCCEEDED}', user_id, user_id, session_id, {ip}, {agent}, {request_id},
                   jsonb_build_object('amr', amr)
            FROM opened
        )
        SELECT person.*, opened.*, EXISTS (
            SELECT FROM sessions s WHERE s.user_id = person.id AND {LIVE} OFFSET {MOST - 1}
        ) AS crowded
        FROM person, opened
        """,  # noqa: S608 - only constants are put in
        *gate.arguments,
        session_id,
        lifetime_days,
        amr,
        client.ip,
        client.user_agent,
        client.request_id,
        device_name,
        auth_time,
        by_cookie,
    )
    return None if row is None else (_session(row), row)


async def add_ways(tx: Transaction, session_id: UUID, amr: list[str]) -> None:
    """The user of this session has shown who he is in these ways as well."""
    await tx.execute(
        """
        UPDATE sessions s SET amr = s.amr || ARRAY(SELECT way FROM unnest($2::text[]) AS way WHERE way <> ALL (s.amr))
        WHERE s.id = $1
        """,
        session_id,
        amr,
    )


async def reauthenticate(
    tx: Transaction, session_id: UUID, user_id: int, amr: list[str], *, beside_others: bool
) -> SessionState | None:
    """A live session of this user, whose login is now, and was made in these ways, or in these beside the others.

    Its refresh token is replaced, and without a grace, so that a stolen copy does not come to a present login.
    """
    row = await tx.fetchrow(
        f"""
        UPDATE sessions s
        SET auth_time = clock_timestamp(), generation = s.generation + 1, rotated_at = NULL,
            amr = CASE WHEN $4 THEN ARRAY(SELECT w FROM unnest(s.amr) AS w WHERE w <> ALL ($3)) ELSE '{{}}' END || $3
        WHERE s.id = $1 AND s.user_id = $2 AND {LIVE} RETURNING {COLUMNS}
        """,  # noqa: S608 - only constants are put in
        session_id,
        user_id,
        amr,
        beside_others,
    )
    return None if row is None else _session(row)


async def is_live(tx: Transaction, session_id: UUID, user_id: int) -> bool:
    live = await tx.fetchval(
        # held, so that it does not end before what depends on it is done
        f"SELECT true FROM sessions s WHERE s.id = $1 AND s.user_id = $2 AND {LIVE} FOR SHARE",  # noqa: S608 - constants
        session_id,
        user_id,
    )
    return live is not None


async def is_new_device(tx: Transaction, session: SessionState, device_name: str | None) -> bool:
    """Whether the user has had sessions, and none of them on a device of this name, but for an intruder's."""
    row = await tx.fetchrow(
        """
        SELECT count(*) > 0 AS others, coalesce(bool_or(device_name IS NOT DISTINCT FROM $3), false) AS known
        FROM (
            SELECT device_name FROM sessions
            WHERE user_id = $1 AND id <> $2 AND revoked_reason IS DISTINCT FROM 'not_me' LIMIT $4
        ) AS looked_through
        """,
        session.user_id,
        session.session_id,
        device_name,
        LOOKED_THROUGH,
    )
    return row is not None and row["others"] and not row["known"]


async def surplus(tx: Transaction, user_id: int, cap: int) -> list[UUID]:
    """The live sessions of a user beyond the newest `cap`."""
    rows = await tx.fetch(
        f"SELECT id FROM sessions s WHERE user_id = $1 AND {LIVE} ORDER BY created_at DESC, id DESC OFFSET $2",  # noqa: S608
        user_id,
        cap,
    )
    return [row["id"] for row in rows]


# ---- refreshing ---------------------------------------------------------------------------------------------------

ROTATE_TIMEOUT = 2.0  # seconds; everybody's refresh waits for it, and it takes milliseconds


class Rotation(Struct, frozen=True, eq=False):
    """A live session shall go on from this generation to the next, for this request alone."""

    session_id: UUID
    generation: int
    client: Client


# The compare-and-sets of a moment and their audit rows: one round trip, one commit. A row that somebody else is
# changing is left out, for nobody shall wait for what is not his.
ROTATE = f"""
    WITH asked AS (
        SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::text[])
            AS a (id, generation, ip_address, user_agent, request_id)
    ), free AS (
        SELECT s.id FROM sessions s JOIN asked a ON a.id = s.id AND a.generation = s.generation
        WHERE {LIVE} FOR NO KEY UPDATE OF s SKIP LOCKED
    ), rotated AS (
        UPDATE sessions s
        SET generation = s.generation + 1, rotated_at = clock_timestamp(), last_accessed = clock_timestamp(),
            ip_address = a.ip_address::inet, user_agent = a.user_agent
        FROM asked a JOIN free f ON f.id = a.id
        WHERE s.id = a.id AND s.generation = a.generation AND {LIVE}
        RETURNING {COLUMNS}, a.request_id, s.ip_address, s.user_agent
    ), recorded AS (
        INSERT INTO audit_events (event, user_id, actor_id, session_id, ip_address, user_agent, request_id)
        SELECT '{Event.TOKEN_REFRESHED}', user_id, user_id, session_id, ip_address, user_agent, request_id FROM rotated
    )
    SELECT session_id, user_id, generation, auth_time, amr, seconds_left, by_cookie FROM rotated
"""  # noqa: S608 - only constants are put in


async def rotate(db: Database, rotations: Sequence[Rotation]) -> dict[Rotation, SessionState]:
    """The rotations that could be made at once; at most one of a session."""
    first_of = {rotation.session_id: rotation for rotation in reversed(rotations)}
    chosen = list(first_of.values())
    rows = await db.fetch(
        ROTATE,
        list(first_of),
        [rotation.generation for rotation in chosen],
        [rotation.client.ip for rotation in chosen],
        [rotation.client.user_agent for rotation in chosen],
        [rotation.client.request_id for rotation in chosen],
        timeout=ROTATE_TIMEOUT,
    )
    return {first_of[row["session_id"]]: _session(row) for row in rows}


class Standing(Struct, frozen=True):
    """A session, dead or alive, as a refused rotation finds it."""

    session: SessionState
    live: bool
    in_grace: bool  # the token of the generation before is still answered
    expires_at: int  # seconds since 1970


async def standings(db: Database, session_ids: Iterable[UUID], grace_seconds: int) -> dict[UUID, Standing]:
    """How these sessions stand, as far as there are any."""
    rows = await db.fetch(
        f"""
        SELECT {COLUMNS}, {LIVE} AS live,
               s.rotated_at >= clock_timestamp() - make_interval(secs => $2) AS in_grace,
               floor(extract(epoch FROM s.expires_at))::int8 AS expires_at
        FROM sessions s WHERE s.id = ANY($1::uuid[])
        """,  # noqa: S608 - only constants are put in
        list(session_ids),
        grace_seconds,
    )
    return {
        row["session_id"]: Standing(_session(row), row["live"], bool(row["in_grace"]), row["expires_at"])
        for row in rows
    }


# ---- looking ------------------------------------------------------------------------------------------------------


async def truths(db: Database, session_ids: Sequence[str]) -> Mapping[str, Truth]:
    """What PostgreSQL says of these sessions, for the cache."""
    rows = await db.fetch(
        f"SELECT {COLUMNS} FROM sessions s WHERE s.id = ANY($1::uuid[]) AND {LIVE}",  # noqa: S608 - constants
        session_ids,
    )
    return {
        str(row["session_id"]): Truth(
            msgspec.msgpack.encode(SessionEntry(row["user_id"], row["generation"], row["auth_time"], row["amr"])),
            min(ENTRY_SECONDS, row["seconds_left"]),
        )
        for row in rows
    }


async def sessions_of(db: Database, user_id: int, *, only_live: bool, most: int) -> list[asyncpg.Record]:
    """Up to `most` sessions of a user, newest first."""
    return await db.fetch(
        f"""
        SELECT s.id, s.user_id, u.username, s.created_at, s.last_accessed, s.expires_at,
               host(s.ip_address) AS ip_address, s.user_agent, s.device_name, s.amr, s.revoked_at, s.revoked_reason
        FROM sessions s JOIN user_names u ON u.id = s.user_id
        WHERE s.user_id = $1 AND {LIVE if only_live else "true"}
        ORDER BY s.created_at DESC, s.id DESC LIMIT $2
        """,  # noqa: S608 - only constants are put in
        user_id,
        most,
    )


async def touch(db: Database, seconds_ago: Mapping[str, float]) -> None:
    """Note when sessions were last seen: one statement for all of them, on no index.

    A session that somebody else is changing is left out: he has seen it himself, or ends it.
    """
    await db.execute(
        """
        WITH held AS (SELECT id FROM sessions WHERE id = ANY($1::uuid[]) FOR NO KEY UPDATE SKIP LOCKED)
        UPDATE sessions s
        SET last_accessed = greatest(s.last_accessed, clock_timestamp() - make_interval(secs => v.ago))
        FROM unnest($1::uuid[], $2::float8[]) AS v (id, ago), held h WHERE s.id = v.id AND h.id = v.id
        """,
        list(seconds_ago),
        list(seconds_ago.values()),
    )


# ---- ending -------------------------------------------------------------------------------------------------------


async def revoke(
    tx: Transaction,
    reason: str,
    *,
    user_id: int,
    only: Sequence[UUID] | None = None,
    except_id: UUID | None = None,
) -> list[UUID]:
    """End these sessions of a user, or all, or all but one; those that were live.

    Two that end many of one user find them by the same index, and so lock them in the same order. No join: a plan that
    was made while the table was small would be quadratic.
    """
    which = "s.id = ANY($3)" if only is not None else "s.id IS DISTINCT FROM $3"
    rows = await tx.fetch(
        f"""
        UPDATE sessions s SET revoked_at = clock_timestamp(), revoked_reason = $1
        WHERE s.user_id = $2 AND {which} AND {LIVE}
        RETURNING s.id
        """,  # noqa: S608 - only constants are put in
        reason,
        user_id,
        except_id if only is None else only,
    )
    return [row["id"] for row in rows]


async def revoke_held(
    tx: Transaction,
    session_ids: Sequence[UUID],
    reason: str,
    actor_id: int | None,
    client: Client | None,
    details: Mapping[str, object],
) -> list[UUID]:
    """End these sessions, whosever they are, with an audit row each; the transaction holds them already."""
    rows = await tx.fetch(
        f"""
        WITH ended AS (
            UPDATE sessions s SET revoked_at = clock_timestamp(), revoked_reason = $2
            WHERE s.id = ANY($1) AND {LIVE}
            RETURNING s.id, s.user_id
        ), recorded AS (
            INSERT INTO audit_events (event, user_id, actor_id, session_id, ip_address, user_agent, request_id, details)
            SELECT '{Event.SESSION_REVOKED}', user_id, $3, id, $4, $5, $6, $7 FROM ended
        )
        SELECT id FROM ended
        """,  # noqa: S608 - only constants are put in
        session_ids,
        reason,
        actor_id,
        client.ip if client else None,
        client.user_agent if client else None,
        client.request_id if client else None,
        msgspec.json.encode({"reason": reason, **details}).decode(),
    )
    return [row["id"] for row in rows]


async def of_user(tx: Transaction, user_id: int) -> list[UUID]:
    """All sessions of a user that are kept, dead ones too."""
    rows = await tx.fetch("SELECT id FROM sessions WHERE user_id = $1", user_id)
    return [row["id"] for row in rows]


# The revoked ones come first, then the expired ones: each has an index. By the statement's own time: one that changes
# with every row that is looked at is no bound for an index, and the last batch would look at all there are.
DELETE_ENDED = """
    WITH kept AS (SELECT statement_timestamp() - make_interval(days => $1) AS since),
    revoked AS (
        SELECT id FROM sessions WHERE revoked_at < (SELECT since FROM kept) ORDER BY revoked_at LIMIT $2
    ),
    expired AS (
        SELECT id FROM sessions WHERE revoked_at IS NULL AND expires_at < (SELECT since FROM kept)
        ORDER BY expires_at LIMIT $2
    )
    DELETE FROM sessions WHERE id IN (SELECT id FROM revoked UNION ALL SELECT id FROM expired LIMIT $2)
"""


async def delete_ended(tx: Transaction, retention_days: int, most: int) -> int:
    """Delete up to `most` sessions that ended longer ago than that."""
    done: str = await tx.execute(DELETE_ENDED, retention_days, most)
    return int(done.rpartition(" ")[2])

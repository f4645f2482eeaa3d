"""Statements of the census. Time is PostgreSQL's."""

from collections.abc import Sequence

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

from app.database import Database
from app.sessions.queries import LIVE
from db import locks

COUNT = f"""
    WITH agents AS (
        SELECT s.user_agent, count(*) AS kept, count(*) FILTER (WHERE {LIVE}) AS live FROM sessions s GROUP BY 1
    ), families AS (
        SELECT CASE WHEN f.name IS NULL THEN 'Other' ELSE f.name END AS name, sum(a.live)::bigint AS live
        FROM agents a LEFT JOIN LATERAL (
            SELECT p.name FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS p (name, pattern, number)
            WHERE a.user_agent ~* p.pattern ORDER BY p.number LIMIT 1
        ) AS f ON true GROUP BY 1
    ), opened AS (
        SELECT created_at FROM sessions WHERE revoked_at IS NULL AND created_at >= now() - make_interval(days => $3)
        UNION ALL
        SELECT created_at FROM sessions WHERE revoked_at IS NOT NULL AND created_at >= now() - make_interval(days => $3)
    ), days AS (
        SELECT (created_at AT TIME ZONE 'UTC')::date AS day, count(*) AS opened,
               count(*) FILTER (WHERE created_at > now() - interval '24 hours') AS recent
        FROM opened GROUP BY 1
    )
    SELECT now() AS as_of, (SELECT coalesce(sum(kept), 0)::bigint FROM agents) AS kept,
           (SELECT count(*) FROM (SELECT FROM sessions s WHERE {LIVE} GROUP BY s.user_id) AS people) AS active_users,
           (SELECT coalesce(sum(recent), 0)::bigint FROM days) AS created_last_24h,
           (SELECT json_object_agg(name, live) FROM families) AS by_device,
           (SELECT json_object_agg(day, coalesce(opened, 0) ORDER BY day)
            FROM generate_series(0, $3 - 1) AS back
            CROSS JOIN LATERAL (SELECT (now() AT TIME ZONE 'UTC')::date - back AS day) AS each
            LEFT JOIN days USING (day)) AS by_day
"""  # noqa: S608 - only constants are put in


async def last(
    on: "Database | PoolConnectionProxy[asyncpg.Record]", share: int, seconds: float
) -> asyncpg.Record | None:
    """The last census, and whether it is older than `share` times what it took, and than so many seconds."""
    return await on.fetchrow(
        """
        SELECT took_ms, sessions, figures,
               clock_timestamp() - counted_at > make_interval(secs => greatest($2, $1 * took_ms / 1000.0)) AS old
        FROM session_census
        """,
        share,
        seconds,
    )


async def take_turn(on: "PoolConnectionProxy[asyncpg.Record]", seconds: float) -> None:
    """Hold the lock until the transaction ends, and let its statements take so long."""
    await on.execute("SELECT set_config('statement_timeout', $1, true)", f"{round(1000 * seconds)}ms")
    await on.execute("SELECT pg_advisory_xact_lock($1)", locks.CENSUS, timeout=seconds)


async def count(
    on: "PoolConnectionProxy[asyncpg.Record]", families: Sequence[tuple[str, str]], days: int, seconds: float
) -> asyncpg.Record:
    """All sessions, by one moment's state: one core's work, and memory enough to count people without the disk."""
    await on.execute(
        "SELECT set_config('work_mem', '64MB', true), set_config('max_parallel_workers_per_gather', '0', true)"
    )
    row = await on.fetchrow(
        COUNT, [name for name, _ in families], [pattern for _, pattern in families], days, timeout=seconds
    )
    assert row is not None  # noqa: S101 - an aggregate has a row
    return row


async def keep(on: "PoolConnectionProxy[asyncpg.Record]", took_ms: int, sessions: int, figures: msgspec.Struct) -> None:
    await on.execute(
        """
        INSERT INTO session_census (counted_at, took_ms, sessions, figures) VALUES (clock_timestamp(), $1, $2, $3)
        ON CONFLICT (singleton) DO UPDATE SET counted_at = excluded.counted_at, took_ms = excluded.took_ms,
            sessions = excluded.sessions, figures = excluded.figures
        """,
        took_ms,
        sessions,
        msgspec.json.encode(figures).decode(),
    )

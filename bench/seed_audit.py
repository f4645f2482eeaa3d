"""`python -m bench.seed_audit URL [EVENTS]`: an audit trail of six months, made in PostgreSQL itself."""

import asyncio
import sys
from datetime import UTC, datetime

import asyncpg

EVENTS = 5_000_000
MONTHS = 6
USERS = 200_000
BATCH = 250_000  # events a statement

# Most are refreshes, of people who come back and of some who come all the time, from addresses that many share and few.
SEED = """
    INSERT INTO audit_events (at, event, user_id, actor_id, session_id, ip_address, user_agent, request_id, details)
    SELECT $1::timestamptz + n * ($2::timestamptz - $1) / $3, event, person, person,
           CASE WHEN person IS NOT NULL THEN md5((n / 20 * 20 + person % 20)::text)::uuid END,
           inet '10.0.0.0' + (spread ^ 3 * 16777215)::bigint, 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0)', md5(n::text),
           CASE WHEN event = 'login.failed' THEN '{"reason": "invalid_credentials"}'
                WHEN event = 'login.succeeded' THEN '{"amr": ["pwd"]}' ELSE '{}' END::jsonb
    FROM (
        SELECT n, event, random() AS spread,
               CASE WHEN event NOT IN ('login.failed', 'rate_limited')
                    THEN 1 + (random() ^ 2 * ($6 - 1))::bigint END AS person
        FROM (
            SELECT n, CASE WHEN r < 0.70 THEN 'token.refreshed' WHEN r < 0.85 THEN 'login.succeeded'
                           WHEN r < 0.93 THEN 'login.failed' WHEN r < 0.97 THEN 'logout'
                           WHEN r < 0.98 THEN 'session.revoked' WHEN r < 0.985 THEN 'user.registered'
                           WHEN r < 0.99 THEN 'password.changed' WHEN r < 0.99999 THEN 'rate_limited'
                           ELSE 'user.deleted' END AS event
            FROM (SELECT n, random() AS r FROM generate_series($4::bigint, $5::bigint) n) AS draws
        ) AS events
    ) AS drawn
"""


async def seed(url: str, events: int = EVENTS) -> None:
    """Fill the audit of a migrated database: events spread over the last MONTHS months, each in its partition."""
    connection = await asyncpg.connect(url)
    now = datetime.now(UTC)
    months = 12 * now.year + now.month - 1
    for number in range(months - MONTHS, months + 1):
        month = datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC).date()
        await connection.fetchval("SELECT audit_add_month($1)", month)
    begins = await connection.fetchval("SELECT now() - make_interval(months => $1)", MONTHS)
    await connection.execute("SELECT setseed(0.25)")
    for first in range(1, events + 1, BATCH):
        last = min(first + BATCH - 1, events)
        await connection.execute(SEED, begins, now, events, first, last, USERS)
    await connection.execute("VACUUM ANALYZE audit_events")
    await connection.close()


if __name__ == "__main__":
    asyncio.run(seed(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else EVENTS))  # noqa: PLR2004 - URL and number

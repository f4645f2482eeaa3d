"""What the commands ask PostgreSQL before they rely on it; without SQLAlchemy, because `serve` asks, too."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

import asyncpg

from app.database import CONNECT_TIMEOUT, opened_as, reachable
from app.settings import Settings

# What an ordinary role may have. Of others' rows an unprivileged role sees little more than their database.
LIMIT = """
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
     - coalesce(current_setting('reserved_connections', true), '0')::int
"""
OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datid IS NOT NULL AND pid <> pg_backend_pid()
  AND NOT ($1 AND application_name LIKE 'gatehouse%' AND client_addr IS NOT DISTINCT FROM inet_client_addr())
"""

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"  # the class itself knows no parameter


@dataclass(frozen=True)
class Budget:
    """A server that starts well and finds no connection at its first rush is worse than one that warns."""

    own: int  # what this server opens at most
    others: int  # what is open at the moment
    limit: int

    @property
    def suffices(self) -> bool:
        return self.own + self.others <= self.limit


@asynccontextmanager
async def connection(settings: Settings) -> AsyncGenerator[Connection]:
    """One connection of its own.

    Raises:
        DatabaseUnavailable: it cannot be had, or breaks.
    """
    async with reachable():
        opened = await asyncpg.connect(
            settings.database_url,
            timeout=CONNECT_TIMEOUT,
            command_timeout=CONNECT_TIMEOUT,
            **opened_as("gatehouse", pooled=settings.pooled),
        )
        try:
            yield opened
        finally:
            await opened.close(timeout=CONNECT_TIMEOUT)


BESIDE_THE_POOL = 5  # connections a worker: one polls the outbox, two each are for lists and reports of administration


async def budget(db: Connection, settings: Settings, workers: int, *, running: bool) -> Budget:
    """`running`: this server may be up already, and then its connections are not to be counted twice."""
    own = workers * (settings.database_pool_size + BESIDE_THE_POOL)
    return Budget(own, await db.fetchval(OTHERS, running), await db.fetchval(LIMIT))

"""What is counted over all sessions: for every request while they are few, and else by one replica for all of them."""

import asyncio
import time
from collections.abc import Mapping
from typing import Annotated, Literal

import asyncpg
import msgspec
import structlog
from asyncpg.pool import PoolConnectionProxy
from msgspec import Meta, Struct

from app.background import end
from app.database import STATEMENT_TIMEOUT, Database
from app.errors import Unavailable
from app.sessions import census_queries
from app.sessions.structs import Time

log = structlog.get_logger(__name__)

EXACT_SESSIONS = 20_000  # kept ones, that are counted for every request: some 10 ms
PROMPT_MS = 50  # a census that took no longer is waited for where it is too old
LEAST_SECONDS = 1.0  # that one is good for
SHARE = 50  # times what it took, that one is good for: counting takes a fiftieth of a core at most
DEADLINE = 60.0  # seconds for one: thirty times what three million sessions take
DAYS = 30  # of `by_day`, today among them

Family = Literal["Desktop", "Mobile", "Tablet", "Bot", "Other"]

# A family is told by the first of these patterns that the user agent fits, whatever its case.
FAMILIES: Mapping[Family, str] = {
    "Bot": r"bot|crawl|spider|curl|wget|python|headless|http-client|\+http",
    "Tablet": r"ipad|tablet|android(?!.*mobile)",
    "Mobile": r"mobi|iphone|ipod|android",
    "Desktop": r"windows|macintosh|linux|x11|cros",
}


class Analytics(Struct, frozen=True, kw_only=True):
    """Over all sessions there are, whatever the page shows."""

    active_sessions: int
    active_users: int
    created_last_24h: int
    by_device: Annotated[dict[Family, int], Meta(description="The live ones by family of user agent.")]
    by_day: Annotated[
        dict[str, int],
        Meta(description="Those that began on each day (UTC) of the last 30, as far as they are kept."),
    ]
    as_of: Annotated[Time, Meta(description="When this was counted.")]


class Census:
    """Reads the figures, and has them counted."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._counting: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        await end(self._counting)

    async def figures(self) -> Analytics:
        """Those of now up to EXACT_SESSIONS; beyond, the last ones there are, and they are counted again if too old.

        Raises:
            Unavailable: there are none, and the first ones take their time.
        """
        last = await census_queries.last(self._db, SHARE, LEAST_SECONDS)
        if last is None or last["old"]:
            counting = self._count_again()
            if last is None or (last["sessions"] > EXACT_SESSIONS and last["took_ms"] <= PROMPT_MS):
                await asyncio.wait((counting,), timeout=STATEMENT_TIMEOUT)
                last = await census_queries.last(self._db, SHARE, LEAST_SECONDS)
        if last is None:
            raise Unavailable
        if last["sessions"] <= EXACT_SESSIONS:
            async with self._db.connection() as connection, connection.transaction():
                analytics, _ = await _count(connection, STATEMENT_TIMEOUT)
            return analytics
        return msgspec.json.decode(last["figures"], type=Analytics)

    def _count_again(self) -> "asyncio.Task[None]":
        """One at a time in this process."""
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(self._take())
        return self._counting

    async def _take(self) -> None:
        """Take a census, unless another replica has just done so."""
        try:
            async with self._db.connection() as connection, connection.transaction():
                await census_queries.take_turn(connection, DEADLINE)
                last = await census_queries.last(connection, SHARE, LEAST_SECONDS)
                if last is not None and not last["old"]:
                    return
                started = time.monotonic()
                analytics, kept = await _count(connection, DEADLINE)
                took_ms = round(1000 * (time.monotonic() - started))
                await census_queries.keep(connection, took_ms, kept, analytics)
        except (Unavailable, asyncpg.PostgresError) as error:
            log.warning("census.failed", reason=repr(error.__cause__ or error)[:200])


async def _count(connection: "PoolConnectionProxy[asyncpg.Record]", seconds: float) -> tuple[Analytics, int]:
    """The figures, and how many sessions are kept."""
    row = await census_queries.count(connection, list(FAMILIES.items()), DAYS, seconds)
    counted: dict[str, int] = msgspec.json.decode(row["by_device"] or "{}")
    by_device: dict[Family, int] = {name: counted.get(name, 0) for name in (*FAMILIES, "Other")}
    analytics = Analytics(
        active_sessions=sum(counted.values()),
        active_users=row["active_users"],
        created_last_24h=row["created_last_24h"],
        by_device=by_device,
        by_day=msgspec.json.decode(row["by_day"]),
        as_of=row["as_of"],
    )
    return analytics, row["kept"]

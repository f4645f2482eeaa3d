"""The audit trail: pages and exports of it, newest first."""

from collections.abc import AsyncIterator
from types import GenericAlias
from uuid import UUID

import asyncpg
import msgspec

from app.asked import network, utc
from app.audit import queries
from app.audit.events import Event, record
from app.client import Client
from app.database import Database
from app.keys.cursors import Cursors
from app.trail.structs import AuditAsked, AuditEvent, AuditFilter, AuditPage

EVENTS_A_QUERY = 1000  # of an export: some 300 kB at a time
EVENT = GenericAlias(tuple, (int,))  # the last one of a page: what a cursor says


class Trail:
    """Reads the trail, on connections that no login waits for.

    Pages follow one another by id. Whoever follows the cursor meets every event once that had been committed when he
    began, and none twice; in `at` two neighbours may be out of order by the moment between taking the id and the time.
    """

    def __init__(self, db: Database, reading: Database, cursors: Cursors) -> None:
        self._db = db
        self._reading = reading
        self._cursors = cursors

    async def page(self, asked: AuditFilter, page: AuditAsked) -> AuditPage:
        """The events that are asked for, from where the cursor says.

        Raises:
            ValidationFailed: the cursor is none of this list, `ip` is no network, or the times cannot be.
        """
        about, wanted = msgspec.json.encode(("audit", asked)), _wanted(asked)
        before = None if page.cursor is None else self._cursors.open(about, page.cursor, EVENT)[0]
        items, last = await self._read(wanted, before, page.page_size)
        return AuditPage(items=items, next_cursor=None if last is None else self._cursors.seal(about, (last,)))

    async def export(
        self, asked: AuditFilter, actor_id: int, session_ids: list[UUID], client: Client
    ) -> AsyncIterator[bytes]:
        """All of them, a line of JSON each. That somebody took them out is an event itself, before the first line.

        Raises:
            ValidationFailed: as they say.
        """
        wanted = _wanted(asked)
        said = {name: value for name, value in msgspec.to_builtins(asked).items() if value is not None}
        async with self._db.transaction() as tx:
            await record(
                tx, Event.AUDIT_EXPORTED, client, actor_id=actor_id, session_ids=session_ids, details={"filter": said}
            )
        return self._lines(wanted)

    async def _lines(self, wanted: queries.Wanted) -> AsyncIterator[bytes]:
        """No connection is held while a reader takes his time."""
        last: int | None = None
        while True:
            items, last = await self._read(wanted, last, EVENTS_A_QUERY)
            if items:
                yield msgspec.json.Encoder().encode_lines(items)
            if last is None:
                return

    async def _read(self, wanted: queries.Wanted, before: int | None, most: int) -> tuple[list[AuditEvent], int | None]:
        """Up to `most` events before this id, and the last one's id if there are more."""
        rows: list[asyncpg.Record] = []
        async with self._reading.snapshot() as tx:
            await queries.plan_anew(tx)
            for low, high in await queries.regions(tx, wanted.since, wanted.until):
                top = high if before is None else min(high, before - 1)
                if low < top and len(rows) <= most:
                    rows += await queries.page(tx, wanted, low, top, most + 1 - len(rows))
        items = [AuditEvent(**{**row, "details": msgspec.json.decode(row["details"])}) for row in rows[:most]]
        return items, items[-1].id if len(rows) > most else None


def _wanted(asked: AuditFilter) -> queries.Wanted:
    within = None if asked.ip is None else network(asked.ip)
    return queries.Wanted(
        user_id=asked.user_id,
        event=asked.event,
        first=None if within is None else str(within[0]),
        last=None if within is None else str(within[-1]),
        since=None if asked.since is None else utc(asked.since, "since"),
        until=None if asked.until is None else utc(asked.until, "until"),
    )

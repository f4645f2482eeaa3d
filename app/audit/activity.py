"""What happened to a user, as he may read it himself."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from app.database import Database

PAGE = 50  # events
FIRST = 2**63 - 1  # an id above all there are

CursorText = Annotated[str, Meta(min_length=1, max_length=128, description="`next_cursor` of the page before.")]
PageSize = Annotated[int, Meta(ge=1, le=200, description="Events of a page, at most 200.")]


class ActivityAsked(Struct, frozen=True):
    """Which page."""

    cursor: CursorText | None
    page_size: PageSize


class ActivityItem(Struct, frozen=True, kw_only=True):
    """An audit event. Of what somebody else did there is no address and no program: they are his."""

    id: int
    at: Annotated[datetime, Meta(tz=True, description="RFC 3339, in UTC.")]
    event: str
    user_id: int | None
    actor_id: int | None
    session_id: UUID | None
    ip_address: str | None
    user_agent: str | None
    request_id: str | None
    details: dict[str, Any]


class ActivityPage(Struct, frozen=True, kw_only=True):
    items: list[ActivityItem]
    next_cursor: str | None


async def activity(
    db: Database, user_id: int, before: int | None, most: int, *, with_acts: bool = False
) -> tuple[list[ActivityItem], int | None]:
    """A user's events, newest first, those before this id alone, and where the rest begins.

    `with_acts` also what he did to others.
    """
    rows = await db.fetch(
        """
        SELECT id, at, event, user_id, actor_id,
               CASE WHEN coalesce(actor_id, user_id) = $1 THEN session_id END AS session_id,
               CASE WHEN coalesce(actor_id, user_id) = $1 THEN host(ip_address) END AS ip_address,
               CASE WHEN coalesce(actor_id, user_id) = $1 THEN user_agent END AS user_agent,
               CASE WHEN coalesce(actor_id, user_id) = $1 THEN request_id END AS request_id, details
        FROM audit_events WHERE (user_id = $1 OR ($4 AND actor_id = $1)) AND id < $2 ORDER BY id DESC LIMIT $3
        """,
        user_id,
        FIRST if before is None else before,
        most + 1,
        with_acts,
    )
    items = [ActivityItem(**{**row, "details": msgspec.json.decode(row["details"])}) for row in rows[:most]]
    return items, items[-1].id if len(rows) > most else None

"""What happened to a user, as he may read it himself."""

import struct
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from app import base64url
from app.database import Database
from app.errors import ValidationFailed

PAGE = 50  # events
FIRST = 2**63 - 1  # an id above all there are

CursorText = Annotated[str, Meta(min_length=1, max_length=64, description="`next_cursor` of the page before.")]
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
    db: Database, user_id: int, cursor: str | None, page_size: int, *, with_acts: bool = False
) -> ActivityPage:
    """A user's events, newest first, from behind the cursor on; `with_acts` also what he did to others.

    Raises:
        ValidationFailed: the cursor is none of ours.
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
        FIRST if cursor is None else _before(cursor),
        page_size + 1,
        with_acts,
    )
    items = [ActivityItem(**{**row, "details": msgspec.json.decode(row["details"])}) for row in rows[:page_size]]
    more = len(rows) > page_size
    return ActivityPage(items=items, next_cursor=_cursor(items[-1].id) if more else None)


def _cursor(event_id: int) -> str:
    return base64url.encode(struct.pack(">q", event_id))


def _before(cursor: str) -> int:
    try:
        (event_id,) = struct.unpack(">q", base64url.decode(cursor))
    except (ValueError, struct.error):
        raise ValidationFailed(("cursor", "is not one of this list")) from None
    return int(event_id)

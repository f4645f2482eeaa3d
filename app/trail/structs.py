"""What is asked of the trail and the analytics, and what they answer."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from app.asked import NetworkText
from app.audit.activity import ActivityItem
from app.audit.events import Event

UserId = Annotated[int, Meta(ge=1, le=2**63 - 1, description="Whom it happened to.")]
FROM, BEFORE = "From this time on (RFC 3339, with `Z` or an offset).", "Before this time (RFC 3339)."
Since = Annotated[datetime, Meta(tz=True, description=FROM)]
Until = Annotated[datetime, Meta(tz=True, description=BEFORE)]
# Of a query, where Litestar would take a number of seconds for a time.
SinceText = Annotated[str, Meta(max_length=40, description=FROM, extra_json_schema={"format": "date-time"})]
UntilText = Annotated[str, Meta(max_length=40, description=BEFORE, extra_json_schema={"format": "date-time"})]
EventName = Annotated[Event, Meta(description="What happened.")]
CursorText = Annotated[
    str, Meta(min_length=1, max_length=4096, description="`next_cursor` of a page of this list, filtered alike.")
]
PageSize = Annotated[int, Meta(ge=1, le=200, description="Events of a page, at most 200.")]
Bucket = Annotated[Literal["hour", "day", "week", "month"], Meta(description="What a point stands for.")]
ZoneName = Annotated[
    str, Meta(min_length=1, max_length=64, description="IANA's name of the time zone whose days and hours are meant.")
]

Time = Annotated[datetime, Meta(tz=True)]


class AuditFilter(Struct, frozen=True, kw_only=True):
    """Which events; what is None makes no difference."""

    user_id: UserId | None
    event: EventName | None
    ip: NetworkText | None
    since: Since | None
    until: Until | None


class AuditAsked(Struct, frozen=True):
    """Which page."""

    cursor: CursorText | None
    page_size: PageSize


class AuditEvent(ActivityItem, frozen=True, kw_only=True):
    """What happened to `user_id`, by `actor_id`: nobody where a schedule, the command line or a stranger did it."""


class AuditPage(Struct, frozen=True, kw_only=True):
    items: list[AuditEvent]
    next_cursor: str | None


class AnalyticsAsked(Struct, frozen=True, kw_only=True):
    """Which points."""

    since: Since | None
    until: Until | None
    bucket: Bucket
    tz: ZoneName


class Point(Struct, frozen=True, kw_only=True):
    """From `begins` to the next point. Who signed in or refreshed is active, with his session."""

    begins: Time
    logins: int
    failures: Annotated[dict[str, int], Meta(description="Refused logins, by reason.")]
    refreshes: int
    registrations: int
    active_users: Annotated[int, Meta(description="Estimated: by 0.3 % at 100,000, nearly exact below 1,000.")]
    active_sessions: Annotated[int, Meta(description="Estimated in the same way.")]


class AnalyticsReport(Struct, frozen=True, kw_only=True):
    """A point for each hour, day, week (from Monday) or month that the time asked for touches, whole."""

    since: Annotated[datetime, Meta(tz=True, description="Where the first point begins.")]
    until: Annotated[datetime, Meta(tz=True, description="Where the last point ends.")]
    bucket: Bucket
    tz: str
    as_of: Annotated[
        datetime | None,
        Meta(description="What happened until then is counted; null while what there was at first still is."),
    ]
    points: list[Point]

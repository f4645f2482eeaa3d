"""The audit trail and the analytics, for who may read them."""

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import FromQuery
from litestar.response import Stream
from litestar.status_codes import HTTP_200_OK

from app.asked import NetworkText
from app.client import Client
from app.problems import convert
from app.request import NDJSON
from app.sessions.caller import Caller, Judge, long_answer, requires
from app.trail.analytics import Analytics
from app.trail.service import Trail
from app.trail.structs import (
    AnalyticsAsked,
    AnalyticsReport,
    AuditAsked,
    AuditEvent,
    AuditFilter,
    AuditPage,
    Bucket,
    CursorText,
    EventName,
    PageSize,
    SinceText,
    UntilText,
    UserId,
    ZoneName,
)

READ = [requires("audit:read")]


class AuditController(Controller):
    tags = ("audit",)

    @get("/audit", guards=READ, operation_id="read_audit", summary="The audit trail")
    async def read(
        self,
        trail: NamedDependency[Trail],
        user_id: FromQuery[UserId | None] = None,
        event: FromQuery[EventName | None] = None,
        ip: FromQuery[NetworkText | None] = None,
        since: FromQuery[SinceText | None] = None,
        until: FromQuery[UntilText | None] = None,
        cursor: FromQuery[CursorText | None] = None,
        page_size: FromQuery[PageSize] = 50,
    ) -> AuditPage:
        """Newest first. Who follows `next_cursor` meets every event once; what happens meanwhile is not among them."""
        asked = convert({"user_id": user_id, "event": event, "ip": ip, "since": since, "until": until}, AuditFilter)
        return await trail.page(asked, convert({"cursor": cursor, "page_size": page_size}, AuditAsked))

    @get(
        "/audit/export",
        guards=READ,
        operation_id="export_audit",
        summary="The audit trail as a file",
        media_type=NDJSON,
        answers={HTTP_200_OK: AuditEvent},
    )
    async def export(
        self,
        caller: Caller,
        judge: NamedDependency[Judge],
        client: NamedDependency[Client],
        trail: NamedDependency[Trail],
        user_id: FromQuery[UserId | None] = None,
        event: FromQuery[EventName | None] = None,
        ip: FromQuery[NetworkText | None] = None,
        since: FromQuery[SinceText | None] = None,
        until: FromQuery[UntilText | None] = None,
    ) -> Stream:
        """An event a line, as in `GET /audit`, newest first. The export is an event of the trail itself.

        One that breaks off has lost its database, or its caller has lost the right to it.
        """
        asked = convert({"user_id": user_id, "event": event, "ip": ip, "since": since, "until": until}, AuditFilter)
        lines = await trail.export(asked, caller.user_id, [caller.session_id], client)
        headers = {"Content-Disposition": 'attachment; filename="gatehouse-audit.ndjson"'}
        return Stream(await long_answer(lines, judge), media_type=NDJSON, headers=headers)

    @get("/analytics", guards=READ, operation_id="read_analytics", summary="What happens how often")
    async def read_analytics(
        self,
        analytics: NamedDependency[Analytics],
        since: FromQuery[SinceText | None] = None,
        until: FromQuery[UntilText | None] = None,
        bucket: FromQuery[Bucket] = "hour",
        tz: FromQuery[ZoneName] = "UTC",
    ) -> AnalyticsReport:
        """Logins, refused ones by reason, refreshes, registrations, active users and sessions: a point a bucket.

        Without `until` up to now; without `since` the last 24 hours, 30 days, 12 weeks or 12 months by `bucket`. Points
        are whole buckets, at most 1,000 of them. Kept as long as the audit trail.
        """
        asked = convert({"since": since, "until": until, "bucket": bucket, "tz": tz}, AnalyticsAsked)
        return await analytics.report(asked)

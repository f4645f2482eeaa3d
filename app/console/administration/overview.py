"""The start page of administration: who is here now, what has happened lately, and how the service is."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from litestar import Controller, Response, get
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers.base import BaseRouteHandler
from msgspec import Struct

from app.console.administration.query import Query, Zone
from app.console.charts import Chart, Series, bars, lines, written
from app.console.languages import mark, translated
from app.console.visit import ADMINISTRATION, Visit
from app.errors import Forbidden, Unavailable
from app.health.service import Health
from app.health.structs import Check, Status
from app.identity.listing import UserFilter, UserList
from app.listing import Asked
from app.mail.sender import Sender
from app.sessions.authenticator import Identified, Subject
from app.sessions.census import Analytics as Figures
from app.sessions.census import Census
from app.trail.analytics import Analytics
from app.trail.structs import AnalyticsAsked, AnalyticsReport, Bucket, Point

T = TypeVar("T")

MOST_REASONS = 5  # why sign-ins failed, each in a colour; the others together
EVERYBODY = UserFilter(search=None, is_active=None, is_admin=None, role=None)
ONE = Asked(page=1, page_size=1, cursor=None)
PARTS = {
    "database": mark("Database"),
    "migrations": mark("Schema"),
    "valkey": mark("Cache"),
    "gpustack": mark("GPUStack"),
    "mail": mark("Mail"),
}
REASONS = {
    "invalid_credentials": mark("Wrong name or password"),
    "unknown_user": mark("Unknown user"),
    "wrong_password": mark("Wrong password"),
    "inactive": mark("Account not active"),
    "": mark("No reason noted"),
}


class Range(Struct, frozen=True):
    """What the charts show."""

    label: str
    bucket: Bucket
    back: timedelta | None  # to where the first point begins; None leaves it to the analytics


RANGES: Mapping[str, Range] = {
    "24h": Range(mark("24 hours"), "hour", None),
    "7d": Range(mark("7 days"), "day", timedelta(days=6)),
    "30d": Range(mark("30 days"), "day", timedelta(days=29)),
    "12m": Range(mark("12 months"), "month", timedelta(days=335)),
}
USUAL = "24h"


async def administers(connection: ASGIConnection[Any, Identified[Subject], Any, Any], _: BaseRouteHandler) -> None:
    """A guard: lets in whoever has any right among those of administration."""
    if not any(connection.user.may(each) for each in ADMINISTRATION):
        raise Forbidden(mark("This page is for administrators."))


class OverviewPage(Controller):
    guards = (administers,)

    @get("/")
    async def show(
        self,
        visit: NamedDependency[Visit],
        asks: NamedDependency[Query],
        zone: NamedDependency[Zone],
        user_list: NamedDependency[UserList],
        census: NamedDependency[Census],
        analytics: NamedDependency[Analytics],
        health: NamedDependency[Health],
        sender: NamedDependency[Sender],
    ) -> Response[bytes]:
        span = asks.get("span", USUAL)
        span = span if span in RANGES else USUAL
        users, now_here, report, checks = await asyncio.gather(  # from pools of their own
            _if(visit.may("users:read"), lambda: user_list.page(EVERYBODY, "-created_at", ONE)),
            _if(visit.may("sessions:read"), lambda: _now_here(census)),
            _if(visit.may("audit:read"), lambda: _report(analytics, RANGES[span], zone)),
            _if(visit.may("system:maintain"), lambda: _checks(health, sender)),
        )
        counted = None if report is None else _drawn(report, zone)
        known: dict[str, Any] = {
            "users": users,
            "now_here": now_here,
            "counted": counted,
            "checks": checks,
            "mail": sender,
        }
        return visit.page("admin/overview.html", ranges=RANGES, span=span, zone=zone, query=asks, **known)


async def _if(allowed: bool, read: Callable[[], Awaitable[T]]) -> T | None:  # noqa: FBT001 - it is what it says
    return await read() if allowed else None


async def _report(analytics: Analytics, shown: Range, zone: Zone) -> AnalyticsReport:
    since = None if shown.back is None else datetime.now(UTC) - shown.back
    return await analytics.report(AnalyticsAsked(since=since, until=None, bucket=shown.bucket, tz=zone.name))


async def _now_here(census: Census) -> Figures | None:
    try:
        return await census.figures()
    except Unavailable:  # they are being counted for the first time
        return None


async def _checks(health: Health, sender: Sender) -> Mapping[str, Check]:
    _, checks = await health.checks()
    return {PARTS[name]: check for name, check in checks.items()} | {PARTS["mail"]: _mail(sender)}


def _mail(sender: Sender) -> Check:
    """As this process sees its server."""
    if not sender.available:
        return Check(Status.UNKNOWN, None)
    return Check(Status.DOWN if sender.away else Status.OK, None)


def _drawn(report: AnalyticsReport, zone: Zone) -> Mapping[str, Any]:
    points = report.points
    texts = [written(point.begins, zone.info, report.bucket) for point in points]
    whens, labels = [full for full, _ in texts], [short for _, short in texts]

    def chart(kind: Any, *series: tuple[str, Sequence[int]]) -> Chart:  # noqa: ANN401 - bars or lines
        drawn: Chart = kind(
            whens, labels, [Series(translated(name), values, n) for n, (name, values) in enumerate(series, 1)]
        )
        return drawn

    failed = [sum(point.failures.values()) for point in points]
    return {
        "sign_ins": chart(bars, (mark("Signed in"), [point.logins for point in points]), (mark("Refused"), failed)),
        "reasons": chart(bars, *_by_reason(points)),
        "active": chart(
            lines,
            (mark("Users"), [point.active_users for point in points]),
            (mark("Sessions"), [point.active_sessions for point in points]),
        ),
        "registrations": chart(bars, (mark("Sign-ups"), [point.registrations for point in points])),
    }


def _by_reason(points: Sequence[Point]) -> list[tuple[str, list[int]]]:
    """The commonest reasons by themselves, the others together."""
    total: Counter[str] = Counter()
    for point in points:
        total.update(point.failures)
    common = [reason for reason, _ in total.most_common(MOST_REASONS)]
    series = [
        (
            REASONS.get(reason, reason.replace("_", " ").capitalize()),
            [point.failures.get(reason, 0) for point in points],
        )
        for reason in common
    ]
    if len(total) > MOST_REASONS:
        rest = [sum(number for reason, number in each.failures.items() if reason not in common) for each in points]
        series.append((mark("Others"), rest))
    return series or [(mark("Refused"), [0] * len(points))]

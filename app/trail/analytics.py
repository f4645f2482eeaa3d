"""Points over time, of what was counted as it happened (app/audit/rollup.py); the events are not looked at."""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise, takewhile
from zoneinfo import ZoneInfo

from app.asked import utc
from app.audit import bitmaps, queries
from app.audit.events import Event
from app.audit.rollup import RollUp
from app.database import Database, Transaction
from app.errors import ValidationFailed
from app.trail.structs import AnalyticsAsked, AnalyticsReport, Bucket, Point

MOST_POINTS = 1000  # of an answer: six weeks of hours
OLDEST, NEWEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)  # when anything can have happened

# A point that ended so long ago changes no more: no transaction of ours that dates an event takes as long to commit it.
FINAL = timedelta(minutes=10)
MOST_KEPT = 5_000  # such points that a process has at hand: 2 MB
KEEP_SECONDS = 3600  # until retention may have taken their events, or a restored backup lack them: they did happen

HOUR = timedelta(hours=1)
SHOWN = {
    "hour": timedelta(hours=24),
    "day": timedelta(days=30),
    "week": timedelta(weeks=12),
    "month": timedelta(days=365),
}


class Analytics:
    """What happened how often, and how many were active."""

    def __init__(self, reading: Database, roll_up: RollUp) -> None:
        self._reading = reading
        self._roll_up = roll_up
        self._final = _Final()

    async def report(self, asked: AnalyticsAsked) -> AnalyticsReport:
        """A point a bucket, also where nothing happened.

        Raises:
            ValidationFailed: the times cannot be, or are too many buckets; there is no such time zone.
        """
        bounds = bounds_of(asked, datetime.now(UTC))
        points = self._final.beginning(bounds)
        await self._roll_up.catch_up()
        async with self._reading.snapshot() as tx:
            as_of = (await queries.progress(tx)).as_of
            if len(points) < len(bounds) - 1:
                points += await _counted(tx, bounds[len(points) :])
        if as_of is not None:
            self._final.keep(bounds, points, as_of - FINAL)
        return AnalyticsReport(
            since=bounds[0], until=bounds[-1], bucket=asked.bucket, tz=asked.tz, as_of=as_of, points=points
        )


class _Final:
    """Points that change no more, by where they begin and end: most of a year is not put together anew."""

    def __init__(self) -> None:
        self._points: dict[tuple[datetime, datetime], Point] = {}
        self._since = time.monotonic()

    def beginning(self, bounds: Sequence[datetime]) -> list[Point]:
        """The points of these times, up to the first that is not kept."""
        if time.monotonic() - self._since > KEEP_SECONDS or len(self._points) > MOST_KEPT:
            self._points, self._since = {}, time.monotonic()
        return [self._points[span] for span in takewhile(self._points.__contains__, pairwise(bounds))]

    def keep(self, bounds: Sequence[datetime], points: Sequence[Point], final: datetime) -> None:
        self._points.update(
            (span, point) for span, point in zip(pairwise(bounds), points, strict=True) if span[1] <= final
        )


async def _counted(tx: Transaction, bounds: Sequence[datetime]) -> list[Point]:
    """The points between these times."""
    counts, active = await queries.counts(tx, bounds), await queries.active(tx, bounds)
    happened: dict[int, dict[str, dict[str, int]]] = {}
    for row in counts:
        happened.setdefault(row["point"], {}).setdefault(row["event"], {})[row["reason"]] = row["count"]
    seen = {row["point"]: row for row in active}
    points = []
    for number, begins in enumerate(bounds[:-1]):
        of = happened.get(number, {})
        users, sessions = (seen[number]["users"], seen[number]["sessions"]) if number in seen else (0, 0)
        points.append(
            Point(
                begins=begins,
                logins=_all(of, Event.LOGIN_SUCCEEDED),
                failures=of.get(Event.LOGIN_FAILED, {}),
                refreshes=_all(of, Event.TOKEN_REFRESHED),
                registrations=_all(of, Event.USER_REGISTERED),
                active_users=bitmaps.number(users),
                active_sessions=bitmaps.number(sessions),
            )
        )
    return points


def _all(happened: Mapping[str, Mapping[str, int]], event: Event) -> int:
    return sum(happened.get(event, {}).values())


def bounds_of(asked: AnalyticsAsked, now: datetime) -> list[datetime]:
    """Where the points that hold the time asked for begin, and where the last one ends; in UTC.

    An hour has 60 minutes, and a day as many hours as its clocks show; days, weeks and months begin at midnight there.

    Raises:
        ValidationFailed: as of `report`.
    """
    zone = _zone(asked.tz)
    until = now if asked.until is None else utc(asked.until, "until")
    since = max(OLDEST, until - SHOWN[asked.bucket]) if asked.since is None else utc(asked.since, "since")
    for name, at in (("since", since), ("until", until)):
        if not OLDEST <= at < NEWEST:
            raise ValidationFailed((name, "lies outside of the years 2000 to 2199"))
    if since >= until:
        raise ValidationFailed(("until", "does not lie after `since`"))
    steps = _steps(since, zone, asked.bucket)
    bounds = [next(steps)]
    while bounds[-1] < until:
        if len(bounds) > MOST_POINTS:
            raise ValidationFailed(("bucket", f"makes more than {MOST_POINTS:,} points of this time"))
        bounds.append(next(steps))
    return bounds


def _steps(since: datetime, zone: tzinfo, bucket: Bucket) -> Iterator[datetime]:
    """Where buckets begin, from the one that holds this time on, each later than the one before."""
    local = since.astimezone(zone)
    if bucket == "hour":
        begins = since - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        while True:
            yield begins
            begins += HOUR
    day, last = local.date(), OLDEST - timedelta(days=32)  # before the month that holds the first moment there is
    if bucket == "week":
        day -= timedelta(days=day.weekday())
    elif bucket == "month":
        day = day.replace(day=1)
    while True:
        begins = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
        if begins > last:  # no day at all where the date line was moved over an island
            yield begins
        last = begins
        if bucket == "month":
            day = (day + timedelta(days=31)).replace(day=1)
        else:
            day += timedelta(days=7 if bucket == "week" else 1)


def _zone(name: str) -> tzinfo:
    """Raises ValidationFailed where there is none of this name."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # no such file, no name of a file, a directory
        raise ValidationFailed(("tz", "is not the name of a time zone (IANA)")) from None

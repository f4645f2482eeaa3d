"""What happened how often: a point a bucket, in whatever zone, as soon as it has happened."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from httpx import AsyncClient

from app.audit.rollup import RollUp
from app.database import Database
from app.errors import ValidationFailed
from app.trail import analytics as analytics_module
from app.trail.analytics import MOST_POINTS, Analytics, bounds_of
from app.trail.structs import AnalyticsAsked, AnalyticsReport
from tests.kit import SignedIn, from_ip, log_in, problem, register

NOW = datetime(2026, 11, 21, 22, 40, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def asked(bucket: str = "hour", tz: str = "UTC", since: str | None = None, until: str | None = None) -> AnalyticsAsked:
    return AnalyticsAsked(since=since and at(since), until=until and at(until), bucket=bucket, tz=tz)  # type: ignore[arg-type]


def bounds(*given: Any) -> list[str]:
    return [f"{each:%Y-%m-%d %H:%M}" for each in bounds_of(asked(*given), NOW)]


# ---- buckets ------------------------------------------------------------------------------------------------------


BUCKETS = [
    ("hour UTC 2026-01-01T09:30 2026-01-01T11:00", "01-01 09:00, 01-01 10:00, 01-01 11:00"),
    ("hour Asia/Kolkata 2026-01-01T09:10 2026-01-01T09:40", "01-01 08:30, 01-01 09:30, 01-01 10:30"),
    ("hour Europe/Berlin 2026-10-25T00:30 2026-10-25T02:00", "10-25 00:00, 10-25 01:00, 10-25 02:00"),
    ("day Asia/Kathmandu 2026-01-01T12:00 2026-01-01T18:16", "12-31 18:15, 01-01 18:15, 01-02 18:15"),
    ("day Europe/Berlin 2026-03-28T12:00 2026-03-30T01:00", "03-27 23:00, 03-28 23:00, 03-29 22:00, 03-30 22:00"),
    ("day Pacific/Apia 2011-12-29T12:00 2011-12-30T12:00", "12-29 10:00, 12-30 10:00, 12-31 10:00"),  # without a 30th
    ("day Africa/Cairo 2026-04-23T12:00 2026-04-24T12:00", "04-22 22:00, 04-23 22:00, 04-24 21:00"),  # from one o'clock
    ("week UTC 2026-11-21T22:00 2026-11-23T00:00", "11-16 00:00, 11-23 00:00"),
    ("month America/New_York 2026-01-31T12:00 2026-03-02T00:00", "01-01 05:00, 02-01 05:00, 03-01 05:00, 04-01 04:00"),
    ("month America/New_York 2000-01-01T00:00 2000-01-01T12:00", "12-01 05:00, 01-01 05:00, 02-01 05:00"),
    ("week UTC 2000-01-01T00:00 2000-01-01T12:00", "12-27 00:00, 01-03 00:00"),
    ("month UTC 2025-12-31T12:00 2026-01-01T00:01", "12-01 00:00, 01-01 00:00, 02-01 00:00"),
]


@pytest.mark.parametrize(("given", "expected"), BUCKETS)
def test_buckets_begin_where_clocks_there_say_so(given: str, expected: str) -> None:
    assert ", ".join(bound.partition("-")[2] for bound in bounds(*given.split())) == expected


@pytest.mark.parametrize(
    ("bucket", "points", "first"),
    [
        ("hour", 25, "2026-11-20 22:00"),
        ("day", 31, "2026-10-22 00:00"),
        ("week", 13, "2026-08-24 00:00"),
        ("month", 13, "2025-11-01 00:00"),
    ],
)
def test_without_a_beginning_the_last_of_them_are_shown(bucket: str, points: int, first: str) -> None:
    found = bounds(bucket)

    assert (len(found) - 1, found[0]) == (points, first)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (("hour", "Mars/Olympus"), "tz"),
        (("hour", "../../etc/passwd"), "tz"),
        (("hour", "/etc/passwd"), "tz"),
        (("hour", "America"), "tz"),
        (("hour", "a\0b"), "tz"),
        (("hour", "Ü"), "tz"),
        (("hour", "UTC", "2026-01-02 00:00", "2026-01-02 00:00"), "until"),
        (("hour", "UTC", "2027-01-01 00:00"), "until"),
        (("hour", "UTC", "1999-12-31 23:59"), "since"),
        (("hour", "UTC", None, "2200-01-01 00:00"), "until"),
        (("hour", "UTC", "2026-01-01 00:00"), "bucket"),
        (("month", "UTC", "2000-01-01 00:00", "2199-12-31 00:00"), "bucket"),
    ],
)
def test_what_makes_no_points_is_refused(given: tuple[Any, ...], field: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        bounds(*given)

    assert [error["field"] for error in refused.value.errors] == [field]


def test_as_many_points_as_there_may_be() -> None:
    since = at("2026-01-01 00:00")
    until = since + MOST_POINTS * timedelta(hours=1)
    most = AnalyticsAsked(since=since, until=until, bucket="hour", tz="UTC")

    assert len(bounds_of(most, NOW)) == MOST_POINTS + 1
    with pytest.raises(ValidationFailed):
        bounds_of(msgspec.structs.replace(most, until=until + timedelta(seconds=1)), NOW)


# ---- what is in them ----------------------------------------------------------------------------------------------


async def happened(
    owner: Database, event: str, when: str, user: int | None = None, session: int = 0, details: str = "{}"
) -> None:
    await owner.execute(
        """
        INSERT INTO audit_events (event, at, user_id, actor_id, session_id, details)
        VALUES ($1, $2, $3, $3, md5(nullif($4, 0)::text)::uuid, $5)
        """,
        event,
        at(when),
        user,
        session,
        details,
    )


async def report(owner: Database, *given: str) -> AnalyticsReport:
    return await Analytics(owner, RollUp(owner)).report(asked(*given))


async def test_what_happens_is_in_the_point_of_its_hour(owner: Database) -> None:
    await happened(owner, "login.succeeded", "2026-05-01 09:59:59", 1, 1)
    await happened(owner, "login.succeeded", "2026-05-01 10:00", 1, 2)
    await happened(owner, "token.refreshed", "2026-05-01 10:20", 1, 2)
    await happened(owner, "token.refreshed", "2026-05-01 10:59:59", 2, 3)
    await happened(owner, "login.failed", "2026-05-01 10:30", details='{"reason": "invalid_credentials"}')
    await happened(owner, "login.failed", "2026-05-01 10:31", 1, details='{"reason": "invalid_credentials"}')
    await happened(owner, "login.failed", "2026-05-01 10:32", details='{"reason": "invalid_mfa"}')
    await happened(owner, "user.registered", "2026-05-01 10:40", 4)
    await happened(owner, "logout", "2026-05-01 10:41", 5, 5)

    found = await report(owner, "hour", "UTC", "2026-05-01 09:00", "2026-05-01 12:00")

    nine, ten, eleven = found.points
    assert (nine.begins, nine.logins, nine.active_users, nine.active_sessions) == (at("2026-05-01 09:00"), 1, 1, 1)
    assert (ten.logins, ten.refreshes, ten.registrations, ten.active_users, ten.active_sessions) == (1, 2, 1, 2, 2)
    assert ten.failures == {"invalid_credentials": 2, "invalid_mfa": 1}
    assert (eleven.logins, eleven.failures, eleven.active_users) == (0, {}, 0)
    assert found.as_of is not None
    assert (found.since, found.until) == (at("2026-05-01 09:00"), at("2026-05-01 12:00"))


async def test_who_is_active_in_two_hours_is_one_of_the_day(owner: Database) -> None:
    await owner.execute(
        """
        INSERT INTO audit_events (event, at, user_id, session_id)
        SELECT 'token.refreshed', timestamptz '2026-05-01 00:10Z' + hour * interval '1 hour', u, md5(u::text)::uuid
        FROM generate_series(0, 23) AS hour, generate_series(1, 10 + hour) AS u
        """
    )

    (day,) = (await report(owner, "day", "UTC", "2026-05-01 00:00", "2026-05-02 00:00")).points
    berlin = (await report(owner, "day", "Europe/Berlin", "2026-04-30 22:00", "2026-05-02 22:00")).points

    assert (day.active_users, day.active_sessions, day.refreshes) == (33, 33, sum(range(10, 34)))
    assert [point.active_users for point in berlin] == [31, 33]


async def test_many_are_told_to_one_per_cent(owner: Database) -> None:
    """What more of them are told to shows tests/audit/test_bitmaps.py."""
    await owner.execute(
        """
        INSERT INTO audit_events (event, at, user_id, session_id)
        SELECT 'login.succeeded', timestamptz '2026-05-01 10:00Z' + n % 3 * interval '1 hour', n % 20000,
               md5((n % 20000)::text)::uuid FROM generate_series(1, 30000) n
        """
    )

    (day,) = (await report(owner, "day", "UTC", "2026-05-01 00:00", "2026-05-02 00:00")).points

    assert day.logins == 30_000
    assert abs(day.active_users - 20_000) < 250
    assert abs(day.active_sessions - 20_000) < 250


async def test_what_is_over_is_counted_once_and_what_goes_on_every_time(owner: Database) -> None:
    analytics = Analytics(owner, RollUp(owner))
    now = datetime.now(UTC).replace(tzinfo=None)
    over, going_on = f"{now - timedelta(days=2):%Y-%m-%d} 10:00", f"{now:%Y-%m-%d %H:%M:%S}"
    wanted = asked("day", "UTC", over, going_on)
    for when in (over, going_on):
        await happened(owner, "login.succeeded", when, 1, 1)
    first = await analytics.report(wanted)
    for when in (over, going_on):  # the one as if it had been dated days ago, which nothing is
        await happened(owner, "login.succeeded", when, 2, 2)

    again, other = await analytics.report(wanted), await analytics.report(asked("hour", "UTC", over, over[:-2] + "30"))

    assert again.points[0] == first.points[0]
    assert again.points[-1].logins == first.points[-1].logins + 1
    assert len(again.points) == 3
    assert [point.logins for point in other.points] == [2]


async def test_what_is_kept_of_the_past_has_bounds(owner: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analytics_module, "MOST_KEPT", 40)
    analytics = Analytics(owner, RollUp(owner))

    for zone in ("UTC", "Europe/Berlin", "Asia/Kathmandu"):
        await analytics.report(asked("hour", zone, "2026-05-01 00:00", "2026-05-02 00:00"))

    assert len(analytics._final._points) <= 40 + 25


# ---- over HTTP ----------------------------------------------------------------------------------------------------


async def sums(admin: SignedIn) -> dict[str, int]:
    answer = await admin.ask("GET", "/analytics", params={"bucket": "day", "tz": "Asia/Kolkata"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["bucket"], body["tz"]) == ("day", "Asia/Kolkata")
    assert len(body["points"]) in (30, 31)
    totals = {name: sum(point[name] for point in body["points"]) for name in ("logins", "refreshes", "registrations")}
    return totals | {"failures": sum(sum(point["failures"].values()) for point in body["points"])}


async def test_what_has_just_happened_is_in_the_answer(client: AsyncClient, admin: SignedIn) -> None:
    before = await sums(admin)
    ada = await register(client)
    session = await log_in(client, ada)
    await session.refreshed()
    await client.post("/login", json={"username": ada.username, "password": "wrong horse"}, headers=from_ip())

    after = await sums(admin)

    assert {name: after[name] - before[name] for name in after} == {
        "logins": 1,
        "refreshes": 1,
        "registrations": 1,
        "failures": 1,
    }


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"bucket": "minute"}, "bucket"),
        ({"tz": ""}, "tz"),
        ({"tz": "Nowhere"}, "tz"),
        ({"since": "2026-01-01"}, "since"),
        ({"since": "1767614400"}, "since"),
        ({"since": "0001-01-01T00:00:00+14:00"}, "since"),
        ({"until": "1990-01-01T00:00:00Z"}, "until"),
    ],
)
async def test_what_cannot_be_is_refused(admin: SignedIn, asked: dict[str, str], field: str) -> None:
    refused = problem(await admin.ask("GET", "/analytics", params=asked), 422, "validation_failed")

    assert [error["field"] for error in refused["errors"]] == [field]

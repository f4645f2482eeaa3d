"""The audit trail: every event once, newest first, by whatever is asked for."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest
from httpx import AsyncClient
from litestar.exceptions.base_exceptions import LitestarException

from app.audit import queries
from app.audit.rollup import RollUp
from app.database import Database, DatabaseUnavailable
from app.keys.cursors import Cursors
from app.parts import Parts
from app.trail import service
from app.trail.service import Trail
from app.trail.structs import AuditAsked, AuditFilter
from tests.identity.kit import person
from tests.kit import SignedIn, before_call, from_ip, log_in, new_ip, new_name, problem, register

NONE = dict.fromkeys(("user_id", "event", "ip", "since", "until"))


async def read(admin: SignedIn, **asked: Any) -> dict[str, Any]:
    answer = await admin.ask("GET", "/audit", params=asked)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def follow(admin: SignedIn, **asked: Any) -> list[dict[str, Any]]:
    """All pages, one after the other."""
    items: list[dict[str, Any]] = []
    page = await read(admin, **asked)
    while True:
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        page = await read(admin, **asked, cursor=page["next_cursor"])


# ---- what an event is ---------------------------------------------------------------------------------------------


async def test_an_event_says_who_did_what_to_whom_from_where(client: AsyncClient, admin: SignedIn) -> None:
    ip = new_ip()
    ada = await register(client)
    session = await log_in(client, ada, ip=ip)

    newest, registered = (await read(admin, user_id=ada.id))["items"]

    assert registered["event"] == "user.registered"
    assert newest.keys() == {
        *("id", "at", "event", "user_id", "actor_id", "session_id", "ip_address", "user_agent", "request_id", "details")
    }
    assert (newest["event"], newest["user_id"], newest["actor_id"]) == ("login.succeeded", ada.id, ada.id)
    assert (newest["session_id"], newest["ip_address"], newest["details"]) == (session.id, ip, {"amr": ["pwd"]})
    assert newest["at"].endswith("Z")


async def test_of_what_an_administrator_did_it_says_from_where(client: AsyncClient, admin: SignedIn) -> None:
    ada = await register(client)
    ip = new_ip()
    await admin.ask("PATCH", f"/users/{ada.id}", json={"full_name": "Ada"}, headers=from_ip(ip))

    newest = (await read(admin, user_id=ada.id))["items"][0]

    assert (newest["event"], newest["actor_id"], newest["ip_address"]) == ("user.updated", admin.user_id, ip)
    assert newest["session_id"] == admin.id


# ---- what is asked for --------------------------------------------------------------------------------------------


async def test_each_filter_shows_what_fits_and_all_of_it(client: AsyncClient, admin: SignedIn) -> None:
    ip, other = "198.19.7.9", "198.19.8.9"  # of nobody else
    ada, grace = await register(client), await register(client)
    await log_in(client, ada, ip=ip)
    await log_in(client, grace, ip=other)
    wrong = await client.post("/login", json={"username": ada.username, "password": "wrong horse"}, headers=from_ip(ip))
    assert wrong.status_code == 401

    def shown(items: list[dict[str, Any]]) -> list[tuple[str, int]]:
        return [(item["event"], item["user_id"]) for item in items]

    failed, there = ("login.failed", ada.id), ("login.succeeded", ada.id)
    assert shown(await follow(admin, ip=ip)) == [failed, there]
    assert shown(await follow(admin, ip="198.19.7.0/24")) == [failed, there]
    assert shown(await follow(admin, ip="198.19.0.0/16")) == [failed, ("login.succeeded", grace.id), there]
    assert shown(await follow(admin, ip="198.19.7.0/24", event="login.failed")) == [failed]
    assert shown(await follow(admin, ip="198.19.0.0/16", user_id=ada.id)) == [failed, there]
    assert shown(await follow(admin, user_id=ada.id, event="login.succeeded")) == [there]
    assert shown(await follow(admin, user_id=ada.id)) == [failed, there, ("user.registered", ada.id)]
    assert await follow(admin, ip="198.19.9.0/24") == []
    assert await follow(admin, ip="2001:db8:5::/48") == []
    assert {item["event"] for item in (await read(admin, event="login.failed"))["items"]} == {"login.failed"}


async def test_times_are_from_the_first_on_and_before_the_second(client: AsyncClient, admin: SignedIn) -> None:
    ada = await register(client)
    for _ in range(3):
        await log_in(client, ada)
    events = await follow(admin, user_id=ada.id)

    middle = events[1:3]
    since, until = events[2]["at"], events[0]["at"]

    assert await follow(admin, user_id=ada.id, since=since, until=until) == middle
    assert await follow(admin, user_id=ada.id, since=since) == events[:3]
    assert await follow(admin, user_id=ada.id, until=until) == events[1:]
    assert await follow(admin, user_id=ada.id, since=until, until=since) == []


@pytest.mark.parametrize("folded", [0, 100, 200])
async def test_times_are_found_whatever_has_been_counted(own_database: str, folded: int) -> None:
    """Half of the ids are in the order of their times, the others are in none."""
    db = Database(own_database, 2)
    await db.start()
    await db.execute(
        """
        INSERT INTO audit_events (event, at)
        SELECT 'logout', timestamptz '2026-03-01 00:00Z' + interval '7 minutes'
                         * CASE WHEN n <= 100 THEN n ELSE n * 37 % 100 + 50 END
        FROM generate_series(1, 200) n
        """
    )
    async with db.transaction() as tx:
        await queries.fold(tx, 0, folded)
        await queries.note_progress(tx, folded, None)
    trail = Trail(db, db, Cursors("secret"))
    rows = await db.fetch("SELECT id, at FROM audit_events ORDER BY id DESC")

    for since, until in itertools.combinations_with_replacement([None, *sorted({row["at"] for row in rows})[::29]], 2):
        asked = AuditFilter(**NONE | {"since": since, "until": until})
        cursor, found = None, []
        while True:
            page = await trail.page(asked, AuditAsked(cursor, 40))
            found += [item.id for item in page.items]
            if (cursor := page.next_cursor) is None:
                break
        fits = [row["id"] for row in rows if (since or row["at"]) <= row["at"] and (not until or row["at"] < until)]
        assert found == fits, (since, until)
    await db.stop()


@pytest.mark.parametrize("months", [[], ["2026-02-01"], ["2026-02-01", "2026-03-01", "2026-05-01"]])
async def test_events_of_a_network_are_in_order_whatever_month_they_are_in(
    own_database: str, months: list[str]
) -> None:
    db = Database(own_database, 2)
    await db.start()
    for month in months:
        await db.execute("SELECT audit_add_month($1)", date.fromisoformat(month))
    await db.execute(
        """
        INSERT INTO audit_events (event, at, ip_address)
        SELECT 'logout', timestamptz '2026-01-20 00:00Z' + n * 37 % 120 * interval '1 day',
               inet '192.0.2.0' + n * 7 % 512
        FROM generate_series(1, 120) n
        """
    )
    trail = Trail(db, db, Cursors("secret"))
    asked = AuditFilter(**NONE | {"ip": "192.0.2.0/24"})
    rows = await db.fetch("SELECT id FROM audit_events WHERE ip_address << '192.0.2.0/24' ORDER BY id DESC")

    first = await trail.page(asked, AuditAsked(None, 40))
    second = await trail.page(asked, AuditAsked(first.next_cursor, 40))
    await db.stop()

    assert 40 < len(rows) < 80
    assert [item.id for item in (*first.items, *second.items)] == [row["id"] for row in rows]


async def test_who_follows_the_cursor_meets_every_event_once(client: AsyncClient, admin: SignedIn) -> None:
    """Also while more is happening."""
    ada = await register(client)
    session = await log_in(client, ada)
    for _ in range(4):
        session = await session.refreshed()
    before = await follow(admin, user_id=ada.id)
    page = await read(admin, user_id=ada.id, page_size=1)
    walked = page["items"]

    while page["next_cursor"] is not None:
        session = await session.refreshed()
        page = await read(admin, user_id=ada.id, page_size=2, cursor=page["next_cursor"])
        walked += page["items"]

    assert walked == before
    assert [item["id"] for item in walked] == sorted({item["id"] for item in walked}, reverse=True)
    assert len(walked) == 6


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"event": "user.eaten"}, "event"),
        ({"user_id": 0}, "user_id"),
        ({"user_id": 2**63}, "user_id"),
        ({"user_id": "ada"}, "user_id"),
        ({"ip": "10.0.0.0/33"}, "ip"),
        ({"ip": "here"}, "ip"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-01-01T00:00:00"}, "since"),
        ({"since": "1767614400"}, "since"),
        ({"until": "-1"}, "until"),
        ({"until": "0001-01-01T00:00:00+14:00"}, "until"),
        ({"page_size": 0}, "page_size"),
        ({"page_size": 201}, "page_size"),
        ({"cursor": "nonsense"}, "cursor"),
    ],
)
async def test_what_cannot_be_is_refused(admin: SignedIn, asked: dict[str, Any], field: str) -> None:
    for path in ("/audit", "/audit/export") if field not in ("page_size", "cursor") else ("/audit",):
        refused = problem(await admin.ask("GET", path, params=asked), 422, "validation_failed")

        assert [error["field"] for error in refused["errors"]] == [field]


async def test_a_cursor_is_good_for_its_own_filters_alone(admin: SignedIn) -> None:
    cursor = (await read(admin, page_size=1))["next_cursor"]

    assert (await read(admin, page_size=1, cursor=cursor))["items"]
    refused = await admin.ask("GET", "/audit", params={"cursor": cursor, "event": "logout"})
    assert problem(refused, 422, "validation_failed")["errors"][0]["field"] == "cursor"


# ---- the whole of it ----------------------------------------------------------------------------------------------


async def test_the_export_is_the_list_a_line_an_event_and_is_an_event_itself(
    client: AsyncClient, admin: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "EVENTS_A_QUERY", 2)
    ada = await register(client)
    for _ in range(4):
        await log_in(client, ada)

    answer = await admin.ask("GET", "/audit/export", params={"user_id": ada.id})

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert [json.loads(line) for line in answer.text.splitlines()] == await follow(admin, user_id=ada.id)
    (exported, *_) = (await read(admin, event="audit.exported"))["items"]
    assert (exported["actor_id"], exported["session_id"]) == (admin.user_id, admin.id)
    assert exported["details"] == {"filter": {"user_id": ada.id}}
    assert exported["request_id"] == answer.headers["x-request-id"]


async def test_an_export_of_nothing_is_empty(admin: SignedIn) -> None:
    answer = await admin.ask("GET", "/audit/export", params={"ip": "192.0.2.77"})

    assert (answer.status_code, answer.content) == (200, b"")


async def test_an_export_breaks_off_where_its_caller_has_gone(
    client: AsyncClient, admin: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "EVENTS_A_QUERY", 2)
    auditor = await log_in(client, await person(admin, is_admin=True))

    async def sign_out() -> None:
        assert (await auditor.ask("POST", "/logout")).status_code == 204

    reads = before_call(monkeypatch, queries, "page", 2, sign_out)
    with pytest.raises(LitestarException, match="after response started"):
        await auditor.ask("GET", "/audit/export")

    assert reads == [1, 2]
    problem(await auditor.ask("GET", "/audit/export"), 401, "session_revoked")


async def test_an_export_that_cannot_begin_says_so(admin: SignedIn, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr(queries, "page", fail)

    problem(await admin.ask("GET", "/audit/export"), 503, "unavailable")


async def test_a_reader_who_takes_his_time_holds_no_connection(
    parts: Parts, admin: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "EVENTS_A_QUERY", 1)
    asked = AuditFilter(**NONE)
    lines: AsyncIterator[bytes] = parts.trail._lines(service._wanted(asked))

    first = await anext(lines)

    assert json.loads(first)["id"] > 0
    assert parts.reports.gauge()[1] == 0


# ---- who reads -----------------------------------------------------------------------------------------------------


async def test_fifty_readers_at_once_all_read(client: AsyncClient, admin: SignedIn) -> None:
    ada = await register(client)
    (event,) = await follow(admin, user_id=ada.id)

    pages = await asyncio.gather(*(read(admin, user_id=ada.id) for _ in range(50)))

    assert [page["items"] for page in pages] == [[event]] * 50


async def test_a_name_is_no_filter(admin: SignedIn) -> None:
    """What a list does not know it leaves alone, as all lists do."""
    assert (await read(admin, username=new_name(), page_size=1))["items"]


async def test_what_has_not_been_counted_yet_is_shown_all_the_same(
    client: AsyncClient, admin: SignedIn, parts: Parts
) -> None:
    await RollUp(parts.db).catch_up()
    ada = await register(client)
    (event,) = await follow(admin, user_id=ada.id)

    assert await follow(admin, user_id=ada.id, since=event["at"]) == [event]
    assert await follow(admin, user_id=ada.id, until="2199-01-01T00:00:00Z") == [event]

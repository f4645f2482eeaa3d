"""Sessions: found, looked at before they are ended, and ended."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from httpx import AsyncClient

from app.edge import Edge
from app.parts import Parts
from app.sessions import ending, queries
from tests.console.administration.kit import Browser, Page, holding
from tests.identity.kit import hand_out, made_role, person
from tests.kit import Person, SignedIn, log_in, new_ip, new_name

SESSIONS = "/console/admin/sessions"
END = f"{SESSIONS}/end"


def rows(page: Page) -> int:
    return page.html.count('<th scope="row">')


def query_of(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.answer.headers["location"]).query)


async def test_sessions_are_found_by_user_address_device_age_and_factor(
    root: Browser, client: AsyncClient, ada: Person
) -> None:
    ip = new_ip()
    await log_in(client, ada, ip=ip, device_name="Grandmother's tablet")
    network, tomorrow = f"{ip}/32", (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M")
    yesterday = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M")

    fields = {"user": ada.username, "ip": network, "device": "grandmother", "factor": "pwd"}
    page = await root.get(SESSIONS, **fields, created_before=tomorrow, created_after=yesterday)
    others = [
        await root.get(SESSIONS, user=str(ada.id), **{name: value})
        for name, value in (("ip", "203.0.113.0/24"), ("device", "nothing"), ("factor", "fed"))
    ]
    times = [
        await root.get(SESSIONS, user=str(ada.id), **{name: value})
        for name, value in (("created_before", yesterday), ("created_after", tomorrow))
    ]

    assert rows(page) == 1
    assert ada.username in page.text
    assert page.form(SESSIONS).fields.items() >= fields.items()
    assert page.form(SESSIONS).fields["created_before"] == tomorrow
    assert [rows(each) for each in (*others, *times)] == [0] * 5
    assert "No sessions found" in others[0].text


async def test_times_are_meant_by_the_readers_clock(
    root: Browser, client: AsyncClient, ada: Person, session: SignedIn
) -> None:
    root.client.cookies.set("gatehouse-console-zone", "Pacific/Kiritimati", domain="auth.example.test", path="/console")
    in_utc = datetime.now(UTC)
    there = (in_utc + timedelta(hours=14, minutes=-5)).strftime("%Y-%m-%dT%H:%M")  # five minutes ago, by its clocks

    page = await root.get(SESSIONS, user=ada.username, created_after=there)
    utc = await root.get(SESSIONS, user=ada.username, created_after=there, tz="UTC")
    unknown = await root.get(SESSIONS, user=ada.username, tz="../../etc/passwd")

    assert "Times are those of Pacific/Kiritimati." in page.text
    assert (rows(page), rows(utc)) == (1, 0)
    assert "Times are those of UTC." in unknown.text


async def test_ended_ones_are_shown_with_the_reason(root: Browser, ada: Person, session: SignedIn) -> None:
    await session.ask("POST", "/logout")

    page = await root.get(SESSIONS, user=ada.username, active="no")

    assert rows(page) == 1
    assert "Logout" in page.text
    assert f"{SESSIONS}/{ada.id}/{session.id}" not in page.html


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("ip=nonsense", "ip"),
        ("user=nobody-of-this-name", "user"),
        ("user=%E0%A5%A7", "user"),
        ("created_before=yesterday", "created_before"),
        ("created_after=0001-01-01T00:00%2B23:59", "created_after"),
        ("factor=magic", ""),
        ("sort=last_accessed", ""),
        ("sort=user", ""),
        ("device=%07", "device"),
        ("cursor=x", ""),
    ],
)
async def test_a_bad_filter_is_told_beside_its_field(root: Browser, query: str, field: str) -> None:
    page = await root.get(f"{SESSIONS}?{query}")
    preview = await root.get(f"{END}?{query}")

    assert page.status == 422
    assert page.has_form(SESSIONS)
    if field:
        assert f'id="{field}-wrong"' in page.html
        assert preview.status == 422
        assert not preview.has_form(END)


async def test_who_may_not_see_accounts_names_a_user_by_his_id(
    edge: Edge, parts: Parts, admin: SignedIn, ada: Person, session: SignedIn
) -> None:
    browser = await holding(edge, parts, admin, "sessions:read")

    by_id = await browser.get(SESSIONS, user=str(ada.id))
    by_name = await browser.get(SESSIONS, user=ada.username)
    by_nothing = await browser.get(SESSIONS, user="0")

    assert rows(by_id) == 1
    assert f"/console/admin/users/{ada.id}" not in by_id.addresses
    assert (by_name.status, by_nothing.status) == (422, 422)


async def test_sessions_are_counted_before_they_are_ended_and_ended_as_they_were_counted(
    root: Browser, client: AsyncClient, ada: Person, session: SignedIn
) -> None:
    device = new_name("tablet")
    tablet = await log_in(client, ada, device_name=device)
    page = await root.get(SESSIONS, device=device)
    (asks,) = [link for link in page.addresses if link.startswith(END)]

    preview = await root.get(asks)
    still_there = (await tablet.ask("GET", "/me")).status_code
    done = await root.do(preview.form(END))

    assert "1 session will be ended." in preview.text
    assert device in preview.text
    assert still_there == 200
    assert "Sessions ended: 1." in done.text
    assert rows(done) == 0
    assert (await tablet.ask("GET", "/me")).status_code == 401
    assert (await session.ask("GET", "/me")).status_code == 200


async def test_times_are_those_of_the_clock_by_which_they_were_shown(
    root: Browser, client: AsyncClient, ada: Person
) -> None:
    """Whatever the browser says of its own once the form is sent: a script may have told it only then."""
    tablet = await log_in(client, ada)
    an_hour_ago = datetime.now(UTC) + timedelta(hours=13)  # by the clocks of Kiritimati, 14 hours ahead
    asked = {"user": str(ada.id), "created_after": an_hour_ago.strftime("%Y-%m-%dT%H:%M"), "tz": "Pacific/Kiritimati"}
    preview = await root.get(END, **asked)

    done = await root.do(preview.form(END))

    assert "1 session will be ended." in preview.text
    assert "Sessions ended: 1." in done.text
    assert (await tablet.ask("GET", "/me")).status_code == 401
    assert "Times are those of Pacific/Kiritimati." in done.text


async def test_where_there_are_more_than_a_call_ends_one_goes_on(
    root: Browser, client: AsyncClient, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "BATCH", 1)
    monkeypatch.setattr(ending, "WORK_SECONDS", 0.0)
    for _ in range(2):
        await log_in(client, ada)
    preview = await root.get(END, user=str(ada.id))

    so_far = await root.send(preview.form(END))
    onwards = await root.follow(so_far)
    done = await root.do(onwards.form(END))

    assert "2 sessions will be ended." in preview.text
    assert query_of(so_far) == {"user": [str(ada.id)]}
    assert "Sessions ended so far: 1." in onwards.text
    assert "1 session will be ended." in onwards.text
    assert "Sessions ended: 1." in done.text


async def test_who_loses_the_right_meanwhile_ends_nothing_more(
    edge: Edge, parts: Parts, admin: SignedIn, client: AsyncClient, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "BATCH", 1)
    sessions = [await log_in(client, ada) for _ in range(3)]
    role, grace = await made_role(admin, "sessions:read", "sessions:revoke"), await person(admin)
    await hand_out(admin, grace.id, role)
    guard = await Browser(edge).sign_in(grace)
    form = (await guard.get(END, user=str(ada.id))).form(END)
    revoke_held = queries.revoke_held

    async def take_away(*args: Any) -> list[UUID]:
        assert (await hand_out(admin, grace.id)).status_code == 200
        return await revoke_held(*args)

    monkeypatch.setattr(queries, "revoke_held", take_away)
    refused = await guard.send(form)

    assert refused.status == 403
    assert "1 sessions have ended." in refused.text
    assert sorted([(await each.ask("GET", "/me")).status_code for each in sessions]) == [200, 200, 401]


async def test_everybody_is_signed_out_only_by_who_ticks_it(root: Browser, session: SignedIn) -> None:
    preview = await root.get(END)
    form = preview.form(END)

    refused = await root.send(form)

    assert "everybody" in form.names
    assert "everybody" not in form.fields
    assert "including your own" in preview.text
    assert refused.status == 422
    assert (await session.ask("GET", "/me")).status_code == 200


async def test_one_comes_back_to_the_page_of_the_list_where_a_session_was_ended(
    root: Browser, ada: Person, session: SignedIn
) -> None:
    page = await root.get(SESSIONS, user=str(ada.id), page="1")

    done = await root.send(page.form(f"{SESSIONS}/{ada.id}/{session.id}"))

    assert (done.status, done.answer.headers["location"]) == (303, f"{SESSIONS}?user={ada.id}&page=1")


async def test_a_session_that_is_not_there_is_no_fault(root: Browser, ada: Person) -> None:
    token = await root.token()
    answers = [
        await root.client.post(f"{SESSIONS}/{user_id}/019a0000-0000-7000-8000-000000000000", data={"csrf_token": token})
        for user_id in (ada.id, 0, 10**19)
    ]

    assert [each.status_code for each in answers] == [404, 404, 404]
    assert all("There is no such page" in re.sub(r"\s+", " ", each.text) for each in answers)


async def test_ones_own_session_is_marked_and_has_no_button(root: Browser, parts: Parts) -> None:
    page = await root.get(SESSIONS, user="root", sort="-last_accessed")

    assert page.status == 200
    assert "this one" in page.text
    assert page.html.count("this one") == 1
    assert rows(page) == 1 + sum(form.action.startswith(f"{SESSIONS}/1/") for form in page.forms)

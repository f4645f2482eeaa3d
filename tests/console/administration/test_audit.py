"""The audit trail on a page: filtered, followed, told as what changed, taken out."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from httpx import AsyncClient
from litestar.exceptions.base_exceptions import LitestarException

from app.audit import queries
from app.edge import Edge
from app.parts import Parts
from app.trail import service
from tests.console.administration.kit import Browser, Page, holding
from tests.identity.kit import change, hand_out, made_role
from tests.kit import Person, SignedIn, log_in, new_ip

AUDIT = "/console/admin/audit"
EXPORT = f"{AUDIT}/export"


def told(page: Page) -> list[str]:
    """The events, newest first."""
    return re.findall(r"<td><strong>([^<]+)</strong>", page.html)


async def test_events_are_found_by_user_kind_address_and_time(root: Browser, client: AsyncClient, ada: Person) -> None:
    ip, now = new_ip(), datetime.now(UTC)
    await log_in(client, ada, ip=ip)
    ago, ahead = ((now + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M") for days in (-1, 1))

    fields = {"user": ada.username, "event": "login.succeeded", "ip": ip, "since": ago, "until": ahead}
    page = await root.get(AUDIT, **fields)
    before = await root.get(AUDIT, user=ada.username, until=ago)

    assert told(page) == ["Login succeeded"]
    assert page.form(AUDIT).fields.items() >= fields.items()
    assert told(before) == []
    assert "No events found" in before.text


async def test_what_was_added_and_taken_away_is_told_apart(root: Browser, admin: SignedIn, ada: Person) -> None:
    one, two = await made_role(admin), await made_role(admin)
    await hand_out(admin, ada.id, one)
    await hand_out(admin, ada.id, two)
    await change(admin, ada.id, is_active=False, reason="a lost laptop")

    page = await root.get(AUDIT, user=str(ada.id))

    assert told(page)[:3] == ["User updated", "Role changed", "Role changed"]
    assert f'<span class="tag tag-added">+ {two}</span>' in page.html
    assert f'<span class="tag tag-removed">− {one}</span>' in page.html  # noqa: RUF001 - a minus
    assert "a lost laptop" in page.text
    assert "Is active no" in page.text
    assert f"/console/admin/users/{ada.id}" in page.addresses


async def test_pages_follow_one_another(root: Browser, parts: Parts, ada: Person) -> None:
    statement = "INSERT INTO audit_events (event, user_id) SELECT 'logout', $1 FROM generate_series(1, 60)"
    await parts.db.execute(statement, ada.id)

    first = await root.get(AUDIT, user=str(ada.id), event="logout")
    (older,) = [link for link in first.addresses if "cursor=" in link]
    second = await root.get(older)

    assert (len(told(first)), len(told(second))) == (50, 10)
    assert f"{AUDIT}?user={ada.id}&event=logout" in second.addresses


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("event=nothing", "event"),
        ("user=nobody-of-this-name", "user"),
        ("user=99999999999999999999", "user"),
        ("ip=300.1.1.1", "ip"),
        ("since=soon", "since"),
        ("until=9999-12-31T23:59-23:00", "until"),
        ("cursor=rubbish", ""),
    ],
)
async def test_a_bad_filter_is_told_beside_its_field(root: Browser, query: str, field: str) -> None:
    page = await root.get(f"{AUDIT}?{query}")

    assert page.status == 422
    assert not field or "is-invalid" in page.html
    assert not page.has_form(EXPORT)


async def test_names_are_for_who_may_see_accounts(
    edge: Edge, parts: Parts, admin: SignedIn, root: Browser, ada: Person, session: SignedIn
) -> None:
    auditor = await holding(edge, parts, admin, "audit:read")

    page = await auditor.get(AUDIT, user=str(ada.id))

    assert f"User {ada.id}" in page.text
    assert ada.username not in page.text
    assert (await auditor.get(AUDIT, user=ada.username)).status == 422
    assert ada.username in (await root.get(AUDIT, user=str(ada.id))).text


async def test_who_is_gone_is_still_found_by_his_id(root: Browser, admin: SignedIn, ada: Person) -> None:
    assert (await admin.ask("DELETE", f"/users/{ada.id}")).status_code == 204

    page = await root.get(AUDIT, user=str(ada.id))

    assert told(page)[0] == "User deleted"
    assert f"User {ada.id}" in page.text


async def test_what_is_shown_is_taken_out_by_a_form_and_that_is_an_event(
    root: Browser, ada: Person, session: SignedIn
) -> None:
    page = await root.get(AUDIT, user=ada.username, event="login.succeeded")

    file = await root.send(page.form(EXPORT))

    assert file.status == 200
    assert file.answer.headers["content-type"] == "application/x-ndjson"
    assert "attachment" in file.answer.headers["content-disposition"]
    lines = [msgspec.json.decode(line) for line in file.answer.content.splitlines()]
    assert [(line["event"], line["user_id"]) for line in lines] == [("login.succeeded", ada.id)]
    exported = await root.get(AUDIT, event="audit.exported")
    assert "Filter user id" in exported.text
    assert (await root.get(EXPORT)).status in (404, 405)


async def test_the_export_goes_by_the_clock_of_the_page(root: Browser, client: AsyncClient, ada: Person) -> None:
    await log_in(client, ada)
    an_hour_ago = datetime.now(UTC) + timedelta(hours=13)  # by the clocks of Kiritimati, 14 hours ahead
    page = await root.get(
        AUDIT, user=ada.username, since=an_hour_ago.strftime("%Y-%m-%dT%H:%M"), tz="Pacific/Kiritimati"
    )

    exported = await root.send(page.form(EXPORT))

    assert len(told(page)) == len(exported.html.splitlines()) > 0


async def test_an_export_breaks_off_where_its_caller_has_gone(
    edge: Edge, parts: Parts, admin: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "EVENTS_A_QUERY", 2)
    auditor = await holding(edge, parts, admin, "audit:read")
    export = (await auditor.get(AUDIT)).form(EXPORT)
    sign_out = (await auditor.get(AUDIT)).form("/console/sign-out")
    page, reads = queries.page, 0

    async def left_meanwhile(*args: Any) -> object:
        nonlocal reads
        reads += 1
        if reads == 2:
            assert (await auditor.send(sign_out)).status == 303
        return await page(*args)

    monkeypatch.setattr(queries, "page", left_meanwhile)
    with pytest.raises(LitestarException, match="after response started"):
        await auditor.send(export)

    assert reads == 2


async def test_a_bad_export_is_told_on_a_page(root: Browser) -> None:
    form = (await root.get(AUDIT)).form(EXPORT)

    page = await root.send(form, ip="nonsense")

    assert page.status == 422
    assert "This was not possible" in page.text

"""Only a page of ours changes something, in the browser and the session that it was shown to, and only by its form."""

import json
from collections.abc import Mapping
from uuid import uuid4

import pytest
from httpx import Response
from litestar.handlers import HTTPRouteHandler

from app.database import Database
from app.edge import Edge
from app.identity.accounts import create_first_admin
from tests.conftest import ADMIN
from tests.console.kit import ORIGIN, SIGN_IN
from tests.console.routes import console_routes, filled, names_in
from tests.console.visitor import SAME_SITE, Visitor, form_of, forms_of
from tests.kit import Person, log_in, register
from tests.replica import Start

ACCOUNT = "/console/account"
NEW = "Augusta Ada King"
BEFORE = "This form is from before you signed in or out. Open the page again."
# What stands in the addresses of pages; who adds a page of something new says here which there is.
VALUES: Mapping[str, str] = {
    "user_id": "1",
    "role": "admin",
    "name": "admin",
    "provider": "nobody",
    "session_id": str(uuid4()),
    "passkey_id": str(uuid4()),
    "identity_id": str(uuid4()),
    "kid": "nobody",
}
# What the service counts by itself, as time goes on.
COUNTED = {"activity_counts", "activity_progress", "activity_slots", "session_census"}


def values_for(path: str) -> dict[str, str]:
    assert set(names_in(path)) <= set(VALUES), f"say in VALUES what stands in {path}"
    return {name: VALUES[name] for name in names_in(path)}


def refused(answer: Response, because: str) -> None:
    assert answer.status_code == 403, answer.text
    assert answer.headers["content-type"].startswith("text/html")
    assert because in answer.text


async def name_of(visitor: Visitor) -> str:
    return form_of(await visitor.get(ACCOUNT), ACCOUNT).fields["full_name"]


async def test_a_form_works_without_scripts_and_the_page_says_so(inside: Visitor) -> None:
    answer = await inside.send(await inside.get(ACCOUNT), ACCOUNT, full_name=NEW)

    assert (answer.status_code, answer.headers["location"]) == (303, ACCOUNT)
    assert "Your profile has been saved." in (await inside.get(ACCOUNT)).text
    assert await name_of(inside) == NEW


async def test_a_refused_form_comes_back_with_what_was_typed_and_what_is_wrong_beside_it(inside: Visitor) -> None:
    long = "<b>" * 100

    answer = await inside.send(await inside.get(ACCOUNT), ACCOUNT, full_name=long)

    assert answer.status_code == 422
    assert form_of(answer, ACCOUNT).fields["full_name"] == long
    assert 'aria-describedby="full_name-wrong"' in answer.text
    assert 'id="full_name-wrong"' in answer.text
    assert "<b>" not in answer.text


async def test_a_refused_form_can_be_sent_again(inside: Visitor) -> None:
    refusal = await inside.send(await inside.get(ACCOUNT), ACCOUNT, full_name="x" * 300)

    assert (await inside.send(refusal, ACCOUNT, full_name=NEW)).status_code == 303


async def test_without_its_token_it_is_refused(inside: Visitor) -> None:
    page = await inside.get(ACCOUNT)
    fields = form_of(page, ACCOUNT).fields

    for token in ("", fields["csrf_token"][:-1], fields["csrf_token"] + "=", "ä", "x" * 43):
        refused(await inside.post(ACCOUNT, {**fields, "csrf_token": token, "full_name": NEW}), BEFORE)
    del fields["csrf_token"]
    refused(await inside.post(ACCOUNT, {**fields, "full_name": NEW}), BEFORE)
    assert await name_of(inside) != NEW


async def test_another_browsers_token_is_none(inside: Visitor, visitor: Visitor, edge: Edge, ada: Person) -> None:
    """Nor the same person's."""
    other = Visitor(edge)
    await other.sign_in(ada)
    token = form_of(await other.get(ACCOUNT), ACCOUNT).fields["csrf_token"]

    refused(await inside.post(ACCOUNT, {"csrf_token": token, "full_name": NEW}), BEFORE)
    assert await name_of(inside) != NEW


async def test_another_sessions_token_in_the_same_browser_is_none(inside: Visitor, ada: Person) -> None:
    page = await inside.get(ACCOUNT)
    await inside.send(page, "/console/sign-out")
    await inside.sign_in(ada)

    refused(await inside.send(page, ACCOUNT, full_name=NEW), BEFORE)


async def test_the_sign_in_form_of_somebody_else_signs_nobody_in(visitor: Visitor, edge: Edge, ada: Person) -> None:
    """Or one would go on in an account that somebody else looks into."""
    fields = form_of(await Visitor(edge).get(SIGN_IN), SIGN_IN).fields
    await visitor.get(SIGN_IN)

    refused(await visitor.post(SIGN_IN, {**fields, "username": ada.username, "password": ada.password}), BEFORE)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": f"{ORIGIN}.evil.example"},
        {"Origin": "http://auth.example.test"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
async def test_what_another_site_sends_is_refused_with_the_right_token_too(
    inside: Visitor, headers: dict[str, str]
) -> None:
    fields = {**form_of(await inside.get(ACCOUNT), ACCOUNT).fields, "full_name": NEW}

    refused(await inside.post(ACCOUNT, fields, headers), f"This form was not sent by a page of {ORIGIN}.")
    assert await name_of(inside) != NEW


async def test_only_a_form_is_a_form(inside: Visitor) -> None:
    fields = {**form_of(await inside.get(ACCOUNT), ACCOUNT).fields, "full_name": NEW}

    as_json = await inside.http.post(ACCOUNT, json=fields, headers=SAME_SITE)
    as_text = await inside.http.post(
        ACCOUNT, content=json.dumps(fields), headers={**SAME_SITE, "Content-Type": "text/plain"}
    )
    twice = await inside.http.post(ACCOUNT, data={**fields, "full_name": ["a", "b"]}, headers=SAME_SITE)

    assert [as_json.status_code, as_text.status_code, twice.status_code] == [415, 415, 400]
    assert await name_of(inside) != NEW


async def test_every_form_of_the_console_asks_for_its_token(edge: Edge, visitor: Visitor) -> None:
    await visitor.sign_in(ADMIN)
    paths = console_routes(edge, "POST")
    assert ACCOUNT in paths

    answers = {path: await visitor.post(filled(path, **values_for(path)), {"a": "b"}) for path in paths}

    wrong = {path: answer.status_code for path, answer in answers.items() if BEFORE not in answer.text}
    assert wrong == {}, "these act, or say something else, before they have looked for the token"


def test_pages_are_read_by_get_and_changed_by_post_alone(edge: Edge) -> None:
    methods = {
        method
        for route in edge.app.state.pages.app.routes
        for handler in getattr(route, "route_handlers", ())
        if isinstance(handler, HTTPRouteHandler)
        for method in handler.http_methods
    }

    assert methods <= {"GET", "POST", "OPTIONS"}  # Litestar's own answer to the third names the others


async def held(owner: Database) -> dict[str, str]:
    """What is in each table, but for when somebody was last seen."""
    tables = await owner.fetch("SELECT relname FROM pg_stat_user_tables ORDER BY relname")
    found = {}
    for (table,) in tables:
        rows = f"SELECT (to_jsonb(each) - 'last_accessed')::text AS one FROM {table} each"
        query = f"SELECT md5(coalesce(string_agg(one, ',' ORDER BY one), '')) FROM ({rows}) all_of_it"
        found[table] = (await owner.fetch(query))[0][0]
    return found


async def test_no_page_changes_anything_when_it_is_looked_at(start: Start, owner: Database) -> None:
    """Whoever prefetches links, or sends somebody one, has done nothing."""
    house = await start()
    await create_first_admin(house.parts.db, house.parts.passwords, ADMIN.username, ADMIN.password)
    ada = await register(house.client)
    nobody, hers, his = Visitor(house.edge), Visitor(house.edge), Visitor(house.edge)
    await hers.sign_in(ada)
    await his.sign_in(Person(1, ADMIN.username, ADMIN.password))
    own = (await log_in(house.client, ada)).id
    for visitor in (nobody, hers, his):
        await visitor.get("/console/")
    before = await held(owner)

    for path in console_routes(house.edge, "GET"):
        values = {name: own if name == "session_id" else value for name, value in values_for(path).items()}
        for visitor in (nobody, hers, his):
            answer = await visitor.get(filled(path, **values))
            assert answer.status_code < 500, (path, answer.text)

    after = await held(owner)
    assert {table for table in after if after[table] != before[table]} - COUNTED == set()


LEAVING = [
    "https://evil.example/",
    "//evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/console//evil.example",
    "/console\\@evil.example",
    "/console.evil.example",
    "/console@evil.example",
    "/console/\r\nLocation: https://evil.example",
    "/console/\tx",
    " /console/account",
    "javascript:alert(1)",
    "data:text/html,x",
    "/api/auth/v2/health",
    "console/account",
    "/console/é",
    "",
    "x" * 5000,
]


@pytest.mark.parametrize("onwards", LEAVING)
async def test_nobody_is_led_elsewhere(visitor: Visitor, ada: Person, onwards: str) -> None:
    page = await visitor.get(SIGN_IN, params={"next": onwards})

    answer = await visitor.send(page, SIGN_IN, username=ada.username, password=ada.password, next=onwards)

    assert (answer.status_code, answer.headers["location"]) == (303, "/console")
    again = await visitor.get(SIGN_IN, params={"next": onwards})
    assert (again.status_code, again.headers["location"]) == (303, "/console")
    confirmed = await visitor.get("/console/confirm")
    answer = await visitor.send(confirmed, "/console/confirm", password=ada.password, next=onwards)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console")


async def test_who_was_asked_to_sign_in_goes_on_to_where_he_wanted(visitor: Visitor, ada: Person) -> None:
    page = await visitor.open("/console/account?tab=2&q=a%26b")

    answer = await visitor.send(page, SIGN_IN, username=ada.username, password=ada.password)

    assert answer.headers["location"] == "/console/account?tab=2&q=a%26b"


@pytest.mark.parametrize("query", ["x" * 60_000, "x=%22" + "a" * 2_000, "x=//evil.example"])
async def test_what_nobody_could_come_back_to_is_not_repeated_in_every_form(inside: Visitor, query: str) -> None:
    """A page of many forms would be as many times as long as the address."""
    page = await inside.get(f"{ACCOUNT}?{query}")

    assert {form.fields["page"] for form in forms_of(page) if form.method == "post"} == {ACCOUNT}
    assert query[2:] not in page.text

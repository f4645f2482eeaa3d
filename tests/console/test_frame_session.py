"""A session with the console: what a browser keeps of it, how it is renewed on the way, how it ends."""

import asyncio
from dataclasses import replace

import pytest
from httpx import AsyncClient

from app.cli.embedded import Valkey
from app.edge import Edge
from app.identity.accounts import create_first_admin
from app.parts import Parts
from app.settings import Settings
from tests.conftest import ADMIN
from tests.console.kit import ACCESS, REFRESH, SIGN_IN
from tests.console.visitor import Visitor, gone, set_cookies
from tests.kit import BASE, Person, SignedIn, log_in, register
from tests.replica import Start, serving
from tests.servers import free_port

TABS = 50


async def test_both_tokens_are_kept_where_no_script_reads_them_and_no_other_host_sets_them(
    visitor: Visitor, ada: Person
) -> None:
    answer = await visitor.sign_in(ada)

    kept = {name: attributes for name, value, attributes in set_cookies(answer) if value}
    assert set(kept) == {ACCESS, REFRESH}
    for attributes in kept.values():
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= attributes
        assert not any(each.startswith("Domain") for each in attributes)


async def test_the_cookie_of_the_forms_is_kept_the_same_way(visitor: Visitor) -> None:
    page = await visitor.get(SIGN_IN)

    ((name, _, attributes),) = set_cookies(page)
    assert name == f"{ACCESS}-form"
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= attributes


async def test_without_https_they_have_no_prefix_and_are_sent_all_the_same(settings: Settings, ada: Person) -> None:
    plain = "http://localhost:8000"
    async with serving(replace(settings, environment="development", public_url=plain)) as house:
        visitor = Visitor(house.edge, plain)
        page = await visitor.get(SIGN_IN)
        origin = {"Origin": plain}

        answer = await visitor.post(
            SIGN_IN, {**_fields(page.text), "username": ada.username, "password": ada.password}, origin
        )

        assert answer.status_code == 303
        for name, _, attributes in set_cookies(answer):
            assert name.startswith("gatehouse-console")
            assert "Secure" not in attributes
            assert "HttpOnly" in attributes
        assert (await visitor.open("/console/")).status_code == 200


def _fields(page: str) -> dict[str, str]:
    token = page.partition('name="csrf_token" value="')[2].partition('"')[0]
    return {"csrf_token": token}


async def test_signing_in_gives_other_cookies_than_there_were(inside: Visitor, ada: Person) -> None:
    """Whoever planted a session's cookie in a browser does not share the one that is signed in to."""
    before = dict(inside.cookies)
    page = await inside.open("/console/account")
    await inside.send(page, "/console/sign-out")

    await inside.sign_in(ada)

    assert inside.cookies[ACCESS] != before[ACCESS]
    assert inside.cookies[REFRESH] != before[REFRESH]


async def test_it_is_renewed_on_the_way_and_nobody_notices(inside: Visitor) -> None:
    before = inside.cookies[REFRESH]
    inside.forget_access()

    page = await inside.get("/console/account")

    assert page.status_code == 200
    assert inside.cookies[ACCESS]
    assert inside.cookies[REFRESH] != before
    assert gone(page) == set()


@pytest.mark.parametrize("path", ["/console/nowhere", "/console/admin", "/console/sign-in?next=/console/account"])
async def test_a_refusal_brings_the_renewed_cookies_as_well(inside: Visitor, path: str) -> None:
    before = inside.cookies[REFRESH]
    inside.forget_access()

    await inside.get(path)

    assert inside.cookies[REFRESH] != before
    assert inside.cookies[ACCESS]


async def test_who_has_to_change_the_password_gets_them_too(
    inside: Visitor, ada: Person, admin: SignedIn, parts: Parts
) -> None:
    forced = await admin.ask("PATCH", f"/users/{ada.id}", json={"must_change_password": True})
    assert forced.status_code == 200, forced.text
    before = inside.cookies[REFRESH]
    inside.forget_access()

    answer = await inside.get("/console/account")

    assert (answer.status_code, answer.headers["location"]) == (303, "/console/account/password")
    assert inside.cookies[REFRESH] != before


async def test_parallel_tabs_are_all_answered_and_one_session_goes_on(
    inside: Visitor, ada: Person, client: AsyncClient
) -> None:
    inside.forget_access()
    old = inside.cookies[REFRESH]
    headers = {"Cookie": f"{REFRESH}={old}", **inside.http.headers}
    inside.cookies.clear()

    answers = await asyncio.gather(*(inside.get("/console/account", headers=headers) for _ in range(TABS)))

    assert {answer.status_code for answer in answers} == {200}
    successors = {value for answer in answers for name, value, _ in set_cookies(answer) if name == REFRESH}
    assert len(successors) == 1
    live = await (await log_in(client, ada)).ask("GET", "/me/sessions")
    assert len(live.json()["items"]) == 2  # this one and that which has asked
    inside.forget_access()
    assert (await inside.get("/console/account")).status_code == 200


async def ended_everywhere(client: AsyncClient, person: Person) -> None:
    answer = await (await log_in(client, person)).ask("POST", "/logout/all")
    assert answer.status_code == 204, answer.text


async def test_a_session_that_was_ended_leads_to_the_sign_in_which_says_so(
    inside: Visitor, ada: Person, client: AsyncClient
) -> None:
    await ended_everywhere(client, ada)

    answer = await inside.get("/console/account?a=b")

    assert answer.status_code == 303
    assert answer.headers["location"] == f"{SIGN_IN}?next=/console/account%3Fa%3Db"
    assert {ACCESS, REFRESH} <= gone(answer)
    page = await inside.get(answer.headers["location"])
    assert "Your session has ended. Sign in to continue." in page.text
    assert "Your session has ended" not in (await inside.get(SIGN_IN)).text  # it is told once


async def test_who_never_was_signed_in_is_not_told_that_a_session_ended(visitor: Visitor) -> None:
    page = await visitor.open("/console/account")

    assert page.url.path == SIGN_IN
    assert "session has ended" not in page.text


async def test_a_form_that_outlived_its_session_leads_to_the_sign_in(
    inside: Visitor, ada: Person, client: AsyncClient
) -> None:
    page = await inside.get("/console/account")
    await ended_everywhere(client, ada)

    answer = await inside.send(page, "/console/sign-out")

    assert answer.status_code == 303
    assert answer.headers["location"].startswith(SIGN_IN)
    assert "Your session has ended" in (await inside.get(SIGN_IN)).text


async def test_signing_out_ends_the_session_for_whoever_has_copied_its_cookies(inside: Visitor, edge: Edge) -> None:
    copied = {"Cookie": f"{ACCESS}={inside.cookies[ACCESS]}; {REFRESH}={inside.cookies[REFRESH]}"}
    page = await inside.get("/console/account")

    answer = await inside.send(page, "/console/sign-out")

    assert answer.headers["location"] == SIGN_IN
    assert {ACCESS, REFRESH} <= gone(answer)
    assert "You have signed out." in (await inside.get(SIGN_IN)).text
    again = await Visitor(edge).get("/console/account", headers=copied)
    assert again.status_code == 303


@pytest.mark.parametrize(
    "value", ["", "x", "eyJ.eyJ.x", "'\"<script>", "a" * 5000, "\x7f", "%00", "ä", "None", f"x; {ACCESS}=y"]
)
async def test_garbage_in_the_cookies_is_nobody(visitor: Visitor, value: str) -> None:
    for name in (ACCESS, REFRESH, f"{ACCESS}-form", f"{ACCESS}-told", f"{ACCESS}-way"):
        answer = await visitor.get("/console/account", headers={b"Cookie": f"{name}={value}".encode()})

        assert answer.status_code == 303, (name, answer.text)
        assert answer.headers["location"].startswith(SIGN_IN)


@pytest.mark.parametrize("said", ["signed-out." + "9" * 5000, "signed-out.²", "signed-out.-1", "<b>", "signed-out.1.2"])
async def test_nobody_makes_a_page_say_what_we_have_not_said(visitor: Visitor, said: str) -> None:
    page = await visitor.get(SIGN_IN, headers={b"Cookie": f"{ACCESS}-told={said}".encode()})

    assert page.status_code == 200
    assert "alert" not in page.text


async def test_two_cookies_of_one_name_are_nobodys(inside: Visitor, visitor: Visitor) -> None:
    """A sibling site may have planted the one; without `__Host-` a browser would send both."""
    one = f"{ACCESS}={inside.cookies[ACCESS]}"
    inside.cookies.clear()

    answer = await inside.get("/console/account", headers={"Cookie": f"{one}; {one}x"})

    assert answer.headers["location"].startswith(SIGN_IN)


async def test_a_token_of_the_api_opens_no_page(visitor: Visitor, session: SignedIn) -> None:
    answer = await visitor.get("/console/account", headers=session.bearer)

    assert answer.status_code == 303


async def test_the_api_does_not_take_the_consoles_cookies(inside: Visitor) -> None:
    assert (await inside.get("/console/account")).status_code == 200

    for path in ("/me", "/me/sessions", "/verify"):
        assert (await inside.get(f"{BASE}{path}")).status_code == 401
    assert (await inside.http.post(f"{BASE}/refresh", headers={"Origin": "https://auth.example.test"})).is_client_error


async def test_who_lost_a_right_loses_its_pages_at_once_on_every_replica(start: Start) -> None:
    here, there = await start(), await start()
    await create_first_admin(here.parts.db, here.parts.passwords, ADMIN.username, ADMIN.password)
    root = await log_in(here.client, ADMIN)
    person = await register(here.client)
    assert (await root.ask("PATCH", f"/users/{person.id}", json={"roles": ["admin"]})).status_code == 200
    visitor = Visitor(here.edge)
    await visitor.sign_in(person)
    beside = visitor.at(there.edge)
    assert 'href="/console/admin/users"' in (await beside.get("/console/account")).text

    assert (await root.ask("PATCH", f"/users/{person.id}", json={"roles": []})).status_code == 200

    assert 'href="/console/admin/users"' not in (await beside.get("/console/account")).text
    assert 'href="/console/admin/users"' not in (await visitor.get("/console/account")).text


async def test_while_the_stores_are_away_a_page_says_so_and_nobody_is_signed_out(
    inside: Visitor, settings: Settings
) -> None:
    page = await inside.get("/console/account")
    kept = dict(inside.cookies)
    nowhere = f"127.0.0.1:{free_port()}"
    away = replace(settings, database_url=f"postgresql://gatehouse:x@{nowhere}/x", valkey_url=f"redis://{nowhere}/0")
    async with serving(away) as house:
        there = inside.at(house.edge)
        for lost in (None, ACCESS):
            carried = {name: value for name, value in kept.items() if name != lost}
            headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in carried.items())}
            answer = await there.get("/console/account", headers=headers)

            assert answer.status_code == 503
            assert "Something is not working at the moment" in answer.text
            assert answer.headers.get_list("set-cookie") == []

    assert (await inside.send(page, "/console/account", full_name="Ada")).status_code == 303


async def test_pages_do_without_valkey(start: Start, own_valkey: Valkey) -> None:
    house = await start()
    person = await register(house.client)
    visitor = Visitor(house.edge)
    await visitor.sign_in(person)
    own_valkey.stop()

    assert (await visitor.get("/console/account")).status_code == 200
    visitor.forget_access()
    assert (await visitor.get("/console/account")).status_code == 200

"""Signing in by a provider, there and back by the pages of the console."""

from urllib.parse import quote

import pytest
from httpx import AsyncClient

from app.console.ways import MOST
from app.settings import Settings
from tests.console.kit import ACCESS, ACCOUNT, SIGN_IN, Browser
from tests.federation.journeys import (
    IDENTITIES,
    ORIGIN,
    RETURN,
    WAY,
    Fellow,
    came_back,
    onwards_to,
    sent,
    session_of,
    there_and_back,
)
from tests.federation.kit import query_of, s256
from tests.federation.provider import OpenIdProvider
from tests.federation.realm import Realm
from tests.identity.factorkit import enrolled
from tests.kit import BASE, from_ip, new_name, problem, register


async def test_a_button_leads_there_and_back_to_where_one_wanted_to_go(
    person: Browser, web: AsyncClient, op: OpenIdProvider
) -> None:
    subject = op.register(preferred_username=new_name())
    first = await person.open(f"{ACCOUNT}?a=b%20c")
    button = next(href for href in first.links.values() if href.startswith(onwards_to(op) + "?"))

    back = await came_back(person, web, await sent(person, button), subject)
    answer = await person.get(back)

    assert (answer.status_code, answer.headers["location"]) == (303, f"{ACCOUNT}?a=b%20c")
    assert await person.signed_in_as() == op.people[subject]["preferred_username"]
    assert [name for name in person.cookies if name.startswith((WAY, "__Host-gatehouse-oauth"))] == []


async def test_it_comes_back_once_and_in_no_other_browser(fellow: Fellow, web: AsyncClient, op: OpenIdProvider) -> None:
    subject = op.register()
    thief, person = fellow(), fellow()
    back = await came_back(person, web, await sent(person, onwards_to(op)), subject)

    stolen = await thief.open(back)
    assert (stolen.path, stolen.alerts[0][:18]) == (SIGN_IN, "This took too long")
    assert ACCESS not in thief.cookies
    way = {name: value for name, value in person.cookies.items() if name.startswith(WAY)}
    assert (await person.open(back)).path == ACCOUNT
    for name, value in way.items():
        thief.http.cookies.set(name, value, domain="auth.example.test", path="/")
    assert (await thief.open(back)).path == SIGN_IN
    assert ACCESS not in thief.cookies


async def test_nobody_is_signed_in_by_the_way_that_somebody_else_has_gone(
    fellow: Fellow, web: AsyncClient, op: OpenIdProvider
) -> None:
    attacker, victim = fellow(), fellow()
    back = await came_back(attacker, web, await sent(attacker, onwards_to(op)), op.register())
    await sent(victim, onwards_to(op))
    (own,) = [name.removeprefix(WAY) for name in victim.cookies if name.startswith(WAY)]

    code = query_of(back)["code"]
    for path in (back, f"{RETURN}?way={own}&code={quote(code)}"):
        assert (await victim.open(path)).path == SIGN_IN
    assert ACCESS not in victim.cookies


async def test_two_tabs_go_there_and_come_back(person: Browser, web: AsyncClient, op: OpenIdProvider) -> None:
    subject = op.register()
    first = await sent(person, onwards_to(op, f"{ACCOUNT}?tab=1"))
    second = await sent(person, onwards_to(op, f"{ACCOUNT}?tab=2"))

    back = [await came_back(person, web, each, subject) for each in (first, second)]
    answers = [await person.get(each) for each in reversed(back)]

    assert [each.headers["location"] for each in answers] == [f"{ACCOUNT}?tab=2", f"{ACCOUNT}?tab=1"]
    assert len(answers[1].headers.get_list("set-cookie")) == 1  # the way is gone, and the session stays


async def test_of_many_ways_that_were_begun_a_browser_keeps_few(person: Browser, op: OpenIdProvider) -> None:
    for _ in range(MOST + 2):
        await sent(person, onwards_to(op))

    assert 1 <= len([name for name in person.cookies if name.startswith(WAY)]) <= MOST


async def test_cookies_whose_names_are_made_up_are_not_written_back(person: Browser, op: OpenIdProvider) -> None:
    made_up = "; ".join(f"{WAY}({number})=x" for number in range(MOST))

    answer = await person.get(onwards_to(op), Cookie=made_up)

    assert answer.status_code == 303, answer.text
    assert "(" not in " ".join(answer.headers.get_list("set-cookie"))


@pytest.mark.parametrize("onwards", ["//evil.example", "https://evil.example", "/\\evil.example", "/console/../x"])
async def test_the_way_back_leads_to_no_other_site(
    person: Browser, web: AsyncClient, op: OpenIdProvider, onwards: str
) -> None:
    location = await sent(person, onwards_to(op, onwards))

    answer = await person.get(await came_back(person, web, location, op.register()))

    assert (answer.status_code, answer.headers["location"]) == (303, "/console")


async def test_a_page_of_others_sends_nobody_there(person: Browser, op: OpenIdProvider) -> None:
    answer = await person.get(onwards_to(op, ACCOUNT), Sec_Fetch_Site="cross-site")

    assert (answer.status_code, answer.headers["location"]) == (303, f"{SIGN_IN}?next={ACCOUNT}")
    assert [name for name in person.cookies if name.startswith(WAY)] == []


async def test_who_is_signed_in_is_sent_nowhere(person: Browser, app: AsyncClient, op: OpenIdProvider) -> None:
    ada = await register(app)
    await person.sign_in(ada)

    assert (await person.get(onwards_to(op, ACCOUNT))).headers["location"] == ACCOUNT
    assert (await person.get(f"{RETURN}?way=x&code=y")).headers["location"] == "/console"
    assert await person.signed_in_as() == ada.username


async def test_who_says_no_there_is_back_at_the_sign_in(person: Browser, op: OpenIdProvider, app: AsyncClient) -> None:
    location = await sent(person, onwards_to(op, ACCOUNT))
    state = quote(query_of(location)["state"])

    called = await person.get(f"{BASE}/oauth/{op.name}/callback?error=access_denied&state={state}")
    page = await person.open(called.headers["location"].removeprefix(ORIGIN))

    assert (page.path, page.form(SIGN_IN).fields["next"]) == (SIGN_IN, ACCOUNT)
    assert page.alerts == ["You were not signed in there. You can try again, or use another way."]


@pytest.mark.parametrize(
    "query", ["", "?way=x", "?way=AAAAAAAAAAA&code=x", "?code=x", "?way=%00", "?way=" + "x" * 3000]
)
async def test_who_did_not_set_out_does_not_come_back(person: Browser, query: str) -> None:
    answer = await person.get(RETURN + query)

    assert answer.status_code in (303, 400)
    assert answer.headers.get("location", SIGN_IN) == SIGN_IN
    garbled = {"Cookie": f"{WAY}AAAAAAAAAAA=garbage"}
    assert (await person.http.get(f"{RETURN}?way=AAAAAAAAAAA&code=x", headers=garbled)).status_code == 303


async def test_a_second_factor_of_ours_is_asked_for_and_leads_on(
    person: Browser, web: AsyncClient, op: OpenIdProvider, app: AsyncClient
) -> None:
    subject = op.register()
    await there_and_back(person, web, onwards_to(op), subject)
    name = str(await person.signed_in_as())
    authenticator = await enrolled(session_of(person, app))
    await person.send(await person.open(ACCOUNT), "/console/sign-out")

    page = await there_and_back(person, web, onwards_to(op, f"{ACCOUNT}?x=1"), subject)
    assert ACCESS not in person.cookies
    code = f"{SIGN_IN}/code"
    fields = page.form(code).fields | {"recovery_code": authenticator.codes[0]}
    answer = await person.post(code, fields)

    assert (answer.status_code, answer.headers["location"]) == (303, f"{ACCOUNT}?x=1")
    assert await person.signed_in_as() == name


async def test_who_may_have_no_account_is_told_so(person: Browser, web: AsyncClient, realm: Realm) -> None:
    shut = realm.take("shut")

    page = await there_and_back(person, web, onwards_to(shut), shut.register())

    assert page.status == 403
    assert page.alerts == ["No account is made for this identity: ask an administrator."]
    assert page.form(SIGN_IN).method == "post"


async def test_who_has_an_account_with_the_address_is_told_to_sign_in(
    person: Browser, web: AsyncClient, op: OpenIdProvider, app: AsyncClient
) -> None:
    email = f"{new_name()}@example.org"
    await register(app, email=email)

    page = await there_and_back(person, web, onwards_to(op), op.register(email=email, email_verified=True))

    assert page.status == 409
    assert "sign in as you do" in page.alerts[0]


async def test_a_provider_that_is_away_or_none_is_told_on_a_page(person: Browser, op: OpenIdProvider) -> None:
    op.metadata = {"issuer": "https://somebody.example"}

    away = await person.open(onwards_to(op, ACCOUNT))
    none = await person.open(f"{SIGN_IN}/with/nobody")

    assert (away.status, away.form(SIGN_IN).fields["next"]) == (503, ACCOUNT)
    assert none.status == 404
    assert (await person.open(f"{SIGN_IN}/with/gpustack")).status == 404


async def test_an_application_cannot_have_anybody_sent_to_the_console(
    app: AsyncClient, op: OpenIdProvider, settings: Settings
) -> None:
    for page in (RETURN, f"{RETURN}?way=AAAAAAAAAAA", f"{IDENTITIES}/return", "/console"):
        asked = {"redirect_to": f"{settings.public_url}{page}", "code_challenge": s256("x")}
        answer = await app.get(f"/oauth/{op.name}/start", params=asked, headers=from_ip())

        problem(answer, 422, "validation_failed")

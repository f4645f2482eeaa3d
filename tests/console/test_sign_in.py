"""Signing in by the pages of the console, with no scripts."""

import asyncio
from collections.abc import Callable

import pytest
from httpx import AsyncClient
from litestar import get

from app.console import cookies
from app.sessions.caller import Caller
from app.settings import Settings
from tests.console.kit import ACCESS, ACCOUNT, FORM, REFRESH, SIGN_IN, Browser
from tests.identity.factorkit import with_factor, within_a_step
from tests.kit import Person, log_in, new_name, new_password, register
from tests.replica import serving

CODE = f"{SIGN_IN}/code"
NewBrowser = Callable[[], Browser]

ELSEWHERE = [
    "https://evil.example/console",
    "//evil.example",
    "/\\evil.example",
    "/console/..//evil.example",
    "/console\\..\\evil",
    "/console/../api/auth/v2/me",
    "/console/%2e%2e/docs",
    "/console/.%2E",
    "/console/..%2fevil",
    "/console/%5cevil.example",
    "/consoleevil",
    "/console@evil.example",
    "javascript:alert(1)",
    "/console/\r\nSet-Cookie: a=b",
    "/console/\tx",
    "/console/\u202eevil",
    "/console/" + "x" * 2000,
]


async def test_by_name_and_password_to_where_one_wanted_to_go(browser: Browser, ada: Person) -> None:
    first = await browser.open(f"{ACCOUNT}?a=b%20c")
    assert (first.path, first.status) == (SIGN_IN, 200)

    form = first.form(SIGN_IN)
    answer = await browser.post(SIGN_IN, form.fields | {"username": ada.username, "password": ada.password})

    assert (answer.status_code, answer.headers["location"]) == (303, f"{ACCOUNT}?a=b%20c")
    assert await browser.signed_in_as() == ada.username


async def test_no_script_and_no_other_page_reads_what_the_browser_keeps(browser: Browser, ada: Person) -> None:
    form = (await browser.open(SIGN_IN)).form(SIGN_IN)
    answer = await browser.post(SIGN_IN, form.fields | {"username": ada.username, "password": ada.password})

    kept = answer.headers.get_list("set-cookie")
    assert {each.partition("=")[0] for each in kept} == {ACCESS, REFRESH}
    for each in kept:
        assert {"HttpOnly", "Secure", "SameSite=lax", "Path=/"} <= set(each.split("; "))
        assert "Domain" not in each


async def test_a_wrong_password_and_an_unknown_name_are_answered_alike(browser: Browser, ada: Person) -> None:
    page = await browser.open(f"{SIGN_IN}?next={ACCOUNT}")
    wrong = await browser.send(page, SIGN_IN, username=ada.username, password="wrong <horse>")
    unknown = await browser.send(page, SIGN_IN, username=new_name(), password="wrong <horse>")

    for each in (wrong, unknown):
        assert (each.status, each.alerts) == (401, ["Username or password is wrong."])
        assert "horse" not in each.answer.text
        assert each.form(SIGN_IN).fields["next"] == ACCOUNT
    assert wrong.form(SIGN_IN).fields["username"] == ada.username
    assert wrong.form(SIGN_IN).fields["password"] == ""
    assert ACCESS not in browser.cookies


async def test_what_is_missing_or_too_long_is_said_beside_its_field(browser: Browser) -> None:
    page = await browser.open(SIGN_IN)

    empty = await browser.send(page, SIGN_IN, username="ada")
    long = await browser.send(page, SIGN_IN, username="a" * 100_000, password="b")

    assert (empty.status, empty.errors) == (422, {"password": "Please fill this in."})
    assert (long.status, long.errors) == (422, {"username": "This may have at most 255 characters."})
    assert empty.form(SIGN_IN).fields["username"] == "ada"


@pytest.mark.parametrize("onwards", ELSEWHERE)
async def test_nobody_is_sent_to_another_site(browser: Browser, ada: Person, onwards: str) -> None:
    form = (await browser.open(SIGN_IN)).form(SIGN_IN)
    sent = form.fields | {"username": ada.username, "password": ada.password, "next": onwards}

    answer = await browser.post(SIGN_IN, sent)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console")
    there = await browser.http.get(SIGN_IN, params={"next": onwards})
    assert (there.status_code, there.headers["location"]) == (303, "/console")


async def test_the_page_carries_on_only_where_it_may_lead(browser: Browser) -> None:
    page = await browser.http.get(SIGN_IN, params={"next": "//evil.example"})

    assert page.status_code == 200
    assert "evil" not in page.text.replace("next=%2F%2Fevil.example", "")


async def test_who_is_signed_in_is_not_asked_again(browser: Browser, ada: Person) -> None:
    await browser.sign_in(ada)

    answer = await browser.get(f"{SIGN_IN}?next={ACCOUNT}")

    assert (answer.status_code, answer.headers["location"]) == (303, ACCOUNT)


@pytest.mark.parametrize("path", [CODE, f"{SIGN_IN}/passkey"])
async def test_the_address_of_a_forms_answer_leads_to_the_sign_in(browser: Browser, path: str) -> None:
    assert (await browser.open(path)).path == SIGN_IN


async def test_signing_out_is_a_form_and_no_link(browser: Browser, ada: Person) -> None:
    await browser.sign_in(ada)

    assert (await browser.get("/console/sign-out")).status_code in (404, 405)
    assert await browser.signed_in_as() == ada.username
    old = dict(browser.cookies)
    out = await browser.send(await browser.open(ACCOUNT), "/console/sign-out")

    assert (out.path, out.alerts) == (SIGN_IN, ["You have signed out."])
    assert {ACCESS, REFRESH}.isdisjoint(browser.cookies)
    browser.http.cookies.update({ACCESS: old[ACCESS], REFRESH: old[REFRESH]})
    assert await browser.signed_in_as() is None


# ---- the second factor ----------------------------------------------------------------------------------------------


async def test_a_code_comes_second_and_leads_where_the_password_would_have(
    browser: Browser, client: AsyncClient, ada: Person
) -> None:
    _, authenticator = await with_factor(client, ada)
    asked = await browser.sign_in(ada, f"{ACCOUNT}?x=1")
    assert asked.status == 200
    assert ACCESS not in browser.cookies

    wrong = await browser.send(asked, CODE, code="000000")
    assert wrong.status == 401
    assert wrong.form(CODE).fields["mfa_token"] == asked.form(CODE).fields["mfa_token"]
    assert ada.password not in wrong.answer.text
    fields = wrong.form(CODE).fields
    answer = await within_a_step(lambda: browser.post(CODE, fields | {"code": authenticator.code(1)}))

    assert (answer.status_code, answer.headers["location"]) == (303, f"{ACCOUNT}?x=1")
    assert await browser.signed_in_as() == ada.username


async def test_a_recovery_code_stands_in_for_the_authenticator(
    browser: Browser, client: AsyncClient, ada: Person
) -> None:
    _, authenticator = await with_factor(client, ada)
    asked = await browser.sign_in(ada)

    inside = await browser.send(asked, CODE, code="123", recovery_code=authenticator.codes[0])

    assert inside.path == ACCOUNT
    again = await browser.post(CODE, asked.form(CODE).fields | {"recovery_code": authenticator.codes[1]})
    assert again.status_code == 403  # the form is from before


async def test_the_first_step_of_somebody_is_no_use_to_somebody_else(
    new_browser: NewBrowser, client: AsyncClient, ada: Person
) -> None:
    await with_factor(client, ada)
    mallory = await register(client)
    _, his = await with_factor(client, mallory)
    asked = await new_browser().sign_in(ada)
    browser = new_browser()
    page = await browser.sign_in(mallory)

    crossed = {"mfa_token": asked.form(CODE).fields["mfa_token"], "recovery_code": his.codes[0]}
    answer = await browser.send(page, CODE, **crossed)

    assert answer.status == 401
    assert ACCESS not in browser.cookies


async def test_rubbish_in_the_second_step_is_answered_by_a_page(browser: Browser) -> None:
    token = (await browser.open(SIGN_IN)).form(SIGN_IN).fields["csrf_token"]
    for fields in ({}, {"mfa_token": "x" * 5000, "code": "1"}, {"mfa_token": "ghm1_é", "methods": "<b>", "code": "1"}):
        answer = await browser.post(CODE, {"csrf_token": token, **fields})

        assert answer.status_code in (401, 422)
        assert "<b>" not in answer.text


# ---- whose form it is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://auth.example.test.evil.example"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
async def test_a_page_of_another_site_signs_nobody_in(browser: Browser, ada: Person, headers: dict[str, str]) -> None:
    form = (await browser.open(SIGN_IN)).form(SIGN_IN)

    answer = await browser.post(SIGN_IN, form.fields | {"username": ada.username, "password": ada.password}, **headers)

    assert answer.status_code == 403
    assert ACCESS not in browser.cookies


async def test_a_form_needs_the_token_of_this_browser(new_browser: NewBrowser, ada: Person) -> None:
    browser, other = new_browser(), new_browser()
    credentials = {"username": ada.username, "password": ada.password}
    theirs = (await other.open(SIGN_IN)).form(SIGN_IN).fields["csrf_token"]
    await browser.open(SIGN_IN)

    for token in ({}, {"csrf_token": ""}, {"csrf_token": theirs}, {"csrf_token": "é"}):
        assert (await browser.post(SIGN_IN, credentials | token)).status_code == 403
    assert ACCESS not in browser.cookies
    without_cookie = new_browser()
    refused = await without_cookie.post(SIGN_IN, credentials | {"csrf_token": theirs, "page": SIGN_IN})
    assert refused.status_code == 403
    assert "Your browser has kept no cookie of this page" in refused.text


async def test_a_form_of_one_session_is_none_of_another(new_browser: NewBrowser, client: AsyncClient) -> None:
    ada, bob = await register(client), await register(client)
    browser, other = new_browser(), new_browser()
    await browser.sign_in(ada)
    other.http.cookies.set(FORM, browser.cookies[FORM], domain="auth.example.test")
    await other.sign_in(bob)
    of_ada = (await browser.open(ACCOUNT)).form(ACCOUNT)

    answer = await other.post(ACCOUNT, of_ada.fields | {"full_name": "Somebody Else"})

    assert answer.status_code == 403
    assert "Somebody Else" not in (await other.open(ACCOUNT)).answer.text


async def test_a_form_from_before_the_sign_in_leads_back_to_its_page(browser: Browser, ada: Person) -> None:
    two_tabs = await browser.open(SIGN_IN)
    await browser.sign_in(ada)
    old = dict(browser.cookies)

    again = await browser.send(two_tabs, SIGN_IN, username=ada.username, password=ada.password)

    assert (again.status, again.title.partition(" ·")[0]) == (403, "Not possible")
    assert again.links["Open the page again"] == SIGN_IN
    assert browser.cookies[ACCESS] == old[ACCESS]
    assert await browser.signed_in_as() == ada.username


async def test_fields_that_come_twice_or_as_something_else_are_refused(browser: Browser) -> None:
    token = (await browser.open(SIGN_IN)).form(SIGN_IN).fields["csrf_token"]
    form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "https://auth.example.test"}

    twice = await browser.http.post(SIGN_IN, content=f"csrf_token={token}&csrf_token={token}", headers=form)
    broken = await browser.http.post(SIGN_IN, content=b"a=%ff&b=%00", headers=form)
    other = await browser.http.post(SIGN_IN, json={"csrf_token": token})
    large = await browser.http.post(SIGN_IN, content=b"a=" + b"x" * (1 << 20), headers=form)

    assert [each.status_code for each in (twice, broken, other, large)] == [400, 400, 415, 413]
    assert all(each.headers["content-type"].startswith("text/html") for each in (twice, broken, other, large))


# ---- whose cookie it is ---------------------------------------------------------------------------------------------


async def test_who_signs_in_gets_another_session_than_the_browser_had(
    new_browser: NewBrowser, client: AsyncClient, ada: Person
) -> None:
    attacker = new_browser()
    await attacker.sign_in(await register(client))
    planted = attacker.cookies
    await attacker.send(await attacker.open(ACCOUNT), "/console/sign-out")
    victim = new_browser()
    for name in (ACCESS, REFRESH, FORM):
        victim.http.cookies.set(name, planted[name], domain="auth.example.test", path="/")

    await victim.sign_in(ada)

    assert await victim.signed_in_as() == ada.username
    assert victim.cookies[ACCESS] != planted[ACCESS]
    assert victim.cookies[REFRESH] != planted[REFRESH]
    assert await attacker.signed_in_as() is None


@pytest.mark.parametrize("value", ["x", "eyJ.eyJ.x", "a" * 8000, '"', "%00", "\xff\xfe", "ghr1_x", " ", "=;="])
async def test_garbage_in_cookies_is_nobody(browser: Browser, value: str) -> None:
    for name in (ACCESS, REFRESH, FORM, f"{FORM.removesuffix('-form')}-told"):
        header = [(b"cookie", f"{name}={value}".encode("latin-1"))]
        page = await browser.http.get(SIGN_IN, headers=header)
        account = await browser.http.get(ACCOUNT, headers=header)

        assert page.status_code == 200
        assert (account.status_code, account.headers["location"]) == (303, f"{SIGN_IN}?next={ACCOUNT}")


async def test_of_two_cookies_of_a_name_neither_counts(browser: Browser, new_browser: NewBrowser, ada: Person) -> None:
    await browser.sign_in(ada)
    access = browser.cookies[ACCESS]

    other = new_browser()
    answer = await other.http.get(ACCOUNT, headers={"Cookie": f"{ACCESS}=x; {ACCESS}={access}"})

    assert answer.status_code == 303
    alone = await other.http.get(ACCOUNT, headers={"Cookie": f"{ACCESS}={access}"})
    assert alone.status_code == 200


async def test_two_tabs_may_renew_the_session_at_once(browser: Browser, new_browser: NewBrowser, ada: Person) -> None:
    await browser.sign_in(ada)
    refresh = {"Cookie": f"{REFRESH}={browser.cookies[REFRESH]}"}

    tabs = await asyncio.gather(*(new_browser().http.get(ACCOUNT, headers=refresh) for _ in range(3)))

    assert [each.status_code for each in tabs] == [200, 200, 200]
    assert all(any(line.startswith(f"{ACCESS}=ey") for line in each.headers.get_list("set-cookie")) for each in tabs)


async def test_an_access_token_that_is_too_long_for_a_cookie_is_made_anew_for_each_page(
    browser: Browser, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cookies, "LONGEST", 10)
    await browser.sign_in(ada)

    assert ACCESS not in browser.cookies
    assert await browser.signed_in_as() == ada.username
    assert await browser.signed_in_as() == ada.username


async def test_a_session_that_was_ended_elsewhere_leads_to_the_sign_in_and_says_so(
    browser: Browser, client: AsyncClient, ada: Person
) -> None:
    await browser.sign_in(ada)
    session = await log_in(client, ada)
    assert (await session.ask("POST", "/logout/all")).status_code in (200, 204)

    page = await browser.open(ACCOUNT)

    assert (page.path, page.alerts) == (SIGN_IN, ["Your session has ended. Sign in to continue."])
    assert {ACCESS, REFRESH}.isdisjoint(browser.cookies)


async def test_an_authorization_header_signs_nobody_in(browser: Browser, client: AsyncClient, ada: Person) -> None:
    session = await log_in(client, ada)

    answer = await browser.http.get(ACCOUNT, headers=session.bearer)

    assert answer.status_code == 303


async def test_a_route_of_an_application_may_have_a_name_that_begins_so(settings: Settings, ada: Person) -> None:
    @get("/consoles")
    async def consoles(caller: Caller) -> str:
        return caller.subject.username

    async with serving(settings, [consoles]) as replica:
        session = await log_in(replica.client, ada)
        browser = Browser(replica.edge)
        by_token = await browser.http.get("/consoles", headers=session.bearer)
        await browser.sign_in(ada)
        by_cookie = await browser.http.get("/consoles")

    assert (by_token.status_code, by_token.text) == (200, ada.username)
    assert by_cookie.status_code == 401


async def test_the_host_that_a_request_names_leads_nowhere(browser: Browser, ada: Person) -> None:
    page = await browser.http.get(SIGN_IN, headers={"Host": "evil.example"})
    redirect = await browser.http.get(ACCOUNT, headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"})

    assert "evil" not in page.text
    assert redirect.headers["location"] == f"{SIGN_IN}?next={ACCOUNT}"


async def test_too_many_tries_say_when_to_try_again(browser: Browser, ada: Person) -> None:
    page = await browser.open(SIGN_IN)
    for _ in range(5):
        await browser.send(page, SIGN_IN, username=ada.username, password=new_password())

    refused = await browser.send(page, SIGN_IN, username=ada.username, password=ada.password)

    assert refused.status == 429
    assert int(refused.answer.headers["retry-after"]) > 60
    assert refused.alerts == ["There were too many attempts. Try again in 15 minutes."]

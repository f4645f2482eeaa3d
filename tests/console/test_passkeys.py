"""Passkeys on pages: a script puts into a field what the browser gives it; here it is an authenticator in software."""

import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from httpx import AsyncClient

from app.parts import Parts
from tests.console.kit import ACCESS, ACCOUNT, REFRESH, SIGN_IN, Browser, Page
from tests.identity.factorkit import enrolled, long_ago, within_a_step
from tests.identity.webauthnkit import WRONG, Key, added
from tests.kit import Person, SignedIn, log_in, new_password, register

PASSKEY = f"{SIGN_IN}/passkey"
CONFIRM = "/console/confirm"
SENSITIVE = f"{ACCOUNT}/identities/link/nowhere"  # what asks for a present login first; a 404 after that
NewBrowser = Callable[[], Browser]


def asked(page: Page, action: str = PASSKEY) -> dict[str, Any]:
    options: dict[str, Any] = json.loads(page.form(action).data["data-passkey"])
    return options


async def grown_old(parts: Parts, browser: Browser, client: AsyncClient) -> None:
    """The browser's login is no present one any more."""
    claims = jwt.decode(browser.cookies[ACCESS], options={"verify_signature": False})
    await long_ago(parts, SignedIn(client, {"session_id": claims["sid"]}))


@pytest.fixture
async def key(client: AsyncClient, ada: Person) -> Key:
    return await added(await log_in(client, ada))


async def test_it_signs_in_with_what_the_page_asks_for(browser: Browser, ada: Person, key: Key) -> None:
    page = await browser.open(f"{SIGN_IN}?next={ACCOUNT}%3Fx=1")

    shown = json.dumps(key.shown(asked(page)))
    answer = await browser.post(PASSKEY, page.form(PASSKEY).fields | {"credential": shown})

    assert (answer.status_code, answer.headers["location"]) == (303, f"{ACCOUNT}?x=1")
    assert await browser.signed_in_as() == ada.username


async def test_it_is_no_use_a_second_time_not_even_in_another_browser(
    browser: Browser, new_browser: NewBrowser, key: Key
) -> None:
    page = await browser.open(SIGN_IN)
    shown = json.dumps(key.shown(asked(page)))
    assert (await browser.send(page, PASSKEY, credential=shown)).path == ACCOUNT

    thief = new_browser()
    refused = await thief.send(await thief.open(SIGN_IN), PASSKEY, credential=shown)

    assert (refused.status, refused.alerts) == (401, ["This passkey is not accepted."])
    assert ACCESS not in thief.cookies


@pytest.mark.parametrize(
    "wrong", [*(each for each in WRONG if "kind" not in each), {"kind": "webauthn.create"}], ids=str
)
async def test_what_is_not_quite_right_signs_nobody_in(browser: Browser, key: Key, wrong: dict[str, Any]) -> None:
    page = await browser.open(SIGN_IN)

    refused = await browser.send(page, PASSKEY, credential=json.dumps(key.shown(asked(page), **wrong)))

    assert refused.status in (401, 422)
    assert ACCESS not in browser.cookies


@pytest.mark.parametrize("rubbish", ["", "x", "[]", "{}", "null", '{"id":1}', "[" * 300, '{"a":1,"a":2}', "\u20ac"])
async def test_rubbish_is_answered_by_the_page(browser: Browser, rubbish: str) -> None:
    page = await browser.open(f"{SIGN_IN}?next={ACCOUNT}")

    refused = await browser.send(page, PASSKEY, credential=rubbish)

    assert (refused.status, refused.alerts) == (401, ["This passkey is not accepted."])
    assert refused.form(SIGN_IN).fields["next"] == ACCOUNT


# ---- who one is, once more ------------------------------------------------------------------------------------------


async def test_who_has_a_password_says_it_once_more_and_goes_on(
    browser: Browser, parts: Parts, client: AsyncClient, ada: Person
) -> None:
    await browser.sign_in(ada)
    assert (await browser.open(SENSITIVE)).status == 404
    await grown_old(parts, browser, client)
    page = await browser.open(SENSITIVE)
    assert page.path == CONFIRM
    assert set(page.form(CONFIRM).fields) == {"csrf_token", "page", "next", "password"}
    assert not [form for form in page.forms if "data-passkey" in form.data]

    wrong = await browser.send(page, CONFIRM, password=new_password())
    missing = await browser.send(page, CONFIRM)
    assert (wrong.status, wrong.alerts) == (401, ["This is not your current password."])
    assert (missing.status, missing.errors) == (422, {"password": "Please fill this in."})
    before = dict(browser.cookies)
    there = await browser.send(wrong, CONFIRM, password=ada.password)

    assert (there.status, there.path) == (404, SENSITIVE)
    assert browser.cookies[REFRESH] != before[REFRESH]


async def test_who_has_a_second_factor_shows_that_and_is_not_sent_in_circles(
    browser: Browser, parts: Parts, client: AsyncClient, ada: Person
) -> None:
    await browser.sign_in(ada)
    authenticator = await enrolled(await log_in(client, ada))
    page = await browser.open(SENSITIVE)
    assert set(page.form(CONFIRM).fields) == {"csrf_token", "page", "next", "code"}

    assert (await browser.send(page, CONFIRM, code="000000")).status == 401
    fields = page.form(CONFIRM).fields
    answer = await within_a_step(lambda: browser.post(CONFIRM, fields | {"code": authenticator.code(1)}))

    assert (answer.status_code, answer.headers["location"]) == (303, SENSITIVE)
    assert (await browser.open(SENSITIVE)).status == 404


async def test_a_passkey_of_ones_own_is_enough(
    browser: Browser, parts: Parts, client: AsyncClient, ada: Person, key: Key
) -> None:
    await browser.sign_in(ada)
    await grown_old(parts, browser, client)
    page = await browser.open(SENSITIVE)
    stranger = await added(await log_in(client, await register(client)))
    by_passkey = f"{CONFIRM}/passkey"

    options = asked(page, by_passkey)
    assert (await browser.get(by_passkey)).headers["location"] == CONFIRM
    other = await browser.send(page, by_passkey, credential=json.dumps(stranger.shown(options)))
    assert (other.status, other.path) == (401, by_passkey)
    there = await browser.send(page, by_passkey, credential=json.dumps(key.shown(options)))

    assert (there.status, there.path) == (404, SENSITIVE)


async def test_who_is_not_signed_in_has_nothing_to_confirm(browser: Browser, ada: Person) -> None:
    page = await browser.open(f"{CONFIRM}?next={ACCOUNT}")

    assert page.path == SIGN_IN
    token = page.form(SIGN_IN).fields["csrf_token"]
    answer = await browser.post(CONFIRM, {"csrf_token": token, "password": ada.password})
    assert (answer.status_code, answer.headers["location"]) == (303, SIGN_IN)

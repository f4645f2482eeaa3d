"""GitHub, which knows no ID token: who is there is what its API says of the token."""

from typing import Any

import pytest
from httpx import AsyncClient

from app.parts import Parts
from tests.federation.kit import Browser, query_of, traces
from tests.federation.lies import ANYWHERE
from tests.federation.provider import Told, instead, with_fields
from tests.federation.realm import Realm
from tests.federation.refusals import refused
from tests.federation.server import Server, json
from tests.identity.kit import events
from tests.identity.mailkit import proved
from tests.kit import new_name, problem
from tests.mail.kit import Postbox


def address() -> str:
    return f"{new_name()}@example.org"


async def test_who_signs_in_with_github_is_who_its_api_says(browser: Browser, realm: Realm, parts: Parts) -> None:
    github, email = realm.take_github(), address()
    octo = github.register(email, name="Ada")

    flow = await browser.start(github)
    session = await browser.signed_in(github, octo)

    asked = query_of(flow.location)
    assert "nonce" not in asked
    assert "response_type" not in asked
    user = session.body["user"]
    assert (user["provider"], user["username"], user["full_name"]) == (github.name, octo, "Ada")
    assert (user["email"], user["email_verified"]) == (email, True)
    (identity,) = (await session.ask("GET", "/me/identities")).json()["items"]
    assert identity["issuer"] == github.issuer
    assert next(event for event, _ in await events(parts, user["id"])) == "user.registered"


async def test_somebody_is_his_number_whatever_his_login_is(browser: Browser, realm: Realm) -> None:
    """A login that is given up is free for the next one."""
    github = realm.take_github()
    octo = github.register(address())
    before = await browser.signed_in(github, octo)
    github.people["heir"] = github.people[octo] | {"user": {"id": 1, "login": octo}, "emails": []}
    github.people[octo]["user"]["login"] = "renamed"

    assert (await browser.signed_in(github, octo)).user_id == before.user_id
    assert (await browser.signed_in(github, "heir")).user_id != before.user_id


@pytest.mark.parametrize(
    "emails",
    [
        [],
        [{"email": "a@example.org", "primary": True, "verified": False}],
        [{"email": "a@example.org", "primary": False, "verified": True}],
        [{"email": "no address", "primary": True, "verified": True}],
    ],
)
async def test_an_address_is_his_first_that_is_proved_or_none(
    browser: Browser, realm: Realm, emails: list[dict[str, Any]]
) -> None:
    github = realm.take_github()
    octo = github.register(None)
    github.people[octo]["emails"] = emails

    user = (await browser.signed_in(github, octo)).body["user"]

    assert (user["email"], user["email_verified"]) == (None, False)


async def test_a_proved_address_links_where_the_settings_say_so(
    browser: Browser, realm: Realm, app: AsyncClient, postbox: Postbox
) -> None:
    github, ada = realm.take_github(), await proved(app, postbox)

    assert (await browser.signed_in(github, github.register(ada.email))).user_id == ada.id


async def test_the_first_of_many_addresses_is_found_wherever_it_stands(browser: Browser, realm: Realm) -> None:
    github = realm.take_github()
    email = address()
    octo = github.register(email)
    others = [{"email": address(), "primary": False, "verified": True} for _ in range(99)]
    github.people[octo]["emails"] = [*others, github.people[octo]["emails"][-1]]

    assert (await browser.signed_in(github, octo)).body["user"]["email"] == email


async def test_another_code_signs_nobody_in(browser: Browser, realm: Realm, parts: Parts) -> None:
    """GitHub says so with status 200."""
    github = realm.take_github()
    before = await traces(parts)
    github.back = {"code": "somebody-elses"}

    await refused(browser, github, github.register(address()), 401, "identity_not_accepted")

    assert await traces(parts) == before


async def test_the_issuer_that_it_names_is_its_own(browser: Browser, realm: Realm) -> None:
    """As GitHub documents it: where its OAuth endpoints are, not where its pages begin."""
    github = realm.take_github()
    github.back = {"iss": f"{github.issuer}/login/oauth"}

    assert (await browser.sign_in(github, github.register(address()))).status_code == 200


@pytest.mark.parametrize("iss", ["{issuer}", "{issuer}/login/oauth/", "{another}", ""])
async def test_an_answer_that_names_another_issuer_is_refused(browser: Browser, realm: Realm, iss: str) -> None:
    github = realm.take_github()
    github.back = {"iss": iss.format(issuer=github.issuer, another=realm.take().issuer)}

    await refused(browser, github, github.register(address()), 401, "identity_not_accepted")

    assert github.tokens == {}


async def test_it_cannot_be_told_to_ask_who_is_there(browser: Browser, realm: Realm) -> None:
    answer, _ = await browser.begin(realm.take_github(), prompt="login")

    body = problem(answer, 422, "validation_failed")
    assert [error["field"] for error in body["errors"]] == ["prompt"]


AWAY = {name: ANYWHERE[name] for name in ("without an end", "302", "HTML", "500", "404", "nothing", "no UTF-8", "deep")}
WRONG: dict[str, tuple[str, Told]] = {
    "no token": ("token", with_fields(access_token="")),
    "a token that is null": ("token", with_fields(access_token=None)),
    "a token of two lines": ("token", with_fields(access_token="a\r\nX: y")),
    "a token that is no ASCII": ("token", with_fields(access_token="ä")),
    "a token with a blank": ("token", with_fields(access_token="a b")),
    "a client that is unknown": ("token", instead(json({"error": "incorrect_client_credentials"}))),
    "no number": ("user", with_fields(id="4711")),
    "a number that is null": ("user", with_fields(id=None)),
    "a number that is true": ("user", with_fields(id=True)),
    "a number with a fraction": ("user", with_fields(id=1.5)),
    "no login": ("user", with_fields(login=None)),
    "addresses of another kind": ("emails", instead(json({"message": "no"}))),
    "an address that is proved in words": (
        "emails",
        instead(json([{"email": "root@example.org", "primary": True, "verified": "true"}])),
    ),
}


@pytest.mark.parametrize("endpoint", ["token", "user", "emails"])
@pytest.mark.parametrize("lie", AWAY.values(), ids=AWAY)
async def test_an_api_that_answers_what_it_should_not_is_as_if_it_were_away(
    browser: Browser, realm: Realm, parts: Parts, canary: Server, endpoint: str, lie: Any
) -> None:
    github = realm.take_github()
    before = await traces(parts)
    github.told[endpoint] = lie(f"{canary.origin}/elsewhere")

    await refused(browser, github, github.register(address()), 503, "unavailable")

    assert await traces(parts) == before


@pytest.mark.parametrize(("endpoint", "lie"), WRONG.values(), ids=WRONG)
async def test_nobody_is_who_the_api_does_not_say_rightly(
    browser: Browser, realm: Realm, parts: Parts, endpoint: str, lie: Told
) -> None:
    github = realm.take_github()
    before = await traces(parts)
    github.told[endpoint] = lie

    await refused(browser, github, github.register(address()), 503, "unavailable")

    assert await traces(parts) == before

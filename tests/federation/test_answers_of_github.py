"""What GitHub says beside its answer, and what it cannot be asked."""

import pytest

from tests.federation.kit import Browser
from tests.federation.realm import Realm
from tests.kit import problem


async def test_the_issuer_that_github_names_is_its_own(browser: Browser, realm: Realm) -> None:
    """As GitHub documents it: where its OAuth endpoints are, not where its pages begin."""
    github = realm.take_github()
    github.back = {"iss": f"{github.issuer}/login/oauth"}

    session = await browser.signed_in(github, github.register("ada@github.example"))

    assert session.body["user"]["email"] == "ada@github.example"


@pytest.mark.parametrize("iss", ["{issuer}", "{issuer}/login/oauth/", "https://op.example", ""])
async def test_an_answer_of_github_that_names_another_issuer_is_refused(
    browser: Browser, realm: Realm, iss: str
) -> None:
    github = realm.take_github()
    github.back = {"iss": iss.format(issuer=github.issuer)}
    flow = await browser.start(github)

    answer = await browser.back(flow, github.register("ada@github.example"))

    problem(answer, 401, "identity_not_accepted")
    assert github.tokens == {}


async def test_github_cannot_be_told_to_ask_who_is_there(browser: Browser, realm: Realm) -> None:
    """Said before anybody is sent there, not when he comes back."""
    answer, _ = await browser.begin(realm.take_github(), prompt="login")

    assert problem(answer, 422, "validation_failed")["errors"][0]["field"] == "prompt"
    assert browser.cookies == {}


@pytest.mark.parametrize("token", ["", "é", "a b", "a\nb"])
async def test_a_token_of_github_that_is_none_is_shown_to_nobody(browser: Browser, realm: Realm, token: str) -> None:
    github = realm.take_github()
    github.token_answer = {"access_token": token}

    answer = await browser.back(await browser.start(github), github.register("ada@github.example"))

    problem(answer, 503, "unavailable")
    assert f"{github.prefix}/api/v3/user" not in realm.server.counts


async def test_the_first_of_many_addresses_is_found_wherever_it_stands(browser: Browser, realm: Realm) -> None:
    github = realm.take_github()
    octo = github.register("last@github.example")
    others = [{"email": f"{number}@github.example", "primary": False, "verified": True} for number in range(99)]
    github.people[octo]["emails"] = [*others, github.people[octo]["emails"][-1]]

    session = await browser.signed_in(github, octo)

    assert session.body["user"]["email"] == "last@github.example"

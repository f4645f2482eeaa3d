"""What an operator says of a provider: who gets an account, whose word is taken, and for what."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from httpx import AsyncClient

from app.identity import federated_login
from app.parts import Parts
from app.settings import Settings
from tests.federation.kit import Browser, exchange, link, query_of, traces
from tests.federation.provider import OpenIdProvider
from tests.federation.realm import Realm
from tests.identity.factorkit import enrolled, second_step
from tests.identity.kit import events
from tests.identity.mailkit import link_in, proved, use
from tests.kit import SignedIn, log_in, new_name, problem, register
from tests.mail.kit import Postbox
from tests.replica import serving


def address(domain: str = "example.org") -> str:
    return f"{new_name()}@{domain}"


async def linked(browser: Browser, session: SignedIn, op: OpenIdProvider, **said: Any) -> str:
    """Somebody at the provider who is the session's user from now on."""
    person = op.register(**said)
    assert (await link(session, *await browser.code(op, person))).status_code == 201
    return person


# ---- what is on offer -----------------------------------------------------------------------------------------------


async def test_what_is_on_offer_is_told_to_anybody(
    realm: Realm, settings: Settings, client: AsyncClient, op: OpenIdProvider
) -> None:
    known = realm.known_to(settings, [op.name, "github-0"])
    async with serving(replace(known, gpustack_url="https://gpustack.example.test")) as house:
        answer = await house.client.get("/providers")

    assert answer.json() == {
        "items": [
            {"name": op.name, "kind": "oidc", "label": op.name.capitalize()},
            {"name": "github-0", "kind": "oauth2", "label": "GitHub"},
            {"name": "gpustack", "kind": "gpustack", "label": "GPUStack"},
        ]
    }
    assert (await client.get("/providers")).json() == {"items": []}


# ---- who gets an account --------------------------------------------------------------------------------------------


async def test_where_nobody_may_sign_up_nobody_does(
    browser: Browser, realm: Realm, app: AsyncClient, parts: Parts
) -> None:
    """Who is known is let in all the same."""
    op = realm.take("shut")
    before = await traces(parts)
    problem(await browser.sign_in(op, op.register(email=address(), email_verified=True)), 403, "forbidden")
    assert await traces(parts) == before
    ada = await log_in(app, await register(app))

    person = await linked(browser, ada, op)

    assert (await browser.signed_in(op, person)).user_id == ada.user_id


@pytest.mark.parametrize(
    ("kind", "email", "is_let_in"),
    [("plain", "a@example.org", False), ("open", "a@example.org", True), ("own", "a@example.org", True)],
)
async def test_where_registration_is_closed_the_settings_of_the_provider_have_to_say_that_it_is_open(
    realm: Realm,
    settings: Settings,
    browser: Browser,
    kind: str,
    email: str,
    is_let_in: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    op = realm.take(kind)
    known = realm.known_to(settings, [op.name])
    async with serving(replace(known, registration="closed")) as house:
        browser.app = house.client
        answer = await browser.sign_in(op, op.register(email=f"{new_name()}{email}", email_verified=True))

        if is_let_in:
            assert answer.status_code == 200, answer.text
        else:
            problem(answer, 403, "forbidden")


@pytest.mark.parametrize("domain", ["example.org", "EXAMPLE.ORG", "sub.example.net"])
async def test_who_has_a_proved_address_of_the_domains_gets_an_account(
    browser: Browser, realm: Realm, domain: str
) -> None:
    op = realm.take("own")

    session = await browser.signed_in(op, op.register(email=address(domain), email_verified=True))

    assert session.body["user"]["email_verified"]


@pytest.mark.parametrize(
    ("domain", "verified"),
    [
        ("example.org", False),
        ("example.org", "true"),
        ("example.net", True),
        ("a.example.org", True),
        ("notexample.org", True),
        ("example.org.evil.example", True),
        ("evil.example", True),
        (None, True),
    ],
)
async def test_who_has_none_gets_none(
    browser: Browser, realm: Realm, parts: Parts, domain: str | None, verified: object
) -> None:
    op = realm.take("own")
    before = await traces(parts)
    said = {} if domain is None else {"email": address(domain)}

    answer = await browser.sign_in(op, op.register(**said, email_verified=verified))

    problem(answer, 403, "forbidden")
    assert await traces(parts) == before


async def test_a_domain_is_what_stands_behind_the_last_at(browser: Browser, realm: Realm) -> None:
    op = realm.take("own")
    for email in ("a@example.org@evil.example", '"a@example.org"@evil.example', "a@evil.example,b@example.org"):
        problem(await browser.sign_in(op, op.register(email=email, email_verified=True)), 403, "forbidden")


# ---- whose word is taken for an address -----------------------------------------------------------------------------


@pytest.mark.parametrize("verified", [True, False])
async def test_an_address_that_somebody_here_has_is_not_enough_to_be_him(
    browser: Browser,
    op: OpenIdProvider,
    postbox: Postbox,
    app: AsyncClient,
    parts: Parts,
    verified: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """He signs in as he does, and links the identity."""
    ada = await proved(app, postbox)
    before = await traces(parts)
    said = {"email": str(ada.email).upper(), "email_verified": verified}

    problem(await browser.sign_in(op, op.register(**said)), 409, "email_taken")

    assert await traces(parts) == before
    session = await log_in(app, ada)
    person = await linked(browser, session, op, **said)
    assert (await browser.signed_in(op, person)).user_id == ada.id


async def test_who_has_proved_his_address_here_and_there_is_the_same_where_the_settings_say_so(
    browser: Browser, realm: Realm, postbox: Postbox, app: AsyncClient, parts: Parts
) -> None:
    op = realm.take("linking")
    ada = await proved(app, postbox)
    said = {"email": str(ada.email).upper(), "email_verified": True, "name": "Mallory", "preferred_username": "mallory"}

    session = await browser.signed_in(op, op.register(**said))

    user = session.body["user"]
    assert (user["id"], user["username"], user["provider"]) == (ada.id, ada.username, "local")
    assert user["full_name"] is None
    assert ("identity.linked", {"provider": op.name}) in await events(parts, ada.id)
    await log_in(app, ada)  # the password stays good
    await link_in(postbox, str(ada.email), "not-me")
    notice = next(mail for mail in postbox.of(str(ada.email)) if op.name.capitalize() in mail.message["subject"])
    assert "can sign in to your account" in notice.message["subject"]


@pytest.mark.parametrize(
    ("here", "there"), [(True, False), (False, True), (False, False), (True, "true"), (True, 1), (True, None)]
)
async def test_unless_either_has_not(
    browser: Browser,
    realm: Realm,
    postbox: Postbox,
    app: AsyncClient,
    parts: Parts,
    here: bool,  # noqa: FBT001 - a parameter of the test
    there: object,
) -> None:
    """Whoever registers somebody's address before him would otherwise get his sign-ins, and the other way about."""
    op = realm.take("linking")
    ada = await proved(app, postbox) if here else await register(app, email=address())
    before = await traces(parts)

    problem(await browser.sign_in(op, op.register(email=ada.email, email_verified=there)), 409, "email_taken")

    assert await traces(parts) == before


async def test_unless_it_is_another_mailbox_that_is_only_kept_alike(browser: Browser, realm: Realm) -> None:
    """U+212A is kept as a k; where it was proved it may have been something else."""
    op = realm.take("linking")
    name = address()
    await browser.signed_in(op, op.register(email=f"k{name}", email_verified=True))

    problem(await browser.sign_in(op, op.register(email=f"\u212a{name}", email_verified=True)), 409, "email_taken")


async def test_a_provider_links_no_more_identities_than_somebody_could_himself(
    browser: Browser, realm: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(federated_login, "MOST", 2)
    op = realm.take("linking")
    said = {"email": address(), "email_verified": True}
    session = await browser.signed_in(op, op.register(**said))
    assert (await browser.signed_in(op, op.register(**said))).user_id == session.user_id

    problem(await browser.sign_in(op, op.register(**said)), 409, "conflict")

    assert len((await session.ask("GET", "/me/identities")).json()["items"]) == 2


async def test_unless_the_address_is_of_another_domain_than_the_provider_is_trusted_with(
    browser: Browser, realm: Realm, postbox: Postbox, app: AsyncClient, admin: SignedIn
) -> None:
    op = realm.take("narrow")
    ada = await proved(app, postbox)
    moved = address("example.net")
    assert (await admin.ask("PATCH", f"/users/{ada.id}", json={"email": moved})).status_code == 200
    assert (await use(app, "/email/verify", await link_in(postbox, moved, "verify-email"))).status_code == 204

    problem(await browser.sign_in(op, op.register(email=moved, email_verified=True)), 409, "email_taken")


# ---- second factors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "amr"), [("plain", ["pwd", "mfa"]), ("trusting", ["pwd"]), ("trusting", [])])
async def test_our_second_factor_is_asked_for(browser: Browser, realm: Realm, kind: str, amr: list[str]) -> None:
    op = realm.take(kind)
    ada = op.register()
    session = await browser.signed_in(op, ada)
    authenticator = await enrolled(session)
    op.claims["amr"] = amr

    due = problem(await browser.sign_in(op, ada, device_name="Ada's laptop"), 401, "mfa_required")

    assert due["methods"] == ["totp", "recovery_code"]
    problem(await second_step(browser.app, due["mfa_token"], code="000000"), 401, "invalid_mfa")
    answer = await second_step(browser.app, due["mfa_token"], recovery_code=authenticator.codes[0])
    after = SignedIn(browser.app, answer.json())
    assert (after.user_id, after.claims["amr"]) == (session.user_id, ["fed", "otp", "mfa"])
    own = next(each for each in (await after.ask("GET", "/me/sessions")).json()["items"] if each["current"])
    assert own["device_name"] == "Ada's laptop"


async def test_unless_the_provider_had_one_and_is_trusted_with_that(browser: Browser, realm: Realm) -> None:
    op = realm.take("trusting")
    ada = op.register()
    await enrolled(await browser.signed_in(op, ada))
    op.claims["amr"] = ["pwd", "hwk", "mfa"]

    session = await browser.signed_in(op, ada)

    assert session.claims["amr"] == ["fed", "mfa"]


async def test_a_second_step_that_began_elsewhere_ends_with_its_identity(
    browser: Browser, op: OpenIdProvider, app: AsyncClient
) -> None:
    """Whoever takes the identity away ends the sign-ins by it that wait for a code."""
    ada = await log_in(app, await register(app))
    person = await linked(browser, ada, op)
    authenticator = await enrolled(ada)
    due = problem(await browser.sign_in(op, person), 401, "mfa_required")
    (identity,) = (await ada.ask("GET", "/me/identities")).json()["items"]
    assert (await ada.ask("DELETE", f"/me/identities/{identity['id']}")).status_code == 204

    answer = await second_step(app, due["mfa_token"], recovery_code=authenticator.codes[0])

    problem(answer, 401, "invalid_mfa")


# ---- when somebody was asked who he is ------------------------------------------------------------------------------


async def test_a_provider_that_is_told_to_ask_has_to_have_asked(browser: Browser, op: OpenIdProvider) -> None:
    ada = op.register()
    asked_at = int(time.time())

    async def fresh(auth_time: object) -> Any:
        op.claims = {} if auth_time is None else {"auth_time": auth_time}
        flow = await browser.start(op, prompt="login")
        asked = query_of(flow.location)
        assert (asked["prompt"], asked["max_age"]) == ("login", "0")
        return flow, await browser.back(flow, ada)

    for said in (None, asked_at - 3600, 0):
        _, answer = await fresh(said)
        problem(answer, 401, "identity_not_accepted")
    flow, answer = await fresh(asked_at)
    code = query_of(answer.headers["location"])["code"]
    session = SignedIn(browser.app, (await exchange(browser.app, code, flow.verifier)).json())
    assert session.claims["auth_time"] == asked_at
    assert "prompt" not in query_of((await browser.start(op)).location)


async def test_a_login_that_was_long_ago_there_is_not_a_present_one_here(
    browser: Browser, op: OpenIdProvider, new_browser: Callable[[], Browser]
) -> None:
    """Changing factors and addresses asks for a login of the last ten minutes, wherever it was."""
    ada = op.register()
    op.claims = {"auth_time": int(time.time()) - 3600}

    session = await browser.signed_in(op, ada)

    problem(await session.ask("POST", "/me/mfa/totp"), 403, "reauthentication_required")
    problem(await session.ask("PATCH", "/me", json={"email": address()}), 403, "reauthentication_required")
    op.claims = {"auth_time": int(time.time()) + 3600}  # a clock that is wrong gives nobody time
    session = await new_browser().signed_in(op, ada)
    assert session.claims["auth_time"] <= time.time() + 5

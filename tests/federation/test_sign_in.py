"""A sign-in with a provider, from its first step to the session."""

import hashlib
from typing import Any

import pytest
from httpx import AsyncClient

from app.parts import Parts
from tests.federation.kit import Browser, query_of, s256
from tests.federation.provider import MISSING, OpenIdProvider
from tests.federation.realm import APP, OWN_SCHEME, Realm
from tests.identity.kit import change, events
from tests.identity.mailkit import token, use
from tests.kit import SignedIn, new_ip, new_name, problem, register
from tests.mail.kit import Postbox


def address() -> str:
    return f"{new_name()}@example.org"


# ---- the way there --------------------------------------------------------------------------------------------------


async def test_the_browser_is_sent_to_the_provider_with_all_that_binds_it(browser: Browser, op: OpenIdProvider) -> None:
    first, second = [await browser.start(op) for _ in range(2)]

    asked = query_of(first.location)
    assert first.location.startswith(f"{op.issuer}/authorize?")
    assert (asked["response_type"], asked["scope"]) == ("code", "openid email profile")
    assert asked["redirect_uri"] == f"https://auth.example.test/api/auth/v2/oauth/{op.name}/callback"
    assert asked["code_challenge"] != s256(first.verifier)  # one is ours, the other is the application's
    for name in ("state", "nonce", "code_challenge"):
        assert asked[name] != query_of(second.location)[name]
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    assert first.verifier not in first.location


async def test_an_authorization_endpoint_may_have_a_query_of_its_own(browser: Browser, op: OpenIdProvider) -> None:
    op.metadata["authorization_endpoint"] = f"{op.issuer}/authorize?p=policy"

    flow = await browser.start(op)

    assert flow.location.startswith(f"{op.issuer}/authorize?p=policy&response_type=code&")


async def test_nobody_is_sent_to_a_provider_that_there_is_not(app: AsyncClient) -> None:
    asked = {"redirect_to": APP, "code_challenge": s256("a")}
    for name in ("nobody", "local", "gpustack", "..", "%2e%2e"):
        problem(await app.get(f"/oauth/{name}/start", params=asked), 404, "not_found")
        problem(await app.get(f"/oauth/{name}/callback", params={"code": "a", "state": "b"}), 404, "not_found")


@pytest.mark.parametrize(
    "redirect_to",
    [
        "https://app.example.test/signed-in",
        "https://app.example.test/signed-in?lang=en&a=b",
        "https://app.example.test/signed-in?lang=en#",
        "https://app.example.test/signed-in/?lang=en",
        "https://APP.example.test/signed-in?lang=en",
        "https://app.example.test:443/signed-in?lang=en",
        "https://app.example.test.evil.example/signed-in?lang=en",
        "https://app.example.test@evil.example/signed-in?lang=en",
        "https://evil.example/",
        "//evil.example/",
        "javascript:alert(1)",
        " https://app.example.test/signed-in?lang=en",
        f"{APP}\n",
        "http://127.0.0.1:4712/signed-in",
        "",
        "x" * 5000,
    ],
)
async def test_the_way_back_leads_to_the_addresses_of_the_settings_alone(
    browser: Browser, op: OpenIdProvider, realm: Realm, redirect_to: str
) -> None:
    answer, _ = await browser.begin(op, redirect_to)

    body = problem(answer, 422, "validation_failed")
    assert [error["field"] for error in body["errors"]] == ["redirect_to"]
    assert browser.cookies == {}
    assert not [path for path in realm.server.counts if path.startswith(f"{op.prefix}/")]


@pytest.mark.parametrize("challenge", ["", "a", "a" * 42, "a" * 44, "a" * 42 + "=", "a" * 42 + "+", "ä" * 43])
async def test_a_challenge_that_is_none_is_refused(app: AsyncClient, op: OpenIdProvider, challenge: str) -> None:
    answer = await app.get(f"/oauth/{op.name}/start", params={"redirect_to": APP, "code_challenge": challenge})

    body = problem(answer, 422, "validation_failed")
    assert [error["field"] for error in body["errors"]] == ["code_challenge"]


async def test_a_start_that_says_too_little_or_what_nobody_knows_is_refused(
    app: AsyncClient, op: OpenIdProvider
) -> None:
    right = {"redirect_to": APP, "code_challenge": s256("a")}

    for query in ({}, {"redirect_to": APP}, {"code_challenge": s256("a")}, {**right, "prompt": "none"}):
        problem(await app.get(f"/oauth/{op.name}/start", params=query), 422, "validation_failed")


# ---- the way back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("redirect_to", [APP, OWN_SCHEME, "http://127.0.0.1:4711/signed-in"])
async def test_the_application_gets_a_code_and_nothing_else(
    browser: Browser, op: OpenIdProvider, redirect_to: str
) -> None:
    flow = await browser.start(op, redirect_to)

    answer = await browser.back(flow, op.register(email=address()))

    assert answer.status_code == 302
    location = answer.headers["location"]
    assert location.startswith(f"{redirect_to}{'&' if '?' in redirect_to else '?'}code=")
    assert not [each for each in op.issued if each in location]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert browser.cookies == {}


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("access_denied", "access_denied"),
        ("temporarily_unavailable", "temporarily_unavailable"),
        ("server_error", "server_error"),
        ("login_required", "server_error"),
        ("invalid_request", "server_error"),
        ("<script>alert(1)</script>", "server_error"),
        ("a&code=b", "server_error"),
        ("", "server_error"),
    ],
)
async def test_what_the_provider_has_against_it_the_application_hears_in_words_of_the_standard(
    browser: Browser, op: OpenIdProvider, realm: Realm, said: str, heard: str
) -> None:
    op.back = {"error": said, "error_description": "no & no", "code": MISSING}
    flow = await browser.start(op)
    back = await browser.at_provider(flow, op.register())

    answer = await browser.get(back)

    assert answer.status_code == 302
    assert answer.headers["location"] == f"{APP}&error={heard}"
    assert browser.cookies == {}
    assert f"{op.prefix}/token" not in realm.server.counts


async def test_a_code_beside_an_error_is_not_taken(browser: Browser, op: OpenIdProvider, realm: Realm) -> None:
    op.back = {"error": "access_denied"}

    answer = await browser.back(await browser.start(op), op.register())

    assert answer.headers["location"] == f"{APP}&error=access_denied"
    assert f"{op.prefix}/token" not in realm.server.counts


# ---- the first time -------------------------------------------------------------------------------------------------


async def test_who_comes_for_the_first_time_gets_an_account(browser: Browser, op: OpenIdProvider, parts: Parts) -> None:
    email, name = address(), new_name()
    ada = op.register(email=email.upper(), email_verified=True, name="Ada Lovelace", preferred_username=name)

    session = await browser.signed_in(op, ada)

    user = session.body["user"]
    assert (user["provider"], user["username"], user["full_name"]) == (op.name, name, "Ada Lovelace")
    assert (user["email"].lower(), user["email_verified"]) == (email, True)
    assert (user["is_admin"], user["roles"], user["mfa_enabled"]) == (False, [], False)
    assert session.claims["amr"] == ["fed"]
    assert [event for event, _ in await events(parts, user["id"])] == [
        "user.registered",
        "identity.linked",
        "login.succeeded",
    ]
    assert (await session.ask("GET", "/me")).json()["id"] == user["id"]


@pytest.mark.parametrize("verified", [True, False, "true", 1, None, MISSING])
async def test_an_address_is_proved_only_if_the_provider_says_so_in_so_many_words(
    browser: Browser, op: OpenIdProvider, postbox: Postbox, verified: object
) -> None:
    """Else its owner is asked, as anybody is."""
    email = address()
    ada = op.register(email=email, **({} if verified is MISSING else {"email_verified": verified}))

    session = await browser.signed_in(op, ada)

    assert session.body["user"]["email"] == email
    assert session.body["user"]["email_verified"] is (verified is True)
    if verified is not True:
        link = token(await postbox.to(email), "verify-email")
        assert (await use(browser.app, "/email/verify", link)).status_code == 204


async def test_no_text_of_anybodys_is_mailed_to_an_address_that_is_not_proved(
    browser: Browser, op: OpenIdProvider, postbox: Postbox
) -> None:
    email = address()
    said = "You have won: https://evil.example"

    await browser.signed_in(op, op.register(email=email, preferred_username=said, name="Visit evil.example"))

    mail = await postbox.to(email)
    for part in ("plain", "html"):
        assert f"Hello {email}," in mail.part(part)
        assert "evil.example" not in mail.part(part)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({"email": "no address"}, {"email": None}),
        ({"email": "a\0@example.org"}, {"email": None}),
        ({"email": ["ada@example.org"]}, {"email": None}),
        ({"email": "ada@localhost"}, {"email": None}),
        ({"email": f"{'a' * 300}@example.org"}, {"email": None}),
        ({"name": "Ada\nLovelace"}, {"full_name": None}),
        ({"name": "A" * 256}, {"full_name": None}),
        ({"name": {"first": "Ada"}}, {"full_name": None}),
        ({"name": "\u202eadA"}, {"full_name": None}),
    ],
)
async def test_what_cannot_be_kept_of_what_a_provider_says_is_left_out(
    browser: Browser, op: OpenIdProvider, said: dict[str, Any], kept: dict[str, Any]
) -> None:
    session = await browser.signed_in(op, op.register(**said, email_verified=True))

    assert {name: session.body["user"][name] for name in kept} == kept
    assert session.body["user"]["email_verified"] is False


@pytest.mark.parametrize(
    ("said", "username"),
    [
        ({"preferred_username": "Ada L. (ops)", "email": "ada@x.example.org"}, "Ada L. (ops)"),
        ({"email": "ada.l@x.example.org"}, "ada.l@x.example.org"),
        ({"sub": "auth0|4711"}, "auth0|4711"),
        ({"preferred_username": "a" * 256, "sub": "s-1"}, "s-1"),
        ({"preferred_username": "a\u0007", "sub": "s-2"}, "s-2"),
        ({"preferred_username": ["ada"], "sub": "s-3"}, "s-3"),
        ({"preferred_username": "", "sub": "s-4"}, "s-4"),
        ({"preferred_username": " ", "sub": "s-5"}, "s-5"),
        ({"preferred_username": "admin ", "sub": "s-6"}, "s-6"),
        ({"preferred_username": "admin\u3164", "sub": "s-7"}, "s-7"),
        ({"preferred_username": "\u0410dmin", "sub": "s-8"}, "s-8"),
        ({"preferred_username": "\uff21dmin", "sub": "s-9"}, "s-9"),
        ({"preferred_username": "ad" + "\u0301" * 9 + "min", "sub": "s-10"}, "s-10"),
        ({"preferred_username": "\u0410\u0434\u0430", "sub": "s-11"}, "\u0410\u0434\u0430"),
    ],
)
async def test_a_name_is_kept_as_it_is_there_or_what_is_nearest_to_one(
    browser: Browser, op: OpenIdProvider, said: dict[str, Any], username: str
) -> None:
    session = await browser.signed_in(op, op.register(**said))

    assert session.body["user"]["username"] == username


async def test_an_address_that_is_only_said_on_request_is_asked_for(browser: Browser, op: OpenIdProvider) -> None:
    """OpenID Connect Core 1.0 §5.4: with a code the claims of a scope come from userinfo."""
    email = address()
    ada = op.register(email=email, email_verified=True, name="Ada")
    op.claims = {"email": MISSING, "email_verified": MISSING, "name": MISSING}

    user = (await browser.signed_in(op, ada)).body["user"]

    assert (user["email"], user["email_verified"], user["full_name"]) == (email, True, "Ada")


async def test_what_is_signed_is_believed_before_what_is_said_on_request(browser: Browser, op: OpenIdProvider) -> None:
    ada = op.register(name="Mallory", preferred_username="mallory", email=address())
    name = new_name()
    op.claims = {"email": MISSING, "name": "Ada", "preferred_username": name}

    user = (await browser.signed_in(op, ada)).body["user"]

    assert (user["username"], user["full_name"]) == (name, "Ada")
    assert user["email"] == op.people[ada]["email"]


async def test_an_address_is_proved_by_who_says_it_and_not_by_a_token_without_one(
    browser: Browser, op: OpenIdProvider
) -> None:
    ada = op.register(email=address(), email_verified=False)
    op.claims = {"email": MISSING, "email_verified": True}

    user = (await browser.signed_in(op, ada)).body["user"]

    assert user["email_verified"] is False


# ---- the next time --------------------------------------------------------------------------------------------------


async def test_somebody_is_known_by_his_subject_whatever_he_is_called_by_then(
    browser: Browser, op: OpenIdProvider
) -> None:
    ada = op.register(email=address(), email_verified=True, preferred_username=new_name())
    first = await browser.signed_in(op, ada)
    before = first.body["user"]
    moved = address()
    op.people[ada] |= {"email": moved, "preferred_username": new_name(), "name": "Augusta"}

    again = (await browser.signed_in(op, ada)).body["user"]

    assert again["id"] == before["id"]
    assert [again[name] for name in ("username", "email", "full_name")] == [
        before[name] for name in ("username", "email", "full_name")
    ]
    (identity,) = (await first.ask("GET", "/me/identities")).json()["items"]
    assert (identity["email"], identity["username"]) == (moved, op.people[ada]["preferred_username"])


async def test_a_name_that_was_somebody_elses_makes_nobody_somebody_else(browser: Browser, op: OpenIdProvider) -> None:
    name = new_name()
    ada = (await browser.signed_in(op, op.register(preferred_username=name))).body["user"]

    bob = (await browser.signed_in(op, op.register(preferred_username=name))).body["user"]

    assert bob["id"] != ada["id"]
    assert bob["username"].startswith(f"{name}~")


async def test_a_name_that_nobody_could_tell_from_others_is_not_kept(browser: Browser, op: OpenIdProvider) -> None:
    session = await browser.signed_in(op, op.register(preferred_username="\u2800", sub="admin\u3164"))

    assert session.body["user"]["username"] == op.name


async def test_nobody_is_kept_out_by_who_takes_all_names_that_he_could_have(
    browser: Browser, op: OpenIdProvider
) -> None:
    name = new_name()
    ada = op.register(preferred_username=name)
    await browser.signed_in(op, op.register(preferred_username=name))
    his = hashlib.sha256(f"{op.issuer} {ada}".encode()).hexdigest()[:8]
    await browser.signed_in(op, op.register(preferred_username=f"{name}~{his}"))

    user = (await browser.signed_in(op, ada)).body["user"]

    assert user["username"].startswith(f"{name}~")


async def test_a_name_that_is_a_local_users_makes_nobody_that_user(
    browser: Browser, op: OpenIdProvider, app: AsyncClient
) -> None:
    ada = await register(app)

    user = (await browser.signed_in(op, op.register(preferred_username=ada.username))).body["user"]

    assert user["id"] != ada.id
    assert (user["username"], user["provider"]) == (ada.username, op.name)


async def test_the_same_subject_at_another_provider_is_somebody_else(browser: Browser, realm: Realm) -> None:
    here, there = realm.take(), realm.take()
    for op in (here, there):
        op.register(sub="same")

    users = [(await browser.signed_in(op, "same")).user_id for op in (here, there)]

    assert len(set(users)) == 2


async def test_a_subject_in_other_letters_is_somebody_else(browser: Browser, op: OpenIdProvider) -> None:
    people = [op.register(sub=sub) for sub in ("ada", "Ada", "ada ", "a\u0301da", "\u00e1da", "a" * 255)]

    assert len({(await browser.signed_in(op, person)).user_id for person in people}) == len(people)


# ---- who may not ----------------------------------------------------------------------------------------------------


async def test_who_was_deactivated_does_not_get_in(
    browser: Browser, op: OpenIdProvider, admin: SignedIn, parts: Parts
) -> None:
    ada = op.register()
    session = await browser.signed_in(op, ada)
    assert (await change(admin, session.user_id, is_active=False)).status_code == 200

    problem(await browser.sign_in(op, ada), 401, "invalid_credentials")

    assert ("login.failed", {"reason": "inactive"}) in await events(parts, session.user_id)
    problem(await session.ask("GET", "/me"), 401, "session_revoked")


async def test_who_was_deleted_comes_back_as_somebody_new(
    browser: Browser, op: OpenIdProvider, admin: SignedIn
) -> None:
    ada = op.register(email=address(), email_verified=True)
    before = await browser.signed_in(op, ada)
    assert (await admin.ask("DELETE", f"/users/{before.user_id}")).status_code == 204

    after = await browser.signed_in(op, ada)

    assert after.user_id != before.user_id


async def test_answers_that_are_forged_count_as_failed_logins(browser: Browser, op: OpenIdProvider) -> None:
    """Of their network; good ones do not, and neither does a provider that is away."""
    browser.ip = new_ip()
    ada = op.register()
    op.claims = {"aud": "another-client"}
    for _ in range(5):
        problem(await browser.back(await browser.start(op), ada), 401, "identity_not_accepted")
    op.claims = {}

    answer = await browser.back(await browser.start(op), ada)

    assert int(answer.headers["retry-after"]) > 0
    problem(answer, 429, "rate_limited")
    browser.ip = None
    await browser.signed_in(op, ada)

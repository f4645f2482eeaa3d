"""Keys, settings, the clean-up: what who maintains the installation does by forms."""

from dataclasses import fields, replace

import jwt
import pytest

from app.console.administration.system import in_force
from app.edge import Edge
from app.health.structs import Status
from app.identity.accounts import create_first_admin
from app.parts import Parts
from app.providers import Provider
from app.settings import Settings
from tests.conftest import ADMIN
from tests.console.administration.kit import Browser, as_admin, holding
from tests.identity.factorkit import long_ago
from tests.identity.kit import person
from tests.kit import SignedIn, log_in
from tests.replica import Start

KEYS = "/console/admin/keys"
ROTATE = f"{KEYS}/rotate"
SETTINGS = "/console/admin/settings"


async def test_a_new_key_is_published_and_that_is_an_event(start: Start) -> None:
    alone = await start()
    await create_first_admin(alone.parts.db, alone.parts.passwords, ADMIN.username, ADMIN.password)
    root = await as_admin(alone.edge)
    before = await root.get(KEYS)

    done = await root.do((await root.get(ROTATE)).form(ROTATE))

    assert before.html.count(">signs<") == 1
    assert "A new key is published." in done.text
    assert "signs soon" in done.text
    assert len(alone.parts.ring.jwks()["keys"]) == 2
    assert "Keys rotated" in (await root.get("/console/admin/audit", event="keys.rotated")).text
    session = await log_in(alone.client, ADMIN)
    assert jwt.get_unverified_header(session.access)["kid"] == alone.parts.ring.signing().kid


async def test_a_new_key_needs_a_present_login(edge: Edge, parts: Parts, admin: SignedIn) -> None:
    tony = await person(admin, is_admin=True)
    browser = await Browser(edge).sign_in(tony)
    form = (await browser.get(ROTATE)).form(ROTATE)
    keys = parts.ring.jwks()
    (row,) = await parts.db.fetch("SELECT id::text FROM sessions WHERE user_id = $1", tony.id)
    await long_ago(parts, SignedIn(admin.client, {"session_id": row["id"]}))

    asked, sent = await browser.get(ROTATE), await browser.send(form)
    await parts.ring.look()

    assert asked.answer.headers["location"] == sent.answer.headers["location"] == f"/console/confirm?next={ROTATE}"
    assert parts.ring.jwks() == keys


async def test_states_of_keys_are_told(start: Start) -> None:
    alone = await start()
    await create_first_admin(alone.parts.db, alone.parts.passwords, ADMIN.username, ADMIN.password)
    root = await as_admin(alone.edge)
    await root.do((await root.get(ROTATE)).form(ROTATE))
    await alone.parts.db.execute("UPDATE signing_keys SET signing_from = signing_from - interval '1 minute'")
    await alone.parts.db.execute(
        "INSERT INTO signing_keys (kid, algorithm, public_jwk, private_key, signing_from) "
        "SELECT 'sealed', algorithm, public_jwk, '\\x00', now() FROM signing_keys LIMIT 1"
    )

    page = await root.get(KEYS)

    assert "cannot be opened: set SECRET_KEY_PREVIOUS" in page.text
    assert page.html.count(">signs<") == 1
    assert page.html.count(">verifies<") == 1


async def test_where_the_key_is_a_setting_there_is_nothing_to_rotate(start: Start) -> None:
    alone = await start(jwt_algorithm="HS256", jwt_secret="a-secret-of-the-tests-that-is-long-enough-0123456789")
    await create_first_admin(alone.parts.db, alone.parts.passwords, ADMIN.username, ADMIN.password)
    root = await as_admin(alone.edge)

    page = await root.get(KEYS)
    refused = await root.send((await root.get(ROTATE)).form(ROTATE))

    assert "The key is a setting" in page.text
    assert ROTATE not in page.addresses
    assert refused.status == 409
    assert "the key is JWT_SECRET" in refused.text


async def test_the_clean_up_runs_and_its_result_is_told(root: Browser) -> None:
    page = await root.get(SETTINGS)

    done = await root.do(page.form("/console/admin/cleanup"))

    assert "The clean-up has run. Rows deleted:" in done.text
    assert "Cleanup ran" in (await root.get("/console/admin/audit", event="cleanup.ran")).text


async def test_settings_are_shown_without_a_secret(root: Browser, settings: Settings) -> None:
    page = await root.get(SETTINGS)

    for each in fields(Settings):
        assert each.name.upper() in page.text
        if not each.repr and getattr(settings, each.name):
            assert str(getattr(settings, each.name)) not in page.html
    assert "PUBLIC_URL https://auth.example.test set" in page.text
    assert "SECRET_KEY hidden set" in page.text
    assert "REGISTRATION open default" in page.text
    assert "RATE_LIMIT_LOGIN 5 in 900 s default" in page.text


def test_what_is_told_of_settings_holds_no_password(settings: Settings) -> None:
    told = {
        each.name: each
        for each in in_force(
            replace(
                settings,
                gpustack_url="https://ada:lovelace@gpustack.example.test/x",
                oidc_providers=(
                    Provider(name="one", client_id="id", client_secret="hush", issuer="https://a:b@idp.example.test"),
                ),
                rate_limit_login=None,
            )
        )
    }

    assert told["GPUSTACK_URL"].value == "https://gpustack.example.test/x"
    assert told["OIDC_PROVIDERS"].value == "one (https://idp.example.test)"
    assert told["RATE_LIMIT_LOGIN"].value == "off"
    assert told["STRICT_REVOCATION"].value == "off"
    assert told["TRUSTED_PROXIES"].value == "127.0.0.1/32"
    assert told["MAIL_TEMPLATES_DIR"].value == ""
    assert all(not each.value for each in told.values() if each.is_hidden)


async def test_health_is_told_to_who_maintains(
    edge: Edge, parts: Parts, admin: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = await holding(edge, parts, admin, "system:maintain")
    monkeypatch.setattr(parts.sender, "_failures", 1)
    monkeypatch.setattr(parts.sender, "waiting", 3)

    page = await browser.get("/console/admin")

    assert "Database works" in page.text
    assert "Cache works" in page.text
    assert "Mail not reachable · 3 letters wait" in page.text
    assert f"light-{Status.DOWN}" in page.html
    assert "Sign-ins" not in page.text


async def test_health_says_where_no_mail_is_set_up(start: Start) -> None:
    alone = await start()
    await create_first_admin(alone.parts.db, alone.parts.passwords, ADMIN.username, ADMIN.password)

    assert "Mail not set up" in (await (await as_admin(alone.edge)).get("/console/admin")).text

"""People of a provider who have no way in any more get one by their mailbox, and nobody else does."""

import pytest
from httpx import AsyncClient

from app import parts as parts_of_a_process
from app.parts import Parts
from app.setting_values import Rate
from app.settings import Settings
from tests.federation.kit import Browser, link, without_a_jar
from tests.federation.provider import OpenIdProvider
from tests.federation.realm import Realm
from tests.identity.kit import events
from tests.identity.mailkit import errands_done, forgot, link_in, proved, reset, use
from tests.identity.webauthnkit import added, login_options, sign_in
from tests.kit import Person, from_ip, log_in, new_ip, new_name, new_password, problem, register
from tests.mail.kit import Postbox
from tests.replica import serving


async def test_whose_provider_is_asked_no_more_sets_a_password(
    browser: Browser, op: OpenIdProvider, app: AsyncClient, postbox: Postbox, parts: Parts
) -> None:
    email = f"{new_name()}@example.org"
    session = await browser.signed_in(op, op.register(email=email, email_verified=True))
    await parts.db.execute(
        "UPDATE identities SET issuer = 'https://gone.example.org' WHERE user_id = $1", session.user_id
    )

    await forgot(app, email)
    password = new_password()
    assert await reset(app, await link_in(postbox, email, "reset-password"), password) == 204

    problem(await session.ask("GET", "/me"), 401, "session_revoked")
    assert (await log_in(app, Person(session.user_id, email, password))).user_id == session.user_id


async def test_who_signs_in_at_a_provider_is_sent_no_link(
    browser: Browser, op: OpenIdProvider, app: AsyncClient, postbox: Postbox, parts: Parts
) -> None:
    email = f"{new_name()}@example.org"
    await browser.signed_in(op, op.register(email=email, email_verified=True))

    await forgot(app, email)
    await errands_done(parts)

    assert [mail for mail in postbox.of(email) if "/reset-password?" in mail.part("plain")] == []


async def test_whose_identity_an_intruder_has_replaced_gets_a_way_back(
    browser: Browser, op: OpenIdProvider, app: AsyncClient, postbox: Postbox
) -> None:
    email = f"{new_name()}@example.org"
    owner, intruder = op.register(email=email, email_verified=True), op.register()
    session = await browser.signed_in(op, owner)
    (own,) = (await session.ask("GET", "/me/identities")).json()["items"]
    assert (await link(session, *await browser.code(op, intruder))).status_code == 201
    notice = await link_in(postbox, email, "not-me")
    assert (await session.ask("DELETE", f"/me/identities/{own['id']}")).status_code == 204

    assert (await use(app, "/password/not-me", notice)).status_code == 204
    password = new_password()
    assert await reset(app, await link_in(postbox, email, "reset-password"), password) == 204

    assert (await log_in(app, Person(session.user_id, email, password))).user_id == session.user_id
    assert (await browser.signed_in(op, intruder)).user_id != session.user_id


async def test_who_is_not_let_in_for_the_first_time_is_in_the_trail(
    browser: Browser, op: OpenIdProvider, app: AsyncClient, parts: Parts
) -> None:
    email = f"{new_name()}@example.org"
    taken = {"username": new_name(), "password": new_password(), "email": email}
    assert (await app.post("/register", json=taken, headers=from_ip())).status_code == 201

    answer = await browser.sign_in(op, op.register(email=email, email_verified=True))

    refused = problem(answer, 409, "email_taken")
    (row,) = await parts.db.fetch(
        "SELECT event, details->>'reason' AS reason FROM audit_events WHERE request_id = $1", refused["request_id"]
    )
    assert (row["event"], row["reason"]) == ("login.failed", "email_taken")


async def test_the_first_proof_of_an_address_shuts_out_who_has_taken_it_before(
    browser: Browser, op: OpenIdProvider, app: AsyncClient, postbox: Postbox, parts: Parts
) -> None:
    email, intruder = f"{new_name()}@example.org", op.register()
    squatter = await register(app, email=email)
    session = await log_in(app, squatter)
    assert (await link(session, *await browser.code(op, intruder))).status_code == 201
    key = await added(session)

    await forgot(app, email)
    password = new_password()
    assert await reset(app, await link_in(postbox, email, "reset-password"), password) == 204

    assert (await log_in(app, Person(squatter.id, email, password))).user_id == squatter.id
    assert (await browser.signed_in(op, intruder)).user_id != squatter.id
    problem(await sign_in(app, key.shown(await login_options(app))), 401, "invalid_credentials")
    found = await events(parts, squatter.id)
    assert ("identity.unlinked", {"reason": "password_reset", "provider": op.name}) in found
    assert ("passkey.removed", {"reason": "password_reset", "passkeys": 1}) in found


async def test_a_new_password_of_who_has_proved_his_address_leaves_his_other_ways(
    browser: Browser, op: OpenIdProvider, app: AsyncClient, postbox: Postbox
) -> None:
    ada, subject = await proved(app, postbox), op.register()
    assert (await link(await log_in(app, ada), *await browser.code(op, subject))).status_code == 201

    await forgot(app, ada.email)
    assert await reset(app, await link_in(postbox, str(ada.email), "reset-password")) == 204

    assert (await browser.signed_in(op, subject)).user_id == ada.id


async def test_of_a_network_so_many_come_back_and_no_more(
    op: OpenIdProvider, realm: Realm, settings: Settings, monkeypatch: pytest.MonkeyPatch, browser: Browser
) -> None:
    """Each leaves a row, whatever becomes of it."""
    monkeypatch.setattr(parts_of_a_process, "RETURNS", Rate(3, 600))
    op.back = {"error": "access_denied"}
    async with serving(realm.known_to(settings)) as house:
        one = Browser(without_a_jar(house.client), browser.web, ip=new_ip())
        for _ in range(3):
            assert (await one.back(await one.start(op), op.register())).status_code == 302

        problem(await one.back(await one.start(op), op.register()), 429, "rate_limited")
        other = Browser(without_a_jar(house.client), browser.web)
        assert (await other.back(await other.start(op), op.register())).status_code == 302

"""People of a provider who have no way in any more get one by their mailbox, and nobody else does."""

from httpx import AsyncClient

from app.parts import Parts
from tests.federation.kit import Browser, link
from tests.federation.provider import OpenIdProvider
from tests.identity.mailkit import errands_done, forgot, link_in, reset, use
from tests.kit import Person, from_ip, log_in, new_name, new_password, problem
from tests.mail.kit import Postbox


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

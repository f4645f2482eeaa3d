"""People who have no password here: they sign in at a provider, or by a passkey, and show in that way who they are."""

from httpx import AsyncClient

from app.parts import Parts
from tests.federation.kit import Browser
from tests.federation.provider import OpenIdProvider
from tests.identity.factorkit import enrolled, long_ago, second_step
from tests.identity.kit import change
from tests.kit import SignedIn, log_in, new_name, problem, register


async def test_who_signs_in_at_a_provider_deletes_his_account_by_a_present_login(
    browser: Browser, op: OpenIdProvider, parts: Parts
) -> None:
    subject = op.register()
    session = await browser.signed_in(op, subject)
    await long_ago(parts, session)
    problem(await session.ask("DELETE", "/me", json={}), 403, "reauthentication_required")
    problem(await session.ask("DELETE", "/me", json={"password": "any"}), 401, "invalid_credentials")

    present = await browser.signed_in(op, subject)
    assert (await present.ask("DELETE", "/me", json={})).status_code == 204

    problem(await session.ask("GET", "/me"), 401, "session_revoked")
    assert (await browser.signed_in(op, subject)).user_id != session.user_id


async def test_he_looks_after_his_second_factor_in_the_same_way(
    browser: Browser, op: OpenIdProvider, app: AsyncClient
) -> None:
    subject = op.register()
    session = await browser.signed_in(op, subject)
    authenticator = await enrolled(session)

    renewed = await session.ask("POST", "/me/mfa/recovery-codes", json={})
    assert len(renewed.json()["recovery_codes"]) == 10
    refused = await browser.sign_in(op, subject)
    mfa_token = problem(refused, 401, "mfa_required")["mfa_token"]
    answer = await second_step(app, mfa_token, recovery_code=renewed.json()["recovery_codes"][0])
    assert answer.json()["user"]["id"] == session.user_id
    removed = await SignedIn(app, answer.json()).ask(
        "DELETE", "/me/mfa/totp", json={"recovery_code": renewed.json()["recovery_codes"][1]}
    )
    assert removed.status_code == 204
    assert authenticator.codes != renewed.json()["recovery_codes"]
    assert (await browser.signed_in(op, subject)).user_id == session.user_id


async def test_who_has_a_password_has_to_say_it(client: AsyncClient) -> None:
    session = await log_in(client, await register(client))

    answer = await session.ask("DELETE", "/me", json={})

    assert problem(answer, 422, "validation_failed")["errors"] == [{"field": "password", "message": "is required"}]


async def test_a_password_that_is_set_meanwhile_is_asked_for(
    browser: Browser, op: OpenIdProvider, admin: SignedIn
) -> None:
    session = await browser.signed_in(op, op.register())
    assert (await change(admin, session.user_id, password=f"{new_name()}-Zebra-7")).status_code == 200

    problem(await session.ask("DELETE", "/me", json={}), 401, "session_revoked")


async def test_there_is_no_password_to_change(browser: Browser, op: OpenIdProvider) -> None:
    session = await browser.signed_in(op, op.register())

    asked = {"current_password": "any", "new_password": f"{new_name()}-Zebra-7"}

    problem(await session.ask("POST", "/me/password", json=asked), 409, "conflict")

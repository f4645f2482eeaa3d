"""Showing once more who one is, for what a stolen session must not do; and sessions that end meanwhile."""

import asyncio
import time

import pytest
from httpx import AsyncClient

from app.client import Client as CallersClient
from app.errors import SessionRevoked
from app.identity import confirmation
from app.identity.structs import PasswordChange, ProfileChange
from app.parts import Parts
from tests.identity.factorkit import Authenticator, long_ago, with_factor
from tests.identity.kit import events
from tests.identity.webauthnkit import Key, login_options
from tests.kit import Person, SignedIn, from_ip, log_in, new_password, problem, register


@pytest.mark.parametrize(("way", "amr"), [("password", ["pwd"]), ("code", ["pwd", "otp", "mfa"])])
async def test_a_session_shows_once_more_who_it_is(
    client: AsyncClient, replicas: list[AsyncClient], ada: Person, parts: Parts, way: str, amr: list[str]
) -> None:
    session, shown = await log_in(client, ada), {"password": ada.password}
    if way == "code":
        session, authenticator = await with_factor(client, ada)
        shown = {"code": authenticator.code()}
    await long_ago(parts, session)
    problem(await session.ask("GET", "/me/export", at=replicas[1]), 403, "reauthentication_required")

    answer = await session.ask("POST", "/me/reauthenticate", json=shown)

    assert answer.status_code == 200, answer.text
    fresh = SignedIn(client, answer.json())
    assert fresh.id == session.id
    assert fresh.claims["amr"] == amr
    assert (await fresh.ask("GET", "/me/export", at=replicas[1])).status_code == 200
    assert (await (await fresh.refreshed()).ask("GET", "/me/export")).status_code == 200


async def test_the_password_alone_is_no_present_login_where_there_is_a_factor(
    client: AsyncClient, ada: Person, parts: Parts
) -> None:
    """A stolen session that has shown the factor once does not take it away by a stolen password."""
    session, authenticator = await with_factor(client, ada)
    await long_ago(parts, session)

    answer = await session.ask("POST", "/me/reauthenticate", json={"password": ada.password})

    by_password = SignedIn(client, answer.json())
    assert by_password.claims["amr"] == ["pwd"]
    for method, path, body in (
        ("POST", "/me/mfa/recovery-codes", {"password": ada.password}),
        ("POST", "/me/passkeys/options", None),
        ("DELETE", "/me/mfa/totp", {"password": ada.password, "recovery_code": authenticator.codes[0]}),
    ):
        problem(await by_password.ask(method, path, json=body), 403, "reauthentication_required")


async def test_an_older_token_has_shown_what_it_has_shown(client: AsyncClient, ada: Person, parts: Parts) -> None:
    """It may be a thief's, whose session is the one in which the owner shows a code."""
    session = await log_in(client, ada)
    await long_ago(parts, session, minutes=1)
    session = await session.refreshed()
    _, authenticator = await with_factor(client, ada)

    answer = await session.ask("POST", "/me/reauthenticate", json={"code": authenticator.code()})

    fresh = SignedIn(client, answer.json())
    assert (await fresh.ask("POST", "/me/passkeys/options")).status_code == 200
    problem(await session.ask("POST", "/me/passkeys/options"), 403, "reauthentication_required")


async def test_the_token_says_when_it_was_shown_and_so_do_those_after_it(
    client: AsyncClient, ada: Person, parts: Parts
) -> None:
    session = await log_in(client, ada)
    await long_ago(parts, session)
    old = await session.refreshed()

    answer = await old.ask("POST", "/me/reauthenticate", json={"password": ada.password})

    fresh = SignedIn(client, answer.json())
    shown_at = fresh.claims["auth_time"]
    assert shown_at == pytest.approx(time.time(), abs=30)
    assert shown_at > old.claims["auth_time"] + 600
    assert (await fresh.refreshed()).claims["auth_time"] == shown_at


async def test_a_session_from_before_the_factor_shows_it_before_it_touches_it(client: AsyncClient, ada: Person) -> None:
    """Whoever knows the password alone does not get round it by a session that he has had before."""
    old = await log_in(client, ada)
    _, authenticator = await with_factor(client, ada)
    again = await old.ask("POST", "/me/reauthenticate", json={"password": ada.password})
    old = SignedIn(client, again.json())
    for method, path, body in (
        ("POST", "/me/mfa/recovery-codes", {"password": ada.password}),
        ("POST", "/me/passkeys/options", None),
        ("PATCH", "/me", {"email": "intruder@example.org"}),
        ("GET", "/me/export", None),
        ("DELETE", "/me/mfa/totp", {"password": ada.password, "recovery_code": authenticator.codes[0]}),
    ):
        problem(await old.ask(method, path, json=body), 403, "reauthentication_required")

    shown = await old.ask("POST", "/me/reauthenticate", json={"code": authenticator.code()})

    assert (await SignedIn(client, shown.json()).ask("POST", "/me/passkeys/options")).status_code == 200


async def test_an_older_token_of_the_session_stays_as_old_as_it_is(
    client: AsyncClient, ada: Person, parts: Parts
) -> None:
    """It may be a thief's."""
    session = await log_in(client, ada)
    await long_ago(parts, session)
    old = await session.refreshed()

    assert (await old.ask("POST", "/me/reauthenticate", json={"password": ada.password})).status_code == 200

    problem(await old.ask("GET", "/me/export"), 403, "reauthentication_required")


async def test_a_refresh_token_from_before_is_an_old_one(client: AsyncClient, ada: Person) -> None:
    """A stolen copy of it does not come to the present login, and betrays itself."""
    session = await log_in(client, ada)
    answer = await session.ask("POST", "/me/reauthenticate", json={"password": ada.password})

    old = await client.post("/refresh", json={"refresh_token": session.body["refresh_token"]})

    problem(old, 401, "refresh_token_reused")
    problem(await SignedIn(client, answer.json()).ask("GET", "/me"), 401, "session_revoked")


@pytest.mark.parametrize(
    ("shown", "status", "code"),
    [
        ({"password": "not-the-Password-9"}, 401, "invalid_credentials"),
        ({"code": "000000"}, 401, "invalid_mfa"),
        ({}, 422, "validation_failed"),
        ({"password": "x", "code": "000000"}, 422, "validation_failed"),
    ],
)
async def test_who_cannot_show_it_stays_where_he_is(
    session: SignedIn, parts: Parts, shown: dict[str, str], status: int, code: str
) -> None:
    await long_ago(parts, session)

    problem(await session.ask("POST", "/me/reauthenticate", json=shown, headers=from_ip()), status, code)

    problem(await session.ask("GET", "/me/export"), 403, "reauthentication_required")


async def test_what_was_wrong_is_in_the_trail(client: AsyncClient, ada: Person, parts: Parts) -> None:
    """Whoever tries passwords and codes by somebody's open session is seen as one who tries to sign in."""
    session, _ = await with_factor(client, ada)
    wrong = {"password": "not-the-Password-9"}
    strange = Key().shown(await login_options(client))
    for method, path, body in (
        ("POST", "/me/reauthenticate", wrong),
        ("POST", "/me/reauthenticate", {"code": "000000"}),
        ("POST", "/me/reauthenticate", strange),
        ("POST", "/me/mfa/recovery-codes", wrong),
        ("DELETE", "/me/mfa/totp", {**wrong, "code": "000000"}),
        ("DELETE", "/me/mfa/totp", {"password": ada.password, "code": "000000"}),
    ):
        assert (await session.ask(method, path, json=body, headers=from_ip())).status_code == 401

    failures = [details["reason"] for event, details in await events(parts, ada.id) if event == "login.failed"]

    assert failures == [
        "wrong_password",
        "invalid_mfa",
        "invalid_passkey",
        "wrong_password",
        "wrong_password",
        "invalid_mfa",
    ]


async def test_of_fifty_who_show_one_code_one_is_believed(unlimited: list[AsyncClient]) -> None:
    session, authenticator = await with_factor(unlimited[0], await register(unlimited[0]))
    code = authenticator.code()

    answers = await asyncio.gather(
        *(session.ask("POST", "/me/reauthenticate", json={"code": code}, at=unlimited[n % 2]) for n in range(50))
    )

    assert sorted(answer.status_code for answer in answers) == [200] + 49 * [401]
    assert {answer.json()["code"] for answer in answers if answer.is_error} == {"invalid_mfa"}


async def test_a_session_that_ends_while_its_user_shows_who_he_is_stays_ended(
    client: AsyncClient, ada: Person, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await log_in(client, ada)
    verify = parts.passwords.verify

    async def late(hashed: str | None, password: str) -> bool:
        await session.ask("POST", "/logout")
        return await verify(hashed, password)

    monkeypatch.setattr(parts.passwords, "verify", late)

    problem(await session.ask("POST", "/me/reauthenticate", json={"password": ada.password}), 401, "session_revoked")


async def test_a_session_that_ends_after_the_last_look_stays_ended(
    client: AsyncClient, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await log_in(client, ada)

    async def late(*_: object) -> None:
        await session.ask("POST", "/logout")

    monkeypatch.setattr(confirmation, "require_live", late)

    problem(await session.ask("POST", "/me/reauthenticate", json={"password": ada.password}), 401, "session_revoked")


async def test_who_was_signed_out_while_his_request_came_changes_nothing(
    client: AsyncClient, ada: Person, parts: Parts
) -> None:
    """A body may take two minutes to come, and its session may have ended meanwhile."""
    session = await log_in(client, ada)
    authenticator = Authenticator((await session.ask("POST", "/me/mfa/totp")).json()["secret"])
    caller = await parts.authenticator.caller(session.access)
    assert (await session.ask("POST", "/logout")).status_code == 204
    here = CallersClient(ip="192.0.2.1", user_agent="", request_id="x")

    for late in (
        parts.second_factors.enrol(caller),
        parts.second_factors.confirm(caller, authenticator.code(), here),
        parts.second_factors.new_codes(caller, ada.password, here),
        parts.passkeys.rename(caller, caller.session_id, "Nobody's"),
        parts.emails.change(caller, "intruder@example.org", here),
        parts.emails.change(caller, None, here),
        parts.emails.resend(caller, here) if ada.email else parts.accounts.delete(caller, ada.password, here),
        parts.accounts.change(caller, ProfileChange(full_name="Nobody"), here),
        parts.accounts.change_password(
            caller, PasswordChange(current_password=ada.password, new_password=new_password()), here
        ),
    ):
        with pytest.raises(SessionRevoked):
            await late
    await log_in(client, ada)

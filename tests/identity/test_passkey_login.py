"""A passkey signs in without a password; whatever is not quite right opens nothing."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from httpx import AsyncClient

from app import base64url
from app.factors import relying_party
from app.parts import Parts
from app.settings import Settings
from tests.identity.factorkit import enrolled
from tests.identity.webauthnkit import (
    EXTENDED,
    WRONG,
    Key,
    added,
    laughs,
    login_options,
    sign_in,
)
from tests.kit import Person, SignedIn, from_ip, log_in, new_name, new_password, problem, register
from tests.replica import serving


async def test_an_assertion_carries_none_that_explodes(client: AsyncClient, ada: Person) -> None:
    key = await added(await log_in(client, ada))
    shown = key.shown(await login_options(client), flags=EXTENDED, extensions=laughs(64))

    problem(await sign_in(client, shown), 401, "invalid_credentials")


@pytest.mark.parametrize("named", [None, "username", "USERNAME", "email"])
async def test_it_signs_in_with_and_without_a_name(client: AsyncClient, named: str | None) -> None:
    ada = await register(client, email=f"{new_name()}@example.org")
    key = await added(await log_in(client, ada))
    name = {None: None, "username": ada.username, "USERNAME": ada.username.upper(), "email": ada.email}[named]

    answer = await sign_in(client, key.shown(await login_options(client, name)) | {"device_name": " Ada's  telephone"})

    assert answer.status_code == 200, answer.text
    session = SignedIn(client, answer.json())
    assert session.user_id == ada.id
    assert session.claims["amr"] == ["pop", "user", "mfa"]
    current = next(each for each in (await session.ask("GET", "/me/sessions")).json()["items"] if each["current"])
    assert (current["amr"], current["device_name"]) == (["pop", "user", "mfa"], "Ada's telephone")
    assert (await session.ask("GET", "/me/passkeys")).json()["items"][0]["last_used_at"] is not None


async def test_it_counts_as_two_factors(client: AsyncClient, ada: Person) -> None:
    session = await log_in(client, ada)
    await enrolled(session)
    key = await added(session)

    answer = await sign_in(client, key.shown(await login_options(client)))

    assert answer.status_code == 200
    assert answer.json()["user"]["mfa_enabled"] is True


async def test_options_are_the_same_for_everybody(client: AsyncClient, ada: Person) -> None:
    await added(await log_in(client, ada))

    found = [await login_options(client, name) for name in (ada.username, new_name(), None)]

    for options in found:
        options["challenge"] = len(options["challenge"])
    assert found[0] == found[1] == found[2]
    assert found[0]["allowCredentials"] == []


async def test_of_fifty_who_show_the_same_one_gets_in(
    client: AsyncClient, replicas: list[AsyncClient], ada: Person, parts: Parts
) -> None:
    key = await added(await log_in(client, ada))
    assertion = key.shown(await login_options(client))

    answers = await asyncio.gather(*(sign_in(replicas[n % 2], assertion) for n in range(50)))

    assert sorted({answer.status_code for answer in answers}) == [200, 401]
    assert [answer.status_code for answer in answers].count(200) == 1
    assert len(await parts.db.fetch("SELECT FROM sessions WHERE user_id = $1 AND amr @> '{pop}'", ada.id)) == 1


@pytest.mark.parametrize("wrong", [*WRONG[:3], {"kind": "webauthn.create"}, *WRONG[4:], {"handle": bytes(8)}], ids=str)
async def test_what_is_not_quite_right_opens_nothing(client: AsyncClient, ada: Person, wrong: dict[str, Any]) -> None:
    key = await added(await log_in(client, ada))

    problem(await sign_in(client, key.shown(await login_options(client), **wrong)), 401, "invalid_credentials")


async def test_a_front_end_of_ours_on_another_origin_may_use_it(
    client: AsyncClient, ada: Person, settings: Settings
) -> None:
    key, app = await added(await log_in(client, ada)), "https://app.auth.example.test"
    async with serving(replace(settings, cors_origins=(app,))) as ours:
        assert (await sign_in(ours.client, key.shown(await login_options(client), origin=app))).status_code == 200
        embedded = key.shown(await login_options(client), origin=app, cross_origin=True)
        problem(await sign_in(ours.client, embedded), 401, "invalid_credentials")


async def test_another_key_opens_nothing(client: AsyncClient, ada: Person) -> None:
    key = await added(await log_in(client, ada))
    forged = key.shown(await login_options(client), key=ec.generate_private_key(ec.SECP256R1()))

    problem(await sign_in(client, forged), 401, "invalid_credentials")
    nameless = key.shown(await login_options(client)) | {"rawId": "%%%"}
    problem(await sign_in(client, nameless), 401, "invalid_credentials")
    unknown = Key()
    unknown.handle = key.handle
    problem(await sign_in(client, unknown.shown(await login_options(client))), 401, "invalid_credentials")


@pytest.mark.parametrize("field", ["clientDataJSON", "authenticatorData", "signature", "userHandle"])
@pytest.mark.parametrize("garbage", ["x", "AAAA", "%%%%", base64url.encode(b"\xff" * 60)])
async def test_garbage_opens_nothing(client: AsyncClient, ada: Person, field: str, garbage: str) -> None:
    key = await added(await log_in(client, ada))
    shown = key.shown(await login_options(client))
    shown["response"][field] = garbage

    problem(await sign_in(client, shown), 401, "invalid_credentials")


async def test_a_counter_that_goes_back_is_a_copys(client: AsyncClient, ada: Person) -> None:
    key = await added(await log_in(client, ada))
    assert (await sign_in(client, key.shown(await login_options(client), count=7))).status_code == 200

    for count in (7, 3, 0):
        answer = await sign_in(client, key.shown(await login_options(client), count=count))
        problem(answer, 401, "invalid_credentials")

    assert (await sign_in(client, key.shown(await login_options(client), count=8))).status_code == 200


async def test_one_without_a_counter_is_as_good(client: AsyncClient, ada: Person) -> None:
    key = await added(await log_in(client, ada))

    for _ in range(2):
        assert (await sign_in(client, key.shown(await login_options(client), count=0))).status_code == 200


async def test_a_challenge_for_somebody_else_is_not_answered(client: AsyncClient, ada: Person) -> None:
    key = await added(await log_in(client, ada))

    problem(await sign_in(client, key.shown(await login_options(client, new_name()))), 401, "invalid_credentials")


async def test_a_challenge_lives_five_minutes(
    client: AsyncClient, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await added(await log_in(client, ada))
    options = await login_options(client)
    monkeypatch.setattr(relying_party, "CHALLENGE_SECONDS", 0)

    problem(await sign_in(client, key.shown(options)), 401, "invalid_credentials")


@pytest.mark.parametrize("change", ["deactivated", "deleted", "removed", "reset"])
async def test_what_changes_between_options_and_answer_counts(
    client: AsyncClient, replicas: list[AsyncClient], admin: SignedIn, ada: Person, change: str
) -> None:
    session = await log_in(client, ada)
    key, options = await added(session), await login_options(client)
    own = (await session.ask("GET", "/me/passkeys")).json()["items"][0]["id"]
    done = {
        "deactivated": lambda: admin.ask("PATCH", f"/users/{ada.id}", json={"is_active": False}),
        "deleted": lambda: admin.ask("DELETE", f"/users/{ada.id}"),
        "removed": lambda: session.ask("DELETE", f"/me/passkeys/{own}"),
        "reset": lambda: admin.ask("DELETE", f"/users/{ada.id}/mfa"),
    }
    assert (await done[change]()).status_code in (200, 204)

    problem(await sign_in(replicas[1], key.shown(options)), 401, "invalid_credentials")


async def test_wrong_passwords_of_an_account_do_not_close_it(client: AsyncClient, ada: Person) -> None:
    key = await added(await log_in(client, ada))
    for _ in range(11):
        await client.post("/login", json={"username": ada.username, "password": new_password()}, headers=from_ip())

    assert (await sign_in(client, key.shown(await login_options(client)))).status_code == 200


async def test_failures_count_against_where_they_come_from(client: AsyncClient, ada: Person, parts: Parts) -> None:
    key = await added(await log_in(client, ada))
    here = from_ip()
    for _ in range(5):
        shown = key.shown(await login_options(client), origin="https://evil.example")
        problem(await client.post("/login/passkey", json=shown, headers=here), 401, "invalid_credentials")

    shown = key.shown(await login_options(client))

    problem(await client.post("/login/passkey", json=shown, headers=here), 429, "rate_limited")
    rows = await parts.db.fetch(
        "SELECT details->>'reason' AS reason FROM audit_events WHERE user_id = $1 AND event = 'login.failed'", ada.id
    )
    assert [row["reason"] for row in rows] == ["invalid_passkey"] * 5

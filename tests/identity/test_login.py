"""Signing in: JSON and the OAuth 2 form, and everything that is refused alike."""

import asyncio
from dataclasses import replace
from uuid import UUID

import msgspec
import pytest
from argon2 import PasswordHasher
from httpx import AsyncClient, Response

from app.errors import Overloaded
from app.factors.totp import Enrolment
from app.identity.structs import (
    Credentials,
    NewUser,
    PasswordChange,
    PasswordConfirmation,
    Reauthentication,
    RecoveryCodes,
    Registration,
    SecondStep,
    TokenResponse,
    TotpConfirmation,
    TotpEnrolment,
    TotpRemoval,
    UserChange,
)
from app.parts import Parts
from app.sessions import queries
from app.sessions.structs import LogoutRequest, RefreshRequest, Tokens
from app.setting_values import Rate
from app.settings import Settings
from app.uuid7 import uuid7
from tests.health.kit import told, value
from tests.kit import (
    Person,
    SignedIn,
    blocked_on_a_lock,
    from_ip,
    log_in,
    new_ip,
    new_name,
    new_password,
    problem,
    register,
)
from tests.replica import serving


async def test_the_first_walk_through_the_house(client: AsyncClient, ada: Person) -> None:
    session = await log_in(client, ada)
    me = await session.ask("GET", "/me")
    again = await session.refreshed()
    out = await again.ask("POST", "/logout")

    assert me.status_code == 200
    assert me.json()["username"] == ada.username
    assert again.id == session.id
    assert out.status_code == 204
    for token in (session, again):
        problem(await token.ask("GET", "/me"), 401, "session_revoked")


async def test_a_login_answers_tokens_and_the_user(client: AsyncClient, ada: Person) -> None:
    answer = await client.post("/login", json={"username": ada.username, "password": ada.password}, headers=from_ip())

    body = answer.json()
    assert set(body) == {
        "access_token",
        "refresh_token",
        "token_type",
        "expires_in",
        "refresh_expires_in",
        "session_id",
        "user",
    }
    assert (body["token_type"], body["expires_in"]) == ("bearer", 900)
    assert 30 * 86400 - 60 < body["refresh_expires_in"] <= 30 * 86400
    assert UUID(body["session_id"]).version == 7
    assert body["user"]["id"] == ada.id
    assert body["user"]["last_login"] is not None
    assert answer.headers["cache-control"] == "no-store"


async def test_a_name_is_compared_without_case_and_an_address_serves_as_well(client: AsyncClient) -> None:
    person = await register(client, email=f"{new_name()}@Bücher.example")

    for name in (person.username.upper(), str(person.email), str(person.email).upper()):
        answer = await client.post("/login", json={"username": name, "password": person.password}, headers=from_ip())
        assert answer.status_code == 200, (name, answer.text)


async def test_the_form_of_the_password_grant(client: AsyncClient, ada: Person) -> None:
    form = {"grant_type": "password", "username": ada.username, "password": ada.password, "scope": "any"}
    answer = await client.post("/login", data=form, headers=from_ip())
    wrong_grant = await client.post("/login", data={**form, "grant_type": "implicit"}, headers=from_ip())
    incomplete = await client.post("/login", data={"grant_type": "password"}, headers=from_ip())

    assert answer.status_code == 200
    assert answer.json()["user"]["id"] == ada.id
    problem(wrong_grant, 422, "validation_failed")
    problem(incomplete, 422, "validation_failed")


async def test_the_password_grant_can_be_switched_off(settings: Settings, ada: Person) -> None:
    async with serving(replace(settings, password_grant=False)) as replica:
        client = replica.client
        form = {"grant_type": "password", "username": ada.username, "password": ada.password}
        refused = await client.post("/login", data=form, headers=from_ip())
        session = await log_in(client, ada)

    problem(refused, 403, "forbidden")
    assert session.user_id == ada.id


async def test_whoever_cannot_sign_in_is_told_the_same(client: AsyncClient, ada: Person, parts: Parts) -> None:
    inactive, passwordless = await register(client), await register(client)
    await parts.db.execute("UPDATE users SET is_active = false WHERE id = $1", inactive.id)
    await parts.db.execute("UPDATE users SET password_hash = NULL WHERE id = $1", passwordless.id)

    answers = [
        await client.post("/login", json={"username": name, "password": password}, headers=from_ip())
        for name, password in (
            (ada.username, "wrong horse"),
            (new_name("nobody"), "wrong horse"),
            ("nobody@example.test", "wrong horse"),
            ("@", "wrong horse"),
            (inactive.username, inactive.password),
            (passwordless.username, passwordless.password),
        )
    ]

    for answer in answers:
        problem(answer, 401, "invalid_credentials")
    assert len({alike(answer) for answer in answers}) == 1


def alike(answer: Response) -> str:
    return answer.text.replace(answer.headers["x-request-id"], "") + str(sorted(answer.headers.keys()))


async def test_five_failures_from_an_address_are_the_end_for_a_while(client: AsyncClient, ada: Person) -> None:
    ip = new_ip()

    async def attempt(password: str, address: str = ip) -> Response:
        body = {"username": ada.username, "password": password}
        return await client.post("/login", json=body, headers=from_ip(address))

    for _ in range(5):
        problem(await attempt("wrong horse"), 401, "invalid_credentials")
    refused = await attempt(ada.password)
    from_elsewhere = await attempt(ada.password, new_ip())

    problem(refused, 429, "rate_limited")
    assert 0 < int(refused.headers["retry-after"]) <= 900
    assert from_elsewhere.status_code == 200


async def test_ten_failures_on_an_account_are_the_end_from_everywhere(client: AsyncClient) -> None:
    person = await register(client, email=f"{new_name()}@example.test")
    names = [person.username, person.username.upper(), str(person.email)]

    for number in range(10):
        body = {"username": names[number % 3], "password": "wrong horse"}
        problem(await client.post("/login", json=body, headers=from_ip()), 401, "invalid_credentials")
    body = {"username": person.username, "password": person.password}
    refused = await client.post("/login", json=body, headers=from_ip())

    problem(refused, 429, "rate_limited")


async def test_a_refusal_is_audited_once_a_window(client: AsyncClient, ada: Person, parts: Parts) -> None:
    ip = new_ip()
    for _ in range(8):
        await client.post("/login", json={"username": ada.username, "password": "wrong horse"}, headers=from_ip(ip))

    rows = await parts.db.fetch("SELECT event, host(ip_address) AS ip FROM audit_events WHERE user_id = $1", ada.id)
    events = [row["event"] for row in rows]
    assert events.count("login.failed") == 5
    assert events.count("rate_limited") == 1
    assert {row["ip"] for row in rows if row["event"] == "login.failed"} == {ip}


async def test_successful_logins_are_not_counted(client: AsyncClient, ada: Person) -> None:
    ip = new_ip()

    sessions = await asyncio.gather(*(log_in(client, ada, ip=ip) for _ in range(30)))

    assert len({session.id for session in sessions}) == 30


async def test_a_login_is_audited_with_its_session(client: AsyncClient, ada: Person, parts: Parts) -> None:
    session = await log_in(client, ada)

    row = await parts.db.fetchrow("SELECT * FROM audit_events WHERE user_id = $1 AND event = 'login.succeeded'", ada.id)
    assert row is not None
    assert str(row["session_id"]) == session.id
    assert row["actor_id"] == ada.id
    assert ada.password not in str(dict(row))


async def test_an_old_hash_is_upgraded_at_login(client: AsyncClient, ada: Person, parts: Parts) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(ada.password)
    await parts.db.execute("UPDATE users SET password_hash = $2 WHERE id = $1", ada.id, old)

    await log_in(client, ada)

    row = await parts.db.fetchrow("SELECT password_hash FROM users WHERE id = $1", ada.id)
    assert row is not None
    assert "m=8192,t=1,p=1" in row["password_hash"]
    await log_in(client, ada)


async def test_a_password_does_not_grow_too_old(client: AsyncClient, ada: Person, parts: Parts) -> None:
    long_ago = "now() - interval '10 years'"
    await parts.db.execute(f"UPDATE users SET created_at = {long_ago}, updated_at = {long_ago} WHERE id = $1", ada.id)

    session = await log_in(client, ada)

    assert not session.body["user"]["must_change_password"]
    assert (await session.ask("GET", "/preferences")).status_code == 200


async def test_a_password_changed_while_it_was_verified_opens_no_session(
    client: AsyncClient, ada: Person, parts: Parts
) -> None:
    async with parts.db.transaction() as tx:
        await tx.execute("UPDATE users SET password_hash = 'another' WHERE id = $1", ada.id)
        waiting = asyncio.create_task(
            client.post("/login", json={"username": ada.username, "password": ada.password}, headers=from_ip())
        )
        await blocked_on_a_lock(parts)

    problem(await waiting, 401, "invalid_credentials")
    assert await parts.db.fetch("SELECT FROM sessions WHERE user_id = $1", ada.id) == []


async def test_a_device_has_a_name_that_prints(client: AsyncClient, ada: Person) -> None:
    session = await log_in(client, ada, device_name="Ada's laptop ☂")
    body = {"username": ada.username, "password": ada.password, "device_name": "bell\u0007"}
    refused = await client.post("/login", json=body, headers=from_ip())

    listed = (await session.ask("GET", "/me/sessions")).json()["items"]
    assert [item["device_name"] for item in listed] == ["Ada's laptop ☂"]
    problem(refused, 422, "validation_failed")


async def test_the_oldest_session_goes_where_sessions_are_capped(settings: Settings, ada: Person) -> None:
    async with serving(replace(settings, sessions_per_user=2, rate_limit_login=Rate(50, 60))) as replica:
        first, second, third = [await log_in(replica.client, ada) for _ in range(3)]
        answers = [(await session.ask("GET", "/me")).status_code for session in (first, second, third)]

    assert answers == [401, 200, 200]


async def test_nobody_has_more_sessions_than_can_be_ended_at_once(
    client: AsyncClient, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "MOST", 2)

    sessions = [await log_in(client, ada) for _ in range(5)]
    answers = [(await session.ask("GET", "/me")).status_code for session in sessions]

    assert answers == [401, 401, 401, 200, 200]


async def test_who_am_i_answers_the_user_of_the_login(session: SignedIn, ada: Person) -> None:
    me = (await session.ask("GET", "/me")).json()

    assert me == session.body["user"]
    assert me["id"] == ada.id


async def test_what_holds_a_password_does_not_print_it() -> None:
    secret = "Zebra-in-a-password"
    holders = [
        Registration(username="ada", password=secret),
        Credentials(username="ada", password=secret),
        PasswordChange(current_password=secret, new_password=secret),
        NewUser(username="ada", password=secret),
        UserChange(password=secret),
        RefreshRequest(refresh_token=secret),
        LogoutRequest(refresh_token=secret),
        SecondStep(mfa_token=secret, recovery_code=secret),
        Reauthentication(password=secret),
        TotpEnrolment(secret=secret, otpauth_uri=secret, qr_svg=secret),
        TotpConfirmation(code=secret),
        TotpRemoval(password=secret, code=secret),
        PasswordConfirmation(password=secret),
        RecoveryCodes(recovery_codes=[secret]),
        Enrolment(secret=secret, otpauth_uri=secret, qr_svg=secret, sealed=b""),
        Tokens(access_token=secret, refresh_token=secret, expires_in=1, refresh_expires_in=1, session_id=uuid7()),
    ]

    assert [holder for holder in holders if secret in repr(holder)] == []


async def test_a_login_response_does_not_print_its_tokens(session: SignedIn) -> None:
    response = msgspec.convert(session.body, TokenResponse)

    assert session.refresh_token not in repr(response)
    assert session.access not in repr(response)


async def test_more_sign_ins_than_can_be_hashed_are_overloaded(
    client: AsyncClient, ada: Person, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> bool:
        raise Overloaded

    monkeypatch.setattr(parts.passwords, "verify", refuse)
    before = value(told(parts.metrics), "auth_login_failure_total", reason="overloaded")

    body = {"username": ada.username, "password": ada.password}
    problem(await client.post("/login", json=body, headers=from_ip()), 503, "overloaded")
    assert value(told(parts.metrics), "auth_login_failure_total", reason="overloaded") == before + 1


async def test_another_spelling_of_the_path_goes_the_long_way_to_the_same_answer(
    client: AsyncClient, ada: Person
) -> None:
    person = {"username": ada.username, "password": ada.password}
    opened = [await client.post(path, json=person, headers=from_ip()) for path in ("/login", "/login/")]
    tokens = [{"refresh_token": answer.json()["refresh_token"]} for answer in opened]
    refreshed = [
        await client.post(path, json=token, headers=from_ip())
        for path, token in zip(("/refresh", "/refresh/"), tokens, strict=True)
    ]

    for short, long in (opened, refreshed):
        assert short.status_code == long.status_code == 200
        assert short.json().keys() == long.json().keys()
        assert short.headers.keys() == long.headers.keys()
        assert SignedIn(client, long.json()).user_id == ada.id


async def weaken(parts: Parts, person: Person) -> None:
    """As if the hash had been made by older settings."""
    hashed = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(person.password)
    await parts.db.execute("UPDATE users SET password_hash = $2 WHERE id = $1", person.id, hashed)


async def test_whoever_upgrades_the_hash_makes_no_other_login_fail(
    replicas: list[AsyncClient], ada: Person, parts: Parts
) -> None:
    await weaken(parts, ada)
    body = {"username": ada.username, "password": ada.password}

    answers = await asyncio.gather(
        *(replicas[n % 2].post("/login", json=body, headers=from_ip()) for n in range(20)),
    )

    assert [answer.status_code for answer in answers] == [200] * 20
    failed = "SELECT FROM audit_events WHERE user_id = $1 AND event = 'login.failed'"
    assert await parts.db.fetch(failed, ada.id) == []


async def test_a_password_is_changed_although_a_login_upgrades_the_hash_meanwhile(
    client: AsyncClient, ada: Person, parts: Parts
) -> None:
    session = await log_in(client, ada)
    await weaken(parts, ada)
    login = {"username": ada.username, "password": ada.password}
    body = {"current_password": ada.password, "new_password": new_password()}

    changed, *_ = await asyncio.gather(
        session.ask("POST", "/me/password", json=body),
        *(client.post("/login", json=login, headers=from_ip()) for _ in range(5)),
    )

    assert changed.status_code == 204


async def test_an_account_that_never_stands_still_lets_nobody_in(
    client: AsyncClient, ada: Person, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await log_in(client, ada)

    async def refused(*_: object, **__: object) -> None: ...

    monkeypatch.setattr(parts.sessions, "open", refused)
    monkeypatch.setattr(parts.accounts, "_replace_password", refused)
    body = {"current_password": ada.password, "new_password": new_password()}

    problem(await session.ask("POST", "/me/password", json=body), 401, "invalid_credentials")
    login = {"username": ada.username, "password": ada.password}
    problem(await client.post("/login", json=login, headers=from_ip()), 401, "invalid_credentials")

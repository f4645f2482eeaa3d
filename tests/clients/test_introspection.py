"""Introspection: a token is active exactly while a request with it would be served."""

import asyncio

import jwt
import pytest
from httpx import AsyncClient

from app.parts import Parts
from app.proofs.tokens import OneTimeTokens, Purpose
from app.uuid7 import uuid7
from tests.clients.kit import Service, registered
from tests.identity.factorkit import first_step, with_factor
from tests.identity.kit import change, create, new_role, person
from tests.kit import Person, SignedIn, log_in, new_name, new_password, problem, register, until
from tests.replica import Start
from tests.sessions.test_caller import Spy

ISSUER = "https://auth.example.test"
INACTIVE = {"active": False}


# ---- access tokens --------------------------------------------------------------------------------------------------


async def test_an_access_token_is_told_with_its_claims_and_the_rights_of_this_moment(
    service: Service, client: AsyncClient, admin: SignedIn, parts: Parts
) -> None:
    role = await new_role(parts, "orders:read", "orders:write")
    ada = await person(admin, roles=[role])
    session = await log_in(client, ada)

    told = await service.introspect(session.access)

    assert told == {
        **session.claims,
        "active": True,
        "token_type": "bearer",
        "username": ada.username,
        "roles": [role],
        "permissions": ["orders:read", "orders:write"],
    }
    assert told["iss"] == told["aud"] == ISSUER
    assert told["sub"] == str(ada.id)
    assert told["exp"] - told["iat"] == 900


async def test_rights_that_have_changed_are_told_as_they_are_now(
    service: Service, client: AsyncClient, admin: SignedIn, replicas: list[AsyncClient]
) -> None:
    ada = await person(admin, is_admin=True)
    session = await log_in(client, ada)
    assert (await service.introspect(session.access, at=replicas[1]))["roles"] == ["admin"]

    assert (await change(admin, ada.id, is_admin=False)).status_code == 200

    told = await service.introspect(session.access, at=replicas[1])
    assert (told["active"], told["roles"], told["permissions"]) == (True, [], [])
    assert session.claims["roles"] == ["admin"]


async def test_a_session_that_ends_on_one_server_is_inactive_on_the_other(
    service: Service, client: AsyncClient, ada: Person, replicas: list[AsyncClient]
) -> None:
    for _ in range(5):
        session = await log_in(client, ada)
        for replica in replicas:
            assert (await service.introspect(session.access, at=replica))["active"] is True

        assert (await session.ask("POST", "/logout", at=replicas[0])).status_code == 204

        for token in (session.access, session.refresh_token):
            asked = (service.introspect(token, at=replicas[1]) for _ in range(10))
            assert await asyncio.gather(*asked) == [INACTIVE] * 10


async def test_of_who_is_not_active_nothing_is_told(service: Service, client: AsyncClient, admin: SignedIn) -> None:
    ada = await person(admin)
    session = await log_in(client, ada)
    assert (await service.introspect(session.access))["active"] is True

    assert (await change(admin, ada.id, is_active=False)).status_code == 200

    assert await service.introspect(session.access) == INACTIVE
    assert await service.introspect(session.refresh_token) == INACTIVE


async def test_who_is_not_active_is_not_served_even_while_his_session_lives(start: Start) -> None:
    """No road of ours leaves it alive; who changes the row by hand may."""
    replica = await start()
    service = await registered(replica.client, replica.parts)
    session = await log_in(replica.client, await register(replica.client))
    await replica.parts.db.execute("UPDATE users SET is_active = false")

    for token in (session.access, session.refresh_token):
        assert await service.introspect(token) == INACTIVE


async def test_who_has_to_change_the_password_is_not_served_by_others_either(
    service: Service, client: AsyncClient, admin: SignedIn
) -> None:
    username, password = new_name(), new_password()
    made = await create(admin, username=username, password=password)
    session = await log_in(client, Person(made.json()["id"], username, password))
    problem(await session.ask("GET", "/verify"), 403, "password_change_required")

    assert await service.introspect(session.access) == INACTIVE

    body = {"current_password": password, "new_password": new_password()}
    assert (await session.ask("POST", "/me/password", json=body)).status_code == 204
    assert (await service.introspect(session.access))["active"] is True


async def test_an_access_token_lives_past_a_refresh(service: Service, session: SignedIn) -> None:
    again = await session.refreshed()

    for each in (session, again):
        told = await service.introspect(each.access)
        assert (told["active"], told["jti"]) == (True, each.claims["jti"])


async def test_an_expired_token_is_inactive(service: Service, session: SignedIn, parts: Parts) -> None:
    old = session.claims | {name: session.claims[name] - 901 for name in ("iat", "nbf", "exp", "auth_time")}
    key = parts.ring.signing()
    assert key.private is not None
    token = jwt.encode(old, key.private, key.algorithm, {"typ": "at+jwt", "kid": key.kid})

    assert await service.introspect(token) == INACTIVE


# ---- refresh tokens -------------------------------------------------------------------------------------------------


async def test_a_refresh_token_is_told_as_one_that_gives_no_rights(
    service: Service, session: SignedIn, parts: Parts
) -> None:
    told = await service.introspect(session.refresh_token)

    ends = await parts.db.fetchrow("SELECT expires_at FROM sessions WHERE id = $1", session.id)
    assert ends is not None
    assert told == {
        "active": True,
        "token_type": "N_A",
        "iss": ISSUER,
        "aud": ISSUER,
        "sub": str(session.user_id),
        "username": session.body["user"]["username"],
        "sid": session.id,
        "exp": int(ends["expires_at"].timestamp()),
        "auth_time": session.claims["auth_time"],
        "amr": ["pwd"],
    }


async def test_to_look_at_a_refresh_token_uses_nothing_up(service: Service, session: SignedIn) -> None:
    for _ in range(3):
        assert (await service.introspect(session.refresh_token))["active"] is True

    again = await session.refreshed()

    assert (await again.refreshed()).id == session.id


async def test_a_refresh_token_is_active_while_the_next_refresh_would_take_it(
    service: Service, session: SignedIn, parts: Parts
) -> None:
    second = await session.refreshed()

    in_the_grace = await service.introspect(session.refresh_token)
    await parts.db.execute("UPDATE sessions SET rotated_at = rotated_at - interval '11 s' WHERE id = $1", session.id)
    after_it = await service.introspect(session.refresh_token)

    assert (in_the_grace["active"], after_it) == (True, INACTIVE)
    assert (await service.introspect(second.refresh_token))["active"] is True


async def test_to_look_at_a_refresh_token_that_was_used_up_ends_no_session(service: Service, session: SignedIn) -> None:
    third = await (await session.refreshed()).refreshed()

    assert await service.introspect(session.refresh_token) == INACTIVE

    assert (await third.ask("GET", "/me")).status_code == 200
    assert (await service.introspect(third.refresh_token))["active"] is True


async def test_a_refresh_token_from_the_future_of_a_restored_database_is_inactive(
    service: Service, session: SignedIn, parts: Parts
) -> None:
    again = await session.refreshed()
    await parts.db.execute("UPDATE sessions SET generation = 0 WHERE id = $1", session.id)

    assert await service.introspect(again.refresh_token) == INACTIVE


async def test_the_refresh_token_of_a_session_that_is_no_more_is_inactive(
    service: Service, session: SignedIn, parts: Parts
) -> None:
    await parts.db.execute("DELETE FROM sessions WHERE id = $1", session.id)

    assert await service.introspect(session.refresh_token) == INACTIVE


async def test_an_expired_session_is_inactive(start: Start) -> None:
    replica = await start()
    service = await registered(replica.client, replica.parts)
    session = await log_in(replica.client, await register(replica.client))
    await replica.parts.db.execute("UPDATE sessions SET expires_at = clock_timestamp()")

    assert await service.introspect(session.refresh_token) == INACTIVE


# ---- everything else ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "", "no_such_type"])
async def test_a_hint_is_a_hint(service: Service, session: SignedIn, hint: str) -> None:
    for token, token_type in ((session.access, "bearer"), (session.refresh_token, "N_A")):
        assert (await service.introspect(token, token_type_hint=hint))["token_type"] == token_type


@pytest.mark.parametrize(
    "token",
    ["x", "a.b.c", "....", "gh1_", "gh1_" + "A" * 76, "\u00e9\u202e\U0001f4a9", "' OR '1'='1", "x" * 100_000],
    ids=["x", "three parts", "dots", "a prefix", "forged", "no ASCII", "SQL", "over-long"],
)
async def test_what_is_none_of_ours_is_inactive_and_no_error(service: Service, token: str) -> None:
    assert await service.introspect(token) == INACTIVE


async def test_a_token_of_somebody_elses_key_is_inactive(service: Service, session: SignedIn, start: Start) -> None:
    elsewhere = await start(secret_key="another-Jq2sVx9Lr4Tz8Wb3Nc6Md1Kf")
    foreign = await log_in(elsewhere.client, await register(elsewhere.client))

    assert await service.introspect(foreign.access) == INACTIVE
    assert await service.introspect(foreign.refresh_token) == INACTIVE
    head, _, signature = session.access.split(".")
    assert await service.introspect(".".join((head, foreign.access.split(".")[1], signature))) == INACTIVE


async def test_no_other_credential_is_a_token(
    service: Service, client: AsyncClient, admin: SignedIn, parts: Parts
) -> None:
    secret_key = parts.settings.secret_key
    ada = await person(admin)
    await with_factor(client, ada)
    credentials = [
        await first_step(client, ada),
        *(OneTimeTokens(secret_key).issue(purpose, uuid7()) for purpose in Purpose),
        parts.settings.metrics_token,
        service.id,
        service.secret,
        ada.password,
    ]

    for each in credentials:
        assert await service.introspect(each) == INACTIVE


async def test_a_warm_introspection_needs_no_sql_and_no_signature_check(
    service: Service, session: SignedIn, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await until(lambda: not parts.entries.outbox.pending)
    await service.introspect(session.access)
    spy = Spy(parts, monkeypatch)
    costs = []
    for _ in range(3):  # the best counts: an entry may just have reached the end of its life
        before = spy.connections
        assert (await service.introspect(session.access))["active"] is True
        costs.append(spy.connections - before)

    assert (min(costs), spy.signatures) == (0, 0)


async def test_no_answer_is_kept(service: Service, session: SignedIn) -> None:
    for path in ("/introspect", "/revoke"):
        answer = await service.ask(path, session.access)

        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")

"""What ends or changes somebody on one server is seen by the next request on the other."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import UUID

import pytest
from httpx import AsyncClient, Response

from app.parts import Parts
from tests.kit import Person, SignedIn, from_ip, log_in, new_password, problem, register

Act = Callable[[AsyncClient, SignedIn, SignedIn, Person], Awaitable[Response]]


async def log_out(at: AsyncClient, session: SignedIn, admin: SignedIn, person: Person) -> Response:
    return await session.ask("POST", "/logout", at=at)


async def revoke_one(at: AsyncClient, session: SignedIn, admin: SignedIn, person: Person) -> Response:
    return await admin.ask("DELETE", f"/sessions/{person.id}/{session.id}", at=at)


async def revoke_all(at: AsyncClient, session: SignedIn, admin: SignedIn, person: Person) -> Response:
    return await admin.ask("DELETE", f"/sessions/{person.id}", at=at)


async def log_out_by_token(at: AsyncClient, session: SignedIn, admin: SignedIn, person: Person) -> Response:
    return await at.post("/logout", json={"refresh_token": session.refresh_token})


async def log_out_all(at: AsyncClient, session: SignedIn, admin: SignedIn, person: Person) -> Response:
    return await session.ask("POST", "/logout/all?except_current=true", at=at)


async def reuse(at: AsyncClient, session: SignedIn, admin: SignedIn, person: Person) -> Response:
    return await at.post("/refresh", json={"refresh_token": session.refresh_token}, headers=from_ip())


async def change_password(at: AsyncClient, session: SignedIn, admin: SignedIn, person: Person) -> Response:
    other = await log_in(at, person)
    body = {"current_password": person.password, "new_password": new_password()}
    return await other.ask("POST", "/me/password", at=at, json=body, headers=from_ip())


async def set_password(at: AsyncClient, session: SignedIn, admin: SignedIn, person: Person) -> Response:
    return await admin.ask("PATCH", f"/users/{person.id}", at=at, json={"password": new_password()})


async def deactivate(at: AsyncClient, session: SignedIn, admin: SignedIn, person: Person) -> Response:
    return await admin.ask("PATCH", f"/users/{person.id}", at=at, json={"is_active": False})


async def delete(at: AsyncClient, session: SignedIn, admin: SignedIn, person: Person) -> Response:
    return await admin.ask("DELETE", f"/users/{person.id}", at=at)


@pytest.mark.parametrize(
    "end",
    [log_out, revoke_one, revoke_all, change_password, set_password, deactivate, delete],
    ids=lambda act: act.__name__,
)
async def test_a_session_that_ends_on_one_server_is_refused_by_the_other(
    client: AsyncClient, replicas: list[AsyncClient], admin: SignedIn, end: Act
) -> None:
    for _ in range(5):
        person = await register(client)
        session = await log_in(client, person)
        for replica in replicas:
            assert (await session.ask("GET", "/me", at=replica)).status_code == 200

        answer = await end(replicas[0], session, admin, person)

        assert answer.status_code in (200, 204), answer.text
        answers = await asyncio.gather(*(session.ask("GET", path, at=replicas[1]) for path in ("/me", "/verify") * 5))
        for each in answers:
            problem(each, 401, "session_revoked")


async def test_what_is_reactivated_does_not_bring_sessions_back(
    client: AsyncClient, replicas: list[AsyncClient], admin: SignedIn, ada: Person
) -> None:
    session = await log_in(client, ada)
    await session.ask("GET", "/me", at=replicas[1])
    await deactivate(replicas[0], session, admin, ada)

    await admin.ask("PATCH", f"/users/{ada.id}", at=replicas[0], json={"is_active": True})

    problem(await session.ask("GET", "/me", at=replicas[1]), 401, "session_revoked")
    assert (await log_in(replicas[1], ada)).user_id == ada.id


async def test_a_right_that_was_taken_is_gone_at_the_next_request(
    client: AsyncClient, replicas: list[AsyncClient], admin: SignedIn, ada: Person
) -> None:
    for _ in range(5):
        promoted = await admin.ask("PATCH", f"/users/{ada.id}", at=replicas[0], json={"is_admin": True})
        assert promoted.status_code == 200, promoted.text
        session = await log_in(client, ada)  # its token goes on naming the role
        assert (await session.ask("GET", "/users", at=replicas[1])).status_code == 200
        assert (await session.ask("GET", "/verify?require=users:read", at=replicas[1])).status_code == 200

        await admin.ask("PATCH", f"/users/{ada.id}", at=replicas[0], json={"is_admin": False})

        problem(await session.ask("GET", "/users", at=replicas[1]), 403, "forbidden")
        problem(await session.ask("GET", "/verify?require=users:read", at=replicas[1]), 403, "forbidden")
        assert (await session.ask("GET", "/me", at=replicas[1])).json()["is_admin"] is False


async def test_a_password_that_must_be_changed_is_asked_for_at_the_next_request(
    client: AsyncClient, replicas: list[AsyncClient], admin: SignedIn, ada: Person
) -> None:
    session = await log_in(client, ada)
    assert (await session.ask("GET", "/verify", at=replicas[1])).status_code == 200

    await admin.ask("PATCH", f"/users/{ada.id}", at=replicas[0], json={"must_change_password": True})

    problem(await session.ask("GET", "/verify", at=replicas[1]), 403, "password_change_required")


async def test_a_hundred_wrong_passwords_at_once_are_five(
    client: AsyncClient, replicas: list[AsyncClient], ada: Person, parts: Parts
) -> None:
    headers = from_ip()
    body = {"username": ada.username, "password": "wrong horse"}

    answers = await asyncio.gather(
        *(replicas[number % 2].post("/login", json=body, headers=headers) for number in range(100))
    )

    codes = [answer.status_code for answer in answers]
    assert codes.count(401) <= 5
    assert set(codes) <= {401, 429, 503}
    rows = await parts.db.fetch("SELECT FROM audit_events WHERE user_id = $1 AND event = 'login.failed'", ada.id)
    assert len(rows) == codes.count(401)
    right = {**body, "password": ada.password}
    problem(await client.post("/login", json=right, headers=headers), 429, "rate_limited")
    assert (await log_in(client, replace(ada))).user_id == ada.id


@pytest.mark.parametrize("end", [log_out_by_token, log_out_all, revoke_all, reuse], ids=lambda act: act.__name__)
async def test_who_finds_a_session_ended_answers_once_that_is_seen_everywhere(
    client: AsyncClient, replicas: list[AsyncClient], admin: SignedIn, ada: Person, parts: Parts, end: Act
) -> None:
    """The first one has committed and stands still before Valkey hears of it; the second finds nothing to do."""
    session = await log_in(client, ada)
    spare = await log_in(client, ada)
    if end is reuse:
        session = await (await session.refreshed()).refreshed()
    for place in replicas:
        assert (await session.ask("GET", "/me", at=place)).status_code == 200
    async with parts.db.transaction() as tx:  # as the first one: committed, with its outbox row, and not carried over
        await parts.sessions.revoke_in(tx, ada.id, "logout", ada.id, None, only=[UUID(session.id)])

    await end(replicas[0], spare if end is log_out_all else session, admin, ada)

    answers = await asyncio.gather(*(session.ask("GET", "/me", at=replicas[1]) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {401}

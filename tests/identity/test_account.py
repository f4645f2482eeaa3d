"""One's own account: who am I, the profile, the password."""

import asyncio
from dataclasses import replace

import pytest
from httpx import AsyncClient

from app.parts import Parts
from tests.kit import Person, SignedIn, blocked_on_a_lock, from_ip, log_in, new_password, problem


async def test_nobody_is_nobody(client: AsyncClient) -> None:
    answer = await client.get("/me")

    problem(answer, 401, "not_authenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_token_in_the_address_is_none(client: AsyncClient, session: SignedIn) -> None:
    for path in ("/me", "/preferences", "/verify"):
        answer = await client.get(path, params={"access_token": session.access})
        problem(answer, 401, "not_authenticated")


async def test_other_credentials_are_no_access_token(client: AsyncClient, session: SignedIn) -> None:
    basic = await client.get("/me", headers={"Authorization": "Basic YWRhOmFkYQ=="})
    refresh = await client.get("/me", headers={"Authorization": f"Bearer {session.refresh_token}"})

    problem(basic, 401, "not_authenticated")
    problem(refresh, 401, "invalid_token")
    assert 'error="invalid_token"' in refresh.headers["www-authenticate"]


async def test_the_long_way_answers_as_the_short_one(session: SignedIn) -> None:
    short, long = await session.ask("GET", "/me"), await session.ask("GET", "/me/")

    assert short.json() == long.json()


async def test_a_profile_is_changed_for_all_sessions(client: AsyncClient, ada: Person, parts: Parts) -> None:
    phone, laptop = await log_in(client, ada), await log_in(client, ada)
    before = (await laptop.ask("GET", "/me")).json()

    changed = await phone.ask("PATCH", "/me", json={"full_name": "Grace Hopper"})

    after = (await laptop.ask("GET", "/me")).json()
    assert changed.json() == after
    assert (before["full_name"], after["full_name"]) == (None, "Grace Hopper")
    assert after["updated_at"] > before["updated_at"]
    row = await parts.db.fetchrow(
        "SELECT details FROM audit_events WHERE event = 'user.updated' AND user_id = $1", ada.id
    )
    assert row is not None
    assert "full_name" in row["details"]
    assert "Grace" not in row["details"]


async def test_a_full_name_can_be_taken_away(session: SignedIn) -> None:
    await session.ask("PATCH", "/me", json={"full_name": "Ada"})

    answer = await session.ask("PATCH", "/me", json={"full_name": None})

    assert answer.json()["full_name"] is None


async def test_a_change_of_nothing_changes_nothing(session: SignedIn) -> None:
    before = (await session.ask("GET", "/me")).json()

    assert (await session.ask("PATCH", "/me", json={})).json() == before


async def test_a_right_is_not_taken_by_changing_ones_profile(session: SignedIn) -> None:
    problem(await session.ask("PATCH", "/me", json={"is_admin": True}), 422, "validation_failed")


async def test_a_new_password_ends_the_other_sessions_only(client: AsyncClient, ada: Person, parts: Parts) -> None:
    mine, other = await log_in(client, ada), await log_in(client, ada)
    new = new_password()

    answer = await mine.ask("POST", "/me/password", json={"current_password": ada.password, "new_password": new})

    assert answer.status_code == 204
    assert answer.content == b""
    assert (await mine.ask("GET", "/me")).status_code == 200
    problem(await other.ask("GET", "/me"), 401, "session_revoked")
    body = {"refresh_token": other.refresh_token}
    problem(await client.post("/refresh", json=body, headers=from_ip()), 401, "invalid_refresh_token")
    old = await client.post("/login", json={"username": ada.username, "password": ada.password}, headers=from_ip())
    problem(old, 401, "invalid_credentials")
    assert (await log_in(client, replace(ada, password=new))).user_id == ada.id
    rows = await parts.db.fetch("SELECT event FROM audit_events WHERE user_id = $1 ORDER BY id DESC LIMIT 4", ada.id)
    assert {"password.changed", "session.revoked"} <= {row["event"] for row in rows}


async def test_the_present_password_is_asked_and_its_failures_count(client: AsyncClient, session: SignedIn) -> None:
    headers = from_ip()
    body = {"current_password": "wrong horse", "new_password": new_password()}

    answers = [await session.ask("POST", "/me/password", json=body, headers=headers) for _ in range(6)]

    for answer in answers[:5]:
        problem(answer, 401, "invalid_credentials")
    problem(answers[5], 429, "rate_limited")
    assert (await session.ask("GET", "/me")).status_code == 200


async def test_a_new_password_is_a_good_and_another_one(session: SignedIn, ada: Person) -> None:
    for new in (ada.password, "password123", ada.username):
        body = {"current_password": ada.password, "new_password": new}
        answer = await session.ask("POST", "/me/password", json=body, headers=from_ip())

        errors = problem(answer, 422, "weak_password")["errors"]
        assert [error["field"] for error in errors] == ["new_password"]


async def test_of_fifty_who_change_a_password_one_does(
    replicas: list[AsyncClient], client: AsyncClient, ada: Person
) -> None:
    sessions = [await log_in(client, ada) for _ in range(10)]

    async def change(number: int) -> int:
        body = {"current_password": ada.password, "new_password": new_password()}
        session = sessions[number % 10]
        answer = await session.ask("POST", "/me/password", at=replicas[number % 2], json=body, headers=from_ip())
        return answer.status_code

    codes = await asyncio.gather(*(change(number) for number in range(50)))

    assert codes.count(204) == 1
    assert set(codes) <= {204, 401, 429, 503}


async def test_who_must_change_the_password_can_do_little_else(client: AsyncClient, ada: Person, parts: Parts) -> None:
    await parts.db.execute("UPDATE users SET must_change_password = true WHERE id = $1", ada.id)
    session = await log_in(client, ada)

    assert (await session.ask("GET", "/me")).json()["must_change_password"] is True
    for method, path in (("GET", "/me/sessions"), ("GET", "/verify"), ("GET", "/preferences"), ("PATCH", "/me")):
        problem(
            await session.ask(method, path, json={} if method == "PATCH" else None), 403, "password_change_required"
        )
    session = await session.refreshed()
    body = {"current_password": ada.password, "new_password": new_password()}
    assert (await session.ask("POST", "/me/password", json=body, headers=from_ip())).status_code == 204
    assert (await session.ask("GET", "/me")).json()["must_change_password"] is False
    assert (await session.ask("GET", "/verify")).status_code == 200


async def test_the_account_of_a_session_may_be_gone_at_any_moment(
    client: AsyncClient, ada: Person, parts: Parts
) -> None:
    session = await log_in(client, ada)
    await session.ask("GET", "/me")
    await parts.db.execute("DELETE FROM users WHERE id = $1", ada.id)

    body = {"current_password": ada.password, "new_password": new_password()}
    problem(await session.ask("POST", "/me/password", json=body, headers=from_ip()), 404, "not_found")
    problem(await session.ask("PATCH", "/me", json={"full_name": "Ada"}), 404, "not_found")
    problem(await session.ask("PUT", "/preferences/theme", json="dark"), 404, "not_found")


async def test_a_password_changed_meanwhile_is_not_overwritten(session: SignedIn, ada: Person, parts: Parts) -> None:
    async with parts.db.transaction() as tx:
        await tx.execute("UPDATE users SET password_hash = 'another' WHERE id = $1", ada.id)
        body = {"current_password": ada.password, "new_password": new_password()}
        waiting = asyncio.create_task(session.ask("POST", "/me/password", json=body, headers=from_ip()))
        await blocked_on_a_lock(parts)

    problem(await waiting, 401, "invalid_credentials")
    row = await parts.db.fetchrow("SELECT password_hash FROM users WHERE id = $1", ada.id)
    assert row is not None
    assert row["password_hash"] == "another"


async def test_an_account_deleted_right_after_its_change_is_not_found(
    session: SignedIn, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: object) -> None:
        return None

    monkeypatch.setattr(parts.accounts._people, "get", gone)

    problem(await session.ask("PATCH", "/me", json={"full_name": "Ada"}), 404, "not_found")


async def test_only_others_are_given_a_password(admin: SignedIn) -> None:
    body = {"password": new_password()}

    problem(await admin.ask("PATCH", f"/users/{admin.user_id}", json=body), 403, "forbidden")
    problem(await admin.ask("PATCH", "/users/999999999", json=body), 404, "not_found")

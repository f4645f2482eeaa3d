"""Looking after the accounts of others: making, reading and changing them."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from httpx import AsyncClient

from app.parts import Parts
from tests.identity.kit import change, create, events, new_role, person
from tests.kit import Person, SignedIn, from_ip, log_in, new_name, new_password, problem, register

# ---- making -------------------------------------------------------------------------------------------------------


async def test_a_user_is_created_and_has_to_change_the_password(client: AsyncClient, admin: SignedIn) -> None:
    password = new_password()

    created = await create(
        admin, username="Grace.H", password=password, email="Grace@EXAMPLE.org", full_name="Grace Hopper"
    )

    assert created.status_code == 201
    body = created.json()
    assert (body["username"], body["email"], body["full_name"]) == ("Grace.H", "grace@example.org", "Grace Hopper")
    assert body["must_change_password"]
    assert body["is_active"]
    assert not body["email_verified"]
    assert (body["is_admin"], body["roles"], body["permissions"]) == (False, [], [])
    session = await log_in(client, Person(body["id"], "grace.h", password))
    problem(await session.ask("GET", "/preferences"), 403, "password_change_required")
    assert (await session.ask("GET", "/me")).json()["id"] == body["id"]


async def test_the_password_may_be_for_keeps(client: AsyncClient, admin: SignedIn) -> None:
    made = await person(admin)

    session = await log_in(client, made)

    assert (await session.ask("GET", "/preferences")).status_code == 200


async def test_without_a_password_there_is_no_signing_in_by_one(client: AsyncClient, admin: SignedIn) -> None:
    created = await create(admin, password=None)

    assert created.status_code == 201
    assert not created.json()["must_change_password"]
    tried = {"username": created.json()["username"], "password": "anything at all"}
    problem(await client.post("/login", json=tried, headers=from_ip()), 401, "invalid_credentials")


async def test_a_user_may_begin_inactive(client: AsyncClient, admin: SignedIn) -> None:
    made = await person(admin, is_active=False)

    tried = {"username": made.username, "password": made.password}
    problem(await client.post("/login", json=tried, headers=from_ip()), 401, "invalid_credentials")


@pytest.mark.parametrize("fields", [{"is_admin": True}, {"roles": ["admin"]}, {"is_admin": True, "roles": ["admin"]}])
async def test_an_administrator_is_one_by_role_and_flag_alike(admin: SignedIn, fields: dict[str, Any]) -> None:
    created = (await create(admin, **fields)).json()

    assert created["is_admin"]
    assert created["roles"] == ["admin"]
    assert "users:write" in created["permissions"]


@pytest.mark.parametrize("fields", [{"is_admin": True, "roles": []}, {"is_admin": False, "roles": ["admin"]}])
async def test_a_contradiction_is_refused(admin: SignedIn, ada: Person, fields: dict[str, Any]) -> None:
    for answer in (await create(admin, **fields), await change(admin, ada.id, **fields)):
        assert problem(answer, 422, "validation_failed")["errors"][0]["field"] == "is_admin"


async def test_a_role_that_does_not_exist_is_refused_and_not_echoed(admin: SignedIn, ada: Person, parts: Parts) -> None:
    username = new_name()
    for answer in (
        await create(admin, username=username, roles=["admin", "no-such-role"]),
        await change(admin, ada.id, roles=["no-such-role"]),
    ):
        assert problem(answer, 422, "validation_failed")["errors"][0]["field"] == "roles"
        assert "no-such-role" not in answer.text

    assert await parts.db.fetchrow("SELECT id FROM users WHERE username = $1", username) is None


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"username": "-x"}, "validation_failed", "username"),
        ({"email": "nowhere"}, "validation_failed", "email"),
        ({"full_name": "a\nb"}, "validation_failed", "full_name"),
        ({"password": "password"}, "weak_password", "password"),
        ({"id": 5}, "validation_failed", "id"),
    ],
)
async def test_what_does_not_fit_is_refused(admin: SignedIn, fields: dict[str, Any], code: str, field: str) -> None:
    answer = await create(admin, **fields)

    assert problem(answer, 422, code)["errors"][0]["field"] == field


async def test_names_and_addresses_belong_to_one(admin: SignedIn, client: AsyncClient) -> None:
    email = f"{new_name()}@example.org"
    taken = await register(client, email=email)

    problem(await create(admin, username=taken.username.upper()), 409, "username_taken")
    problem(await create(admin, email=email.upper()), 409, "email_taken")


async def test_of_fifty_who_create_a_user_one_does(replicas: list[AsyncClient], admin: SignedIn, parts: Parts) -> None:
    username, password = new_name(), new_password()
    body = {"username": username, "password": password, "email": f"{username}@example.org", "roles": ["admin"]}

    answers = await asyncio.gather(
        *(admin.ask("POST", "/users", at=replicas[number % 2], json=body) for number in range(50))
    )

    outcomes = Counter(answer.json()["code"] if answer.status_code != 201 else "made" for answer in answers)
    assert outcomes["made"] == 1
    assert set(outcomes) <= {"made", "username_taken", "overloaded"}
    assert len(await parts.db.fetch("SELECT FROM users WHERE username = $1", username)) == 1


# ---- reading ------------------------------------------------------------------------------------------------------


async def test_a_user_is_read_as_he_is_now(client: AsyncClient, admin: SignedIn, ada: Person) -> None:
    before = (await admin.ask("GET", f"/users/{ada.id}")).json()
    session = await log_in(client, ada)

    after = (await admin.ask("GET", f"/users/{ada.id}")).json()

    assert before["last_login"] is None
    assert after == (await session.ask("GET", "/me")).json()
    assert after["last_login"] is not None


@pytest.mark.parametrize(("user_id", "status"), [("9223372036854775808", 422), ("0", 422), ("abc", 404), ("1.5", 404)])
async def test_what_is_no_id(admin: SignedIn, user_id: str, status: int) -> None:
    for method, body in (("GET", None), ("PATCH", {"full_name": "X"}), ("DELETE", None)):
        answer = await admin.ask(method, f"/users/{user_id}", json=body)
        problem(answer, status, "not_found" if status == 404 else "validation_failed")


async def test_who_is_not_there_is_not_found(admin: SignedIn) -> None:
    nobody = 2**62
    for method, body in (
        ("GET", None),
        ("PATCH", {"full_name": "X"}),
        ("PATCH", {"password": new_password()}),
        ("DELETE", None),
    ):
        problem(await admin.ask(method, f"/users/{nobody}", json=body), 404, "not_found")


async def test_accounts_are_not_for_everybody(client: AsyncClient, session: SignedIn, admin: SignedIn) -> None:
    path = f"/users/{session.user_id}"
    for method, path_, body in (
        ("GET", "/users", None),
        ("POST", "/users", {"username": new_name()}),
        ("GET", path, None),
        ("PATCH", path, {"full_name": "X"}),
        ("DELETE", path, None),
    ):
        problem(await session.ask(method, path_, json=body), 403, "forbidden")
        problem(await client.request(method, path_, json=body), 401, "not_authenticated")


# ---- changing -----------------------------------------------------------------------------------------------------


async def test_what_is_named_changes_and_nothing_else(
    client: AsyncClient, admin: SignedIn, session: SignedIn, parts: Parts
) -> None:
    before = (await session.ask("GET", "/me")).json()
    email = f"{new_name()}@example.org"

    changed = await change(admin, session.user_id, full_name="Ada King", email=email.upper())

    after = (await session.ask("GET", "/me")).json()
    assert changed.status_code == 200
    assert changed.json() == after
    assert after == {**before, "full_name": "Ada King", "email": email, "updated_at": after["updated_at"]}
    assert after["updated_at"] > before["updated_at"]
    assert (await events(parts, session.user_id))[-1] == ("user.updated", {"changed": ["email", "full_name"]})


async def test_a_new_address_is_not_verified(admin: SignedIn, client: AsyncClient, parts: Parts) -> None:
    ada = await register(client, email=f"{new_name()}@example.org")
    await parts.db.execute("UPDATE users SET email_verified = true WHERE id = $1", ada.id)

    same = await change(admin, ada.id, email=ada.email)
    none = await change(admin, ada.id, email=None)

    assert same.json()["email_verified"]
    assert (none.json()["email"], none.json()["email_verified"]) == (None, False)


async def test_what_is_so_already_leaves_no_trace(admin: SignedIn, ada: Person, parts: Parts) -> None:
    before = (await admin.ask("GET", f"/users/{ada.id}")).json()

    answer = await change(admin, ada.id, full_name=None, is_active=True, is_admin=False, must_change_password=False)

    assert answer.json() == before
    assert [event for event, _ in await events(parts, ada.id)] == ["user.registered"]


async def test_a_change_of_nothing_changes_nothing(admin: SignedIn, ada: Person) -> None:
    before = (await admin.ask("GET", f"/users/{ada.id}")).json()

    assert (await change(admin, ada.id)).json() == before


async def test_an_address_of_somebody_else_is_refused(client: AsyncClient, admin: SignedIn, ada: Person) -> None:
    other = await register(client, email=f"{new_name()}@example.org")

    problem(await change(admin, ada.id, email=other.email, full_name="X"), 409, "email_taken")

    assert (await admin.ask("GET", f"/users/{ada.id}")).json()["full_name"] is None


async def test_of_fifty_who_give_away_an_address_one_does(
    client: AsyncClient, replicas: list[AsyncClient], admin: SignedIn
) -> None:
    people = [await register(client) for _ in range(5)]
    email = f"{new_name()}@example.org"

    answers = await asyncio.gather(
        *(
            admin.ask("PATCH", f"/users/{people[number % 5].id}", at=replicas[number % 2], json={"email": email})
            for number in range(50)
        )
    )

    assert {answer.status_code for answer in answers} == {200, 409}
    holders = [each for each in people if (await admin.ask("GET", f"/users/{each.id}")).json()["email"] == email]
    assert len(holders) == 1
    assert {answer.json()["id"] for answer in answers if answer.status_code == 200} == {holders[0].id}


async def test_a_demotion_is_seen_by_the_next_request_on_every_replica(
    client: AsyncClient, replicas: list[AsyncClient], admin: SignedIn, parts: Parts
) -> None:
    other = await log_in(client, await person(admin, is_admin=True))
    for at in (client, *replicas):
        assert (await other.ask("GET", "/users", at=at)).status_code == 200

    demoted = await change(admin, other.user_id, is_admin=False)

    assert (demoted.json()["is_admin"], demoted.json()["roles"]) == (False, [])
    for at in (client, *replicas):
        problem(await other.ask("GET", "/users", at=at), 403, "forbidden")
    assert (await events(parts, other.user_id))[-1] == ("role.changed", {"added": [], "removed": ["admin"]})


async def test_roles_are_replaced_and_the_flag_leaves_the_others(admin: SignedIn, ada: Person, parts: Parts) -> None:
    first, second = await new_role(parts, "orders:read"), await new_role(parts, "orders:write")

    both = await change(admin, ada.id, roles=[second, first, first])
    promoted = await change(admin, ada.id, is_admin=True)
    demoted = await change(admin, ada.id, is_admin=False)
    one = await change(admin, ada.id, roles=[second])

    assert both.json()["roles"] == demoted.json()["roles"] == sorted([first, second])
    assert both.json()["permissions"] == ["orders:read", "orders:write"]
    assert promoted.json()["roles"] == sorted(["admin", first, second])
    assert promoted.json()["is_admin"]
    assert one.json()["permissions"] == ["orders:write"]
    assert (await events(parts, ada.id))[-1] == ("role.changed", {"added": [], "removed": [first]})


async def test_who_is_deactivated_is_out_everywhere(
    client: AsyncClient, replicas: list[AsyncClient], admin: SignedIn, ada: Person, parts: Parts
) -> None:
    sessions = [await log_in(client, ada), await log_in(client, ada)]
    for at in (client, *replicas):
        assert (await sessions[0].ask("GET", "/me", at=at)).status_code == 200

    deactivated = await change(admin, ada.id, is_active=False)

    assert not deactivated.json()["is_active"]
    for session in sessions:
        for at in (client, *replicas):
            problem(await session.ask("GET", "/me", at=at), 401, "session_revoked")
    refreshed = await client.post("/refresh", json={"refresh_token": sessions[0].refresh_token}, headers=from_ip())
    problem(refreshed, 401, "invalid_refresh_token")
    tried = {"username": ada.username, "password": ada.password}
    problem(await client.post("/login", json=tried, headers=from_ip()), 401, "invalid_credentials")
    rows = await parts.db.fetch("SELECT revoked_reason FROM sessions WHERE user_id = $1", ada.id)
    assert {row["revoked_reason"] for row in rows} == {"deactivated"}
    assert ("user.updated", {"changed": ["is_active"], "is_active": False}) in await events(parts, ada.id)


async def test_who_is_active_again_signs_in_again(client: AsyncClient, admin: SignedIn, ada: Person) -> None:
    session = await log_in(client, ada)
    await change(admin, ada.id, is_active=False)

    await change(admin, ada.id, is_active=True)

    problem(await session.ask("GET", "/me"), 401, "session_revoked")
    assert (await (await log_in(client, ada)).ask("GET", "/me")).json()["is_active"]


async def test_no_session_is_left_beside_a_deactivation(
    replicas: list[AsyncClient], admin: SignedIn, client: AsyncClient, parts: Parts
) -> None:
    """A login comes before it, and its session ends with the others, or after it, and is refused."""
    ada = await register(client)
    tried = {"username": ada.username, "password": ada.password}

    let_in = asyncio.Event()

    async def sign_in_over_and_over(number: int) -> None:
        for _ in range(10):
            answer = await replicas[number % 2].post("/login", json=tried, headers=from_ip())
            if answer.status_code == 200:
                let_in.set()

    signing_in = asyncio.gather(*(sign_in_over_and_over(number) for number in range(5)))
    async with asyncio.timeout(20):
        await let_in.wait()
    deactivated = await change(admin, ada.id, is_active=False)
    await signing_in

    assert deactivated.status_code == 200
    live = await parts.db.fetch("SELECT FROM sessions WHERE user_id = $1 AND revoked_at IS NULL", ada.id)
    assert live == []


async def test_a_password_by_an_administrator_ends_every_session_and_has_to_be_changed(
    client: AsyncClient, admin: SignedIn, ada: Person, parts: Parts
) -> None:
    session, new = await log_in(client, ada), new_password()

    changed = await change(admin, ada.id, password=new)

    assert changed.json()["must_change_password"]
    problem(await session.ask("GET", "/me"), 401, "session_revoked")
    again = await log_in(client, Person(ada.id, ada.username, new))
    problem(await again.ask("GET", "/preferences"), 403, "password_change_required")
    told = await events(parts, ada.id)
    assert ("password.changed", {"must_change_password": True}) in told
    assert ("session.revoked", {"reason": "password_changed"}) in told
    assert "user.updated" not in [event for event, _ in told]
    assert new not in str(told)


async def test_a_password_by_an_administrator_may_be_for_keeps(
    client: AsyncClient, admin: SignedIn, ada: Person, parts: Parts
) -> None:
    new = new_password()

    changed = await change(admin, ada.id, password=new, must_change_password=False, full_name="Ada", is_active=False)

    assert not changed.json()["must_change_password"]
    told = await events(parts, ada.id)
    assert ("password.changed", {"must_change_password": False}) in told
    assert ("user.updated", {"changed": ["full_name", "is_active"], "is_active": False}) in told


async def test_a_password_can_be_called_in(client: AsyncClient, admin: SignedIn, session: SignedIn) -> None:
    changed = await change(admin, session.user_id, must_change_password=True)

    assert changed.json()["must_change_password"]
    problem(await session.ask("GET", "/preferences"), 403, "password_change_required")


async def test_nobody_has_to_change_a_password_that_he_does_not_have(admin: SignedIn) -> None:
    """Who signs in elsewhere could do nothing any more, and not change it either."""
    ada = (await admin.ask("POST", "/users", json={"username": new_name()})).json()

    problem(await change(admin, ada["id"], must_change_password=True), 409, "conflict")

    assert (await change(admin, ada["id"], must_change_password=False)).status_code == 200
    assert (await change(admin, ada["id"], password=new_password())).json()["must_change_password"] is True


async def test_a_weak_password_is_refused_of_anybody(admin: SignedIn, ada: Person) -> None:
    problem(await change(admin, ada.id, password=f"{ada.username}-1"), 422, "weak_password")
    problem(await change(admin, ada.id, password="lovelace", full_name="Lovelace"), 422, "weak_password")

"""Looking after the accounts of others: within one's own rights, to the last administrator."""

import asyncio
from typing import Any

import pytest
from httpx import AsyncClient, Response

from app.identity import queries
from app.parts import Parts
from tests.conftest import ADMIN, Twins
from tests.identity.kit import change, create, new_role, person
from tests.kit import Person, SignedIn, from_ip, log_in, new_password, problem

# ---- within one's own rights --------------------------------------------------------------------------------------


async def test_a_deputy_looks_after_ordinary_people(deputy: SignedIn, client: AsyncClient) -> None:
    made = await person(deputy)
    session = await log_in(client, made)

    changed = await change(deputy, made.id, full_name="Ada", password=new_password())
    deleted = await deputy.ask("DELETE", f"/users/{made.id}")

    assert changed.json()["full_name"] == "Ada"
    assert deleted.status_code == 204
    problem(await session.ask("GET", "/me"), 401, "session_revoked")


async def test_a_deputy_makes_no_administrator(deputy: SignedIn, ada: Person) -> None:
    for fields in ({"is_admin": True}, {"roles": ["admin"]}):
        problem(await create(deputy, **fields), 403, "forbidden")
        problem(await change(deputy, ada.id, **fields), 403, "forbidden")
        problem(await change(deputy, deputy.user_id, **fields), 403, "forbidden")


async def test_a_deputy_hands_out_what_he_may_do_himself(deputy: SignedIn, ada: Person, parts: Parts) -> None:
    within, beyond = await new_role(parts, "users:read"), await new_role(parts, "users:read", "audit:read")

    problem(await create(deputy, roles=[within, beyond]), 403, "forbidden")
    problem(await change(deputy, ada.id, roles=[beyond]), 403, "forbidden")
    given = await change(deputy, ada.id, roles=[within])

    assert given.json()["permissions"] == ["users:read"]


@pytest.mark.parametrize(
    "fields",
    [{"full_name": "X"}, {"is_active": False}, {"is_admin": False}, {"roles": []}, {"password": "plum-Tractor-84"}],
)
async def test_a_deputy_touches_nobody_above_himself(
    deputy: SignedIn, admin: SignedIn, parts: Parts, fields: dict[str, Any]
) -> None:
    auditor = await person(admin, roles=[await new_role(parts, "audit:read")])
    for user_id in (admin.user_id, auditor.id):
        before = (await admin.ask("GET", f"/users/{user_id}")).json()

        problem(await change(deputy, user_id, **fields), 403, "forbidden")
        problem(await deputy.ask("DELETE", f"/users/{user_id}"), 403, "forbidden")

        assert (await admin.ask("GET", f"/users/{user_id}")).json() == before


async def test_a_deputy_is_judged_by_what_a_role_allows_now(
    deputy: SignedIn, admin: SignedIn, ada: Person, parts: Parts
) -> None:
    role = await new_role(parts, "users:read")
    await change(admin, ada.id, roles=[role])
    assert (await change(deputy, ada.id, full_name="Ada")).status_code == 200

    await parts.db.execute("INSERT INTO role_permissions (role, permission) VALUES ($1, 'audit:read')", role)

    problem(await change(deputy, ada.id, full_name="Eve"), 403, "forbidden")


# ---- deleting -----------------------------------------------------------------------------------------------------


async def test_who_is_deleted_is_gone_on_every_replica(
    client: AsyncClient, replicas: list[AsyncClient], admin: SignedIn, session: SignedIn
) -> None:
    for at in (client, *replicas):
        assert (await session.ask("GET", "/me", at=at)).status_code == 200

    deleted = await admin.ask("DELETE", f"/users/{session.user_id}")

    assert deleted.status_code == 204
    for at in (client, *replicas):
        problem(await session.ask("GET", "/me", at=at), 401, "session_revoked")
        problem(await session.ask("GET", "/verify", at=at), 401, "session_revoked")
    refreshed = await client.post("/refresh", json={"refresh_token": session.refresh_token}, headers=from_ip())
    problem(refreshed, 401, "invalid_refresh_token")
    problem(await admin.ask("GET", f"/users/{session.user_id}"), 404, "not_found")
    problem(await admin.ask("DELETE", f"/users/{session.user_id}"), 404, "not_found")


async def test_the_audit_keeps_what_happened_and_forgets_who_it_was(
    admin: SignedIn, session: SignedIn, parts: Parts
) -> None:
    await admin.ask("DELETE", f"/users/{session.user_id}")

    rows = await parts.db.fetch(
        "SELECT event, actor_id, ip_address, details FROM audit_events WHERE user_id = $1 ORDER BY id", session.user_id
    )
    *others, last = rows
    assert [row["event"] for row in others] == ["user.registered", "login.succeeded"]
    assert all(row["ip_address"] is None and row["details"] == "{}" for row in others)
    assert (last["event"], last["actor_id"]) == ("user.deleted", admin.user_id)
    assert last["ip_address"] is not None


async def test_an_administrator_may_delete_himself(client: AsyncClient, admin: SignedIn, parts: Parts) -> None:
    other = await log_in(client, await person(admin, is_admin=True))

    deleted = await other.ask("DELETE", f"/users/{other.user_id}")

    assert deleted.status_code == 204
    problem(await other.ask("GET", "/me"), 401, "session_revoked")
    row = await parts.db.fetchrow(
        "SELECT ip_address FROM audit_events WHERE event = 'user.deleted' AND user_id = $1", other.user_id
    )
    assert row is not None
    assert row["ip_address"] is None


# ---- the last administrator ---------------------------------------------------------------------------------------


async def test_the_last_active_administrator_stays(twins: Twins) -> None:
    root = await log_in(twins.here, ADMIN)
    other = await person(root, is_admin=True)
    assert (await change(root, other.id, is_active=False)).status_code == 200

    for name, value in (("is_admin", False), ("roles", []), ("is_active", False)):
        problem(await change(root, root.user_id, **{name: value}), 409, "last_admin")
    problem(await root.ask("DELETE", f"/users/{root.user_id}"), 409, "last_admin")

    me = (await root.ask("GET", "/me")).json()
    assert me["is_admin"]
    assert me["is_active"]
    assert (await change(root, other.id, is_admin=False)).status_code == 200


async def test_an_administrator_may_step_down_while_there_is_another(twins: Twins) -> None:
    root = await log_in(twins.here, ADMIN)
    await person(root, is_admin=True)

    down = await change(root, root.user_id, is_admin=False)

    assert not down.json()["is_admin"]
    problem(await root.ask("GET", "/users"), 403, "forbidden")


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.mark.parametrize("way", ["demote", "deactivate", "delete"])
async def test_of_two_administrators_who_are_taken_away_at_once_one_stays(twins: Twins, way: str) -> None:
    """Fifty requests, half of them against either, fill both pools before the first of them may go on."""
    root = await log_in(twins.here, ADMIN)
    other = await log_in(twins.there, await person(root, is_admin=True))

    async def take_away(number: int) -> Response:
        actor, target = ((root, other), (other, root))[number % 2]
        path = f"/users/{target.user_id}"
        if way == "delete":
            return await actor.ask("DELETE", path)
        return await actor.ask("PATCH", path, json={"is_active": False} if way == "deactivate" else {"is_admin": False})

    async with twins.parts.db.transaction() as tx:
        await queries.hold_admins(tx)
        asked = asyncio.gather(*(take_away(number) for number in range(50)))
        async with asyncio.timeout(20):
            while await tx.fetchval(WAITING) < 2 * twins.parts.settings.database_pool_size - 1:  # one is ours
                await tx.execute("SELECT pg_stat_clear_snapshot()")
                await asyncio.sleep(0.01)
    answers = await asyncio.shield(asked)

    first = answers[::2] if answers[1].status_code == 409 else answers[1::2]
    second = answers[1::2] if answers[1].status_code == 409 else answers[::2]
    assert {answer.status_code for answer in first} <= {200, 204, 404}
    codes = {answer.json()["code"] for answer in second}
    assert "last_admin" in codes
    assert codes <= {"last_admin", "forbidden", "session_revoked"}  # who was let in only afterwards
    left = [each for each in (root, other) if (await each.ask("GET", "/users")).status_code == 200]
    assert len(left) == 1

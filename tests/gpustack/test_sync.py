"""GPUStack's list of users: brought over on a schedule and when asked for, and what of it changes nothing."""

import asyncio
from typing import Any

import pytest
from httpx import Response

from app.gpustack import directory as directory_module
from app.gpustack.answers import Account
from app.gpustack.instance import State
from app.identity import upstream_sync as module
from tests.gpustack.kit import Begin, Gatehouse, settings_of
from tests.gpustack.scripted import Reply, Scripted, recorded
from tests.health.kit import scraped, value
from tests.identity.kit import new_role
from tests.kit import SignedIn, problem, register, until
from tests.replica import Start

PAGE = "/v2/users"


async def listed(gatehouse: Gatehouse) -> dict[str, dict[str, Any]]:
    """The shadows by their names."""
    rows = await gatehouse.replica.parts.db.fetch(
        """
        SELECT u.id, u.username, u.full_name, u.is_active,
               EXISTS (SELECT FROM user_roles r WHERE r.user_id = u.id AND r.role = 'admin') AS is_admin
        FROM users u WHERE u.provider = 'gpustack'
        """
    )
    return {row["username"]: dict(row) for row in rows}


# ---- what is brought over -------------------------------------------------------------------------------------------


async def test_everybody_of_the_list_is_known_here_and_once(gatehouse: Gatehouse, scripted: Scripted) -> None:
    for number in range(501):
        await scripted.add(f"user {number:03}", full_name=f"User {number}")
    await scripted.change(await scripted.add("bob"), is_active=False)

    assert await gatehouse.sync() == {"listed": 503, "created": 503}
    asked = len(scripted.asked)
    assert await gatehouse.sync() == {"listed": 503}

    found = await listed(gatehouse)
    assert len(found) == 503
    assert (found["user 007"]["full_name"], found["user 007"]["is_admin"]) == ("User 7", False)
    assert found["admin"]["is_admin"]
    assert not found["bob"]["is_active"]
    assert len(scripted.asked) - asked == 1 + 6  # who reads, and the pages: nothing more where nothing differs
    assert await gatehouse.events(found["user 007"]["id"]) == [("user.created", {"roles": [], "by": "gpustack"})]


async def test_a_login_finds_whom_the_list_has_brought(gatehouse: Gatehouse, scripted: Scripted) -> None:
    await scripted.add("ada")
    await gatehouse.sync()

    assert (await gatehouse.login("ada")).user_id == (await listed(gatehouse))["ada"]["id"]


async def test_what_differs_is_brought_over_field_by_field(gatehouse: Gatehouse, scripted: Scripted) -> None:
    ids = [await scripted.add(name) for name in ("a", "b", "c", "d")]
    await gatehouse.sync()
    before = await listed(gatehouse)

    await scripted.change(ids[0], username="Anna")
    await scripted.change(ids[1], full_name="Bob")
    await scripted.change(ids[2], is_admin=True)
    await scripted.change(ids[3], is_active=False)
    assert await gatehouse.sync() == {"listed": 5, "updated": 3, "deactivated": 1}

    after = await listed(gatehouse)
    assert after["Anna"]["id"] == before["a"]["id"]
    assert after["b"]["full_name"] == "Bob"
    assert after["c"]["is_admin"]
    assert not after["d"]["is_active"]
    await scripted.change(ids[3], is_active=True)
    assert await gatehouse.sync() == {"listed": 5, "reactivated": 1}


async def test_who_is_gone_there_is_signed_out_here(gatehouse: Gatehouse, scripted: Scripted) -> None:
    user_id = await scripted.add("ada")
    signed_in = await gatehouse.login("ada")
    await scripted.remove(user_id)

    assert await gatehouse.sync() == {"listed": 1, "created": 1, "deactivated": 1}

    problem(await signed_in.ask("GET", "/me"), 401, "session_revoked")
    events = await gatehouse.events(signed_in.user_id)
    assert events[-2:] == [
        ("user.updated", {"changed": ["is_active"], "is_active": False, "by": "gpustack"}),
        ("session.revoked", {"reason": "deactivated"}),
    ]
    asked = scripted.asked.count(f"GET {PAGE}/{user_id}")
    assert await gatehouse.sync() == {"listed": 1}
    assert scripted.asked.count(f"GET {PAGE}/{user_id}") == asked == 1


async def test_a_name_that_was_made_again_is_another_person(gatehouse: Gatehouse, scripted: Scripted) -> None:
    user_id = await scripted.add("ada")
    await gatehouse.sync()
    before = (await listed(gatehouse))["ada"]["id"]
    await scripted.remove(user_id)
    await scripted.add("ada")

    assert await gatehouse.sync() == {"listed": 2, "created": 1, "deactivated": 1}

    found = await listed(gatehouse)
    (stale,) = (each for name, each in found.items() if name.startswith("ada~"))
    assert stale["id"] == before
    assert not stale["is_active"]
    assert found["ada"]["is_active"]


async def test_names_that_went_round_stay_with_their_ids(gatehouse: Gatehouse, scripted: Scripted) -> None:
    ids = [await scripted.add(name) for name in ("a", "b", "c")]
    await gatehouse.sync()
    before = await listed(gatehouse)

    for user_id, name in zip(ids, ("b", "c", "a"), strict=True):
        await scripted.change(user_id, username=name)
    await gatehouse.sync()
    await gatehouse.sync()  # who was given a stand-in for a moment has his name now

    after = await listed(gatehouse)
    assert [after[name]["id"] for name in "bca"] == [before[name]["id"] for name in "abc"]
    assert await gatehouse.sync() == {"listed": 4}


async def test_a_local_user_of_a_name_is_left_alone(gatehouse: Gatehouse, scripted: Scripted) -> None:
    ada = await register(gatehouse.client, full_name="Ada")
    await scripted.add(ada.username, is_admin=True)

    await gatehouse.sync()

    user = await gatehouse.user(ada.id)
    assert (user["provider"], user["full_name"], user["is_admin"]) == ("local", "Ada", False)


async def test_whom_an_administrator_here_has_deactivated_stays_so(gatehouse: Gatehouse, scripted: Scripted) -> None:
    await scripted.add("ada")
    await gatehouse.sync()
    user_id = (await listed(gatehouse))["ada"]["id"]
    await gatehouse.admin.ask("PATCH", f"/users/{user_id}", json={"is_active": False})

    assert await gatehouse.sync() == {"listed": 2}

    assert not (await gatehouse.user(user_id))["is_active"]


@pytest.mark.parametrize("name", ["a\nb", "", "x" * 256])
async def test_a_name_that_nobody_can_sign_in_with_is_left_out(
    gatehouse: Gatehouse, scripted: Scripted, name: str
) -> None:
    user_id = await scripted.add(name)
    assert await gatehouse.sync() == {"listed": 2, "created": 1, "skipped": 1}

    await scripted.change(user_id, username="ada")
    assert await gatehouse.sync() == {"listed": 2, "created": 1}
    await scripted.change(user_id, username=name)
    assert await gatehouse.sync() == {"listed": 2}
    assert "ada" in await listed(gatehouse)


async def test_what_the_list_says_is_asked_once_more(
    gatehouse: Gatehouse, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [await scripted.add("ada"), await scripted.add("bob")]
    await gatehouse.sync()
    everybody = directory_module.Directory.everybody

    async def old(directory: directory_module.Directory) -> directory_module.Listed:
        """By the time it has been read, it is so no more; and one has slipped between two pages."""
        found = await everybody(directory)
        await scripted.change(ids[0], full_name="Countess")
        del found.accounts[ids[1]]
        return found

    monkeypatch.setattr(directory_module.Directory, "everybody", old)
    await scripted.change(ids[0], full_name="Ada")

    assert await gatehouse.sync() == {"listed": 2, "updated": 1}

    found = await listed(gatehouse)
    assert found["ada"]["full_name"] == "Countess"
    assert found["bob"]["is_active"]


async def test_a_list_from_before_gives_back_nothing_that_was_taken_away_since(
    gatehouse: Gatehouse, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whom it tells a change of is shut out by his own login before it is brought over; another one is gone by then."""
    ids = {await scripted.add(name): await gatehouse.login(name) for name in ("ada", "bob", "Lovelace")}
    for user_id in ids:
        await scripted.change(user_id, full_name="Ada")
    account = directory_module.Directory.account

    async def old(directory: directory_module.Directory, user_id: int) -> Account | None:
        found = await account(directory, user_id)
        if found is not None and found.is_active and user_id in ids:
            name = found.username
            await scripted.change(user_id, is_active=False)
            await gatehouse.try_login(name)
            if name == "bob":
                await scripted.remove(user_id)
            if name == "Lovelace":
                await scripted.change(user_id, username="Love\nlace")
        return found

    monkeypatch.setattr(directory_module.Directory, "account", old)
    found = await gatehouse.sync()

    assert (found["listed"], found.get("reactivated", 0)) == (4, 0)
    for signed_in in ids.values():
        assert not (await gatehouse.user(signed_in.user_id))["is_active"]
        problem(await signed_in.ask("GET", "/me"), 401, "session_revoked")


# ---- what changes nothing -------------------------------------------------------------------------------------------

ADMIN_ALONE = [{**recorded_user} for recorded_user in ({"id": 3, "username": "admin", "is_admin": True},)]
COUNTED = {"page": 1, "perPage": 100, "total": 1, "totalPage": 1}
NOTHING_CHANGES = {
    "401": recorded("unknown_key"),
    "403": Reply(403, {}, b'{"code": 403, "reason": "Forbidden", "message": "-"}'),
    "404": recorded("no_route"),
    "500": recorded("database_away"),
    "502": Reply.html(502),
    "a page": Reply.html(200),
    "an empty list": recorded("users", items=[], pagination={**COUNTED, "total": 0, "totalPage": 0}),
    "a list without who reads it": recorded("users", items=[{**ADMIN_ALONE[0], "id": 4}], pagination=COUNTED),
    "a list of something else": recorded("users", items=[{"name": "ada"}], pagination=COUNTED),
    "no pages": Reply(200, {}, b'{"items": []}'),
    "more than was asked for": recorded(
        "users", items=[{**ADMIN_ALONE[0], "id": 3 + number} for number in range(101)], pagination=COUNTED
    ),
    "pages without end": recorded("users", items=ADMIN_ALONE, pagination={**COUNTED, "totalPage": 10**9}),
}


@pytest.mark.parametrize("reply", NOTHING_CHANGES.values(), ids=NOTHING_CHANGES)
async def test_a_list_that_is_none_changes_nothing(gatehouse: Gatehouse, scripted: Scripted, reply: Reply) -> None:
    user_id = await scripted.add("ada")
    signed_in = await gatehouse.login("ada")
    before = await gatehouse.events(signed_in.user_id)
    await scripted.remove(user_id)
    scripted.says[PAGE] = reply

    answer = await gatehouse.admin.ask("POST", "/providers/gpustack/sync")

    problem(answer, 503, "unavailable")
    assert (await signed_in.ask("GET", "/me")).status_code == 200
    assert await gatehouse.events(signed_in.user_id) == before


@pytest.mark.parametrize(
    "reply",
    [recorded("unknown_key"), recorded("no_route"), recorded("database_away"), Reply.html(404), recorded("me")],
    ids=["401", "404 of nobody's", "500", "404 of a gateway", "somebody else"],
)
async def test_only_its_own_404_ends_a_shadow(gatehouse: Gatehouse, scripted: Scripted, reply: Reply) -> None:
    user_id = await scripted.add("ada")
    signed_in = await gatehouse.login("ada")
    await scripted.remove(user_id)
    scripted.says[f"{PAGE}/{user_id}"] = reply

    problem(await gatehouse.admin.ask("POST", "/providers/gpustack/sync"), 503, "unavailable")

    assert (await signed_in.ask("GET", "/me")).status_code == 200


async def test_while_gpustack_is_away_it_is_503(gatehouse: Gatehouse, scripted: Scripted) -> None:
    async with scripted.outage("refused"):
        problem(await gatehouse.admin.ask("POST", "/providers/gpustack/sync"), 503, "unavailable")
        await gatehouse.sees(State.AWAY)
        problem(await gatehouse.admin.ask("POST", "/providers/gpustack/sync"), 503, "unavailable")


async def test_without_a_key_there_is_no_list_and_without_gpustack_nothing(
    begin: Begin, session: SignedIn, admin: SignedIn
) -> None:
    gatehouse = await begin(gpustack_api_key="")

    problem(await gatehouse.admin.ask("POST", "/providers/gpustack/sync"), 409, "conflict")
    problem(await session.ask("POST", "/providers/gpustack/sync"), 403, "forbidden")
    problem(await admin.ask("POST", "/providers/gpustack/sync"), 404, "not_found")


async def test_it_is_for_who_may_write_users(begin: Begin, scripted: Scripted) -> None:
    gatehouse = await begin()
    await scripted.add("ada")
    signed_in = await gatehouse.login("ada")
    problem(await signed_in.ask("POST", "/providers/gpustack/sync"), 403, "forbidden")
    role = await new_role(gatehouse.replica.parts, "users:write")
    await gatehouse.admin.ask("PATCH", f"/users/{signed_in.user_id}", json={"roles": [role]})

    answer: Response = await signed_in.ask("POST", "/providers/gpustack/sync")

    assert answer.status_code == 200
    rows = await gatehouse.replica.parts.db.fetch(
        "SELECT actor_id, session_id FROM audit_events WHERE event = 'user.created' AND actor_id IS NOT NULL"
    )
    assert {row["actor_id"] for row in rows} == {signed_in.user_id}
    assert {str(row["session_id"]) for row in rows} == {signed_in.id}


# ---- the schedule ---------------------------------------------------------------------------------------------------


async def test_of_several_replicas_one_reads_the_list_when_it_is_time(
    start: Start, begin: Begin, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    gatehouse = await begin()
    monkeypatch.setattr(module, "FIRST", 0.2)
    monkeypatch.setattr(module, "MOST_PAUSE", 0.02)
    await scripted.add("ada")
    replicas = [await start(**settings_of(scripted, gpustack_sync_minutes=10)) for _ in range(3)]

    await until(lambda: _synced(gatehouse))
    for replica in replicas:
        await until(lambda replica=replica: _gauge(replica))  # type: ignore[misc]
    pages = scripted.asked.count("GET /v2/users")
    assert pages == 1
    assert set(await listed(gatehouse)) == {"admin", "ada"}

    await scripted.add("bob")
    await gatehouse.replica.parts.db.execute("UPDATE upstream_syncs SET finished_at = now() - interval '10 minutes'")
    await until(lambda: _knows(gatehouse, "bob"))
    assert scripted.asked.count("GET /v2/users") == 2


async def _synced(gatehouse: Gatehouse) -> bool:
    query = "SELECT FROM upstream_syncs WHERE finished_at > now() - interval '1 minute'"
    return bool(await gatehouse.replica.parts.db.fetch(query))


async def _gauge(replica: Any) -> bool:
    return value(await scraped(replica.client), "auth_gpustack_synced_timestamp_seconds") > 1e9


async def _knows(gatehouse: Gatehouse, name: str) -> bool:
    return name in await listed(gatehouse)


async def test_a_list_that_cannot_be_read_is_tried_again_at_the_next_turn(
    begin: Begin, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST", 0.05)
    monkeypatch.setattr(module, "MOST_PAUSE", 0.02)
    scripted.says[PAGE] = recorded("unknown_key")
    gatehouse = await begin(gpustack_sync_minutes=10)
    await until(lambda: "GET /v2/users" in scripted.asked)
    await asyncio.sleep(0.1)
    assert scripted.asked.count("GET /v2/users") == 1
    assert not await _synced(gatehouse)

    del scripted.says[PAGE]
    await gatehouse.replica.parts.db.execute(
        "UPDATE upstream_syncs SET report = jsonb_build_object('begun_at', now() - interval '10 minutes')"
    )

    await until(lambda: _synced(gatehouse))

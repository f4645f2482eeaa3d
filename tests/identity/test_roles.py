"""Roles and permissions: making, changing, deleting and handing out."""

from typing import Any

import msgspec
import pytest
from httpx import Response

from app.identity import rights
from app.identity import roles as module
from app.parts import Parts
from tests.identity.kit import (
    change,
    change_role,
    events,
    hand_out,
    made_role,
    new_permission,
    new_role_name,
    person,
)
from tests.kit import Person, SignedIn, problem

OWN = {
    "audit:read",
    "roles:write",
    "sessions:read",
    "sessions:revoke",
    "system:maintain",
    "users:read",
    "users:write",
}


async def roles(admin: SignedIn) -> dict[str, dict[str, Any]]:
    items = (await admin.ask("GET", "/roles")).json()["items"]
    names = [each["name"] for each in items]
    assert names == sorted(set(names))
    return {each["name"]: each for each in items}


async def permissions(admin: SignedIn) -> dict[str, str]:
    items = (await admin.ask("GET", "/permissions")).json()["items"]
    names = [each["name"] for each in items]
    assert names == sorted(set(names))
    return {each["name"]: each["description"] for each in items}


async def audited(parts: Parts, role: str) -> list[dict[str, Any]]:
    rows = await parts.db.fetch(
        """
        SELECT details FROM audit_events WHERE event = 'role.changed' AND user_id IS NULL AND details->>'role' = $1
        ORDER BY id
        """,
        role,
    )
    return [msgspec.json.decode(row["details"]) for row in rows]


def create(admin: SignedIn, **fields: object) -> Any:
    return admin.ask("POST", "/roles", json=fields)


def refused(answer: Response, field: str) -> None:
    assert problem(answer, 422, "validation_failed")["errors"][0]["field"].partition("[")[0] == field


# ---- what there is ------------------------------------------------------------------------------------------------


async def test_a_role_is_made_and_listed(admin: SignedIn, parts: Parts) -> None:
    name, mine = new_role_name(), new_permission()

    made = await create(admin, name=name, description=" Reads\u00a0 orders. ", permissions=[mine, "users:read", mine])

    assert made.status_code == 201
    assert made.json() == {
        "name": name,
        "description": "Reads orders.",
        "permissions": [mine, "users:read"],
        "built_in": False,
    }
    assert (await roles(admin))[name] == made.json()
    assert await audited(parts, name) == [
        {"role": name, "change": "created", "added": [mine, "users:read"], "removed": []}
    ]


async def test_admin_is_built_in_and_allows_all_there_is(admin: SignedIn) -> None:
    mine = new_permission()
    await made_role(admin, mine)

    listed = (await roles(admin))["admin"]

    assert listed["built_in"]
    assert {mine, *OWN} <= {*listed["permissions"]}
    assert mine in (await admin.ask("GET", "/me")).json()["permissions"]


async def test_an_applications_permission_is_there_while_a_role_names_it(admin: SignedIn) -> None:
    mine = new_permission()
    first, second = await made_role(admin, mine, "users:read"), await made_role(admin, mine)
    assert (await permissions(admin))[mine] == ""

    await admin.ask("DELETE", f"/roles/{first}")
    assert mine in await permissions(admin)
    await change_role(admin, second, permissions=["users:read"])
    assert mine not in await permissions(admin)
    await admin.ask("DELETE", f"/roles/{second}")

    own = {name: description for name, description in (await permissions(admin)).items() if description}
    assert own.keys() == OWN


# ---- changing -----------------------------------------------------------------------------------------------------


async def test_what_is_not_named_stays(admin: SignedIn, parts: Parts) -> None:
    first, second, third = sorted(new_permission() for _ in range(3))
    name, new = await made_role(admin, first, description="Clerk."), new_role_name()

    described = await change_role(admin, name, description="")
    more = await change_role(admin, name, add_permissions=[second, third])
    less = await change_role(admin, name, add_permissions=[first], remove_permissions=[first, third])
    other = await change_role(admin, name, permissions=[third])
    renamed = await change_role(admin, name, name=new)
    same = await change_role(admin, new, name=new, description="", permissions=[third])

    assert described.json() == {"name": name, "description": "", "permissions": [first], "built_in": False}
    assert more.json()["permissions"] == [first, second, third]
    assert less.json()["permissions"] == [second]
    assert other.json()["permissions"] == [third]
    assert renamed.json() == same.json() == {**described.json(), "name": new, "permissions": [third]}
    assert (await roles(admin))[new] == same.json()
    assert name not in await roles(admin)
    assert (await audited(parts, name))[1:] == [
        {"role": name, "change": "changed", "added": [], "removed": []},
        {"role": name, "change": "changed", "added": [second, third], "removed": []},
        {"role": name, "change": "changed", "added": [], "removed": [first, third]},
        {"role": name, "change": "changed", "added": [third], "removed": [second]},
    ]
    assert await audited(parts, new) == [{"role": new, "change": "changed", "added": [], "removed": [], "was": name}]


async def test_a_deleted_role_is_taken_from_whoever_has_it(admin: SignedIn, ada: Person, parts: Parts) -> None:
    mine = new_permission()
    name, other = await made_role(admin, mine), await made_role(admin)
    await hand_out(admin, ada.id, name, other)

    deleted = await admin.ask("DELETE", f"/roles/{name}")

    assert (deleted.status_code, deleted.content) == (204, b"")
    user = (await admin.ask("GET", f"/users/{ada.id}")).json()
    assert (user["roles"], user["permissions"]) == ([other], [])
    said = {"role": name, "change": "deleted", "holders": 1, "added": [], "removed": [mine]}
    assert (await audited(parts, name))[-1] == said


async def test_admin_stays_as_it_is(admin: SignedIn) -> None:
    before = (await roles(admin))["admin"]

    changes: list[dict[str, Any]] = [{"name": "root"}, {"description": "Me."}, {"permissions": []}, {}]
    for fields in changes:
        problem(await change_role(admin, "admin", **fields), 409, "conflict")
    problem(await admin.ask("DELETE", "/roles/admin"), 409, "conflict")

    assert (await roles(admin))["admin"] == before


# ---- what cannot be -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "Clerk", "1a", "-a", "a b", "a,b", "a\n", "\u00e4", "x" * 65])
async def test_a_role_has_a_plain_name(admin: SignedIn, name: str) -> None:
    role = await made_role(admin)

    refused(await create(admin, name=name), "name")
    refused(await change_role(admin, role, name=name), "name")


@pytest.mark.parametrize(
    "permission", ["", "orders", "orders:", ":read", "Orders:read", "a:b:c", "a b:c", "a:b\n", f"{'x' * 33}:read"]
)
async def test_a_permission_is_a_resource_and_an_action(admin: SignedIn, permission: str) -> None:
    role = await made_role(admin)

    refused(await create(admin, name=new_role_name(), permissions=[permission]), "permissions")
    refused(await change_role(admin, role, permissions=[permission]), "permissions")
    refused(
        await change_role(admin, role, add_permissions=[permission]),
        "permissions" if permission == "a:b\n" else "add_permissions",
    )


async def test_gatehouses_own_permissions_are_spelt_as_they_are(admin: SignedIn) -> None:
    for permission in ("users:raed", "roles:read", "system:x"):
        answer = await create(admin, name=new_role_name(), permissions=["users:read", permission])
        refused(answer, "permissions")
        assert permission not in answer.text


@pytest.mark.parametrize("description", ["a\nb", "a\u202eb", "x" * 201])
async def test_a_description_is_a_line_that_prints(admin: SignedIn, description: str) -> None:
    refused(await create(admin, name=new_role_name(), description=description), "description")


async def test_a_description_is_as_long_as_it_is_kept(admin: SignedIn) -> None:
    """Some letters are two in NFC."""
    refused(await create(admin, name=new_role_name(), description="\u0958" * 101), "description")


async def test_permissions_are_replaced_or_added_to(admin: SignedIn) -> None:
    name = await made_role(admin)
    for other in ("add_permissions", "remove_permissions"):
        problem(await change_role(admin, name, **{"permissions": [], other: []}), 422, "validation_failed")


async def test_a_role_has_a_hundred_permissions_at_most(admin: SignedIn) -> None:
    hundred = [new_permission(f"a{number}") for number in range(100)]

    refused(await create(admin, name=new_role_name(), permissions=[*hundred, "users:read"]), "permissions")
    name = await made_role(admin, *hundred)
    refused(await change_role(admin, name, add_permissions=["users:read"]), "permissions")

    assert (await admin.ask("DELETE", f"/roles/{name}")).status_code == 204


async def test_a_taken_name_is_a_conflict(admin: SignedIn) -> None:
    first, second = await made_role(admin), await made_role(admin, "users:read")

    for taken in (first, "admin"):
        problem(await create(admin, name=taken), 409, "conflict")
        problem(await change_role(admin, second, name=taken), 409, "conflict")

    assert (await roles(admin))[second]["permissions"] == ["users:read"]


@pytest.mark.parametrize("name", ["no-such-role", "Admin", "a%0A", "x" * 65])
async def test_a_role_that_there_is_not_is_not_found(admin: SignedIn, name: str) -> None:
    problem(await change_role(admin, name, description="x"), 404, "not_found")
    problem(await admin.ask("DELETE", f"/roles/{name}"), 404, "not_found")


async def test_there_are_not_more_than_a_process_can_hold(admin: SignedIn, monkeypatch: pytest.MonkeyPatch) -> None:
    name, mine = await made_role(admin), new_permission()
    with monkeypatch.context() as patch:
        patch.setattr(module, "MOST_ROLES", 2)
        assert "2 roles" in problem(await create(admin, name=new_role_name()), 409, "conflict")["detail"]
    monkeypatch.setattr(module, "MOST_PERMISSIONS", len(await permissions(admin)))

    answer = await change_role(admin, name, add_permissions=[mine])

    assert "permissions" in problem(answer, 409, "conflict")["detail"]
    assert mine not in await permissions(admin)
    assert (await change_role(admin, name, add_permissions=["users:read"])).status_code == 200


# ---- handing out --------------------------------------------------------------------------------------------------


async def test_a_user_has_exactly_the_roles_that_are_set(admin: SignedIn, ada: Person, parts: Parts) -> None:
    first, second = sorted([await made_role(admin, "users:read"), await made_role(admin, "audit:read")])

    both = await hand_out(admin, ada.id, second, first, first)
    one = await hand_out(admin, ada.id, second, "admin")
    none = await hand_out(admin, ada.id)

    assert (both.status_code, both.json()["roles"]) == (200, [first, second])
    assert (one.json()["roles"], one.json()["is_admin"]) == (["admin", second], True)
    assert (none.json()["roles"], none.json()["permissions"], none.json()["is_admin"]) == ([], [], False)
    assert [said for event, said in await events(parts, ada.id) if event == "role.changed"] == [
        {"added": [first, second], "removed": []},
        {"added": ["admin"], "removed": [first]},
        {"added": [], "removed": ["admin", second]},
    ]


async def test_roles_that_there_are_not_are_not_given(admin: SignedIn, ada: Person) -> None:
    name = await made_role(admin, "users:read")
    await hand_out(admin, ada.id, name)

    refused(await hand_out(admin, ada.id, "no-such-role"), "roles")
    problem(await hand_out(admin, 2**53, name), 404, "not_found")

    assert (await admin.ask("GET", f"/users/{ada.id}")).json()["roles"] == [name]


# ---- within one's own rights --------------------------------------------------------------------------------------


async def test_a_keeper_of_roles_keeps_those_within_his_rights(keeper: SignedIn, admin: SignedIn, ada: Person) -> None:
    name = await made_role(keeper, "users:read")

    assert (await change_role(keeper, name, add_permissions=["roles:write"])).status_code == 200
    given = await hand_out(keeper, ada.id, name)
    taken = await hand_out(keeper, ada.id)

    assert given.json()["permissions"] == ["roles:write", "users:read"]
    assert taken.json()["permissions"] == []
    assert (await keeper.ask("DELETE", f"/roles/{name}")).status_code == 204
    assert name not in await roles(admin)


async def test_nobody_makes_a_role_above_himself(keeper: SignedIn, admin: SignedIn) -> None:
    mine = new_permission()
    within = await made_role(keeper, "users:read")

    for permission in ("audit:read", mine):  # a new one is nobody's but an administrator's
        problem(await create(keeper, name=new_role_name(), permissions=["users:read", permission]), 403, "forbidden")
        problem(await change_role(keeper, within, permissions=[permission]), 403, "forbidden")
        problem(await change_role(keeper, within, add_permissions=[permission]), 403, "forbidden")

    assert (await roles(admin))[within]["permissions"] == ["users:read"]


async def test_nobody_touches_a_role_above_himself(keeper: SignedIn, admin: SignedIn, ada: Person) -> None:
    above = await made_role(admin, "users:read", "audit:read", description="Above.")
    changes: list[dict[str, Any]] = [{"description": "x"}, {"name": "below"}, {"permissions": ["users:read"]}, {}]

    for name in (above, "admin"):
        before = (await roles(admin))[name]
        for fields in changes:
            problem(await change_role(keeper, name, **fields), 403, "forbidden")
        problem(await keeper.ask("DELETE", f"/roles/{name}"), 403, "forbidden")
        problem(await hand_out(keeper, ada.id, name), 403, "forbidden")
        problem(await hand_out(keeper, keeper.user_id, name), 403, "forbidden")
        assert (await roles(admin))[name] == before


async def test_nobody_gives_or_takes_roles_of_who_is_above_him(keeper: SignedIn, admin: SignedIn) -> None:
    within = await made_role(keeper, "users:read")
    auditor = await person(admin, roles=[await made_role(admin, "audit:read"), within])

    for user_id in (auditor.id, admin.user_id):
        before = (await admin.ask("GET", f"/users/{user_id}")).json()
        for held in ([], [within]):
            problem(await hand_out(keeper, user_id, *held), 403, "forbidden")
        assert (await admin.ask("GET", f"/users/{user_id}")).json() == before


async def test_a_keeper_is_judged_by_what_the_role_allows_now(keeper: SignedIn, admin: SignedIn) -> None:
    name = await made_role(keeper, "users:read")
    await change_role(admin, name, add_permissions=["audit:read"])

    problem(await change_role(keeper, name, remove_permissions=["audit:read"]), 403, "forbidden")
    problem(await keeper.ask("DELETE", f"/roles/{name}"), 403, "forbidden")


async def test_who_looks_after_accounts_does_not_look_after_roles(deputy: SignedIn, ada: Person, parts: Parts) -> None:
    problem(await deputy.ask("GET", "/roles"), 403, "forbidden")
    problem(await hand_out(deputy, ada.id), 403, "forbidden")


# ---- what a process remembers -------------------------------------------------------------------------------------


async def test_of_many_sets_of_roles_a_process_remembers_some(
    admin: SignedIn, ada: Person, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rights, "REMEMBERED_SETS", 1)
    held = [await made_role(admin, "users:read"), await made_role(admin, "audit:read")]

    allowed = [(await hand_out(admin, ada.id, name)).json()["permissions"] for name in held * 2]

    assert allowed == [["users:read"], ["audit:read"]] * 2
    assert len(parts.authenticator._rights._sets) == 1  # type: ignore[attr-defined]


async def test_a_process_whose_table_is_behind_reads_it_again(admin: SignedIn, session: SignedIn, parts: Parts) -> None:
    """A role that was made and handed out since the number was looked up: here nobody gave the table a new one."""
    name, mine = new_role_name(), new_permission()
    async with parts.db.transaction() as tx:
        await tx.execute("INSERT INTO roles (name) VALUES ($1)", name)
        await tx.execute("INSERT INTO permissions (name) VALUES ($1)", mine)
        await tx.execute("INSERT INTO role_permissions (role, permission) VALUES ($1, $2)", name, mine)
    assert (await change(admin, session.user_id, roles=[name])).status_code == 200

    answer = await session.ask("GET", f"/verify?require={mine}")

    assert (answer.status_code, answer.headers["x-auth-roles"]) == (200, name)

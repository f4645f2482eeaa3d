"""Roles: made, changed and deleted by forms."""

import pytest
from httpx import AsyncClient

from app.console.administration.roles import DESCRIPTIONS
from app.edge import Edge
from app.parts import Parts
from tests.console.administration.kit import Browser, holding
from tests.identity.kit import change_role, hand_out, made_role, new_permission, new_role_name, person
from tests.kit import Person, SignedIn, log_in

ROLES = "/console/admin/roles"
NEW = "/console/admin/new-role"


async def test_a_role_is_made_with_permissions_of_ours_and_of_an_application(root: Browser, admin: SignedIn) -> None:
    name, permission = new_role_name(), new_permission()
    form = (await root.get(NEW)).form(NEW)

    done = await root.do(
        form, name=name, description="For the shop", permission_more=permission, **{"permission.users:read": "on"}
    )

    assert "The role has been created." in done.text
    assert f"{ROLES}/{name}" in done.addresses
    assert f"/console/admin/users?role={name}" in done.addresses
    (role,) = [each for each in (await admin.ask("GET", "/roles")).json()["items"] if each["name"] == name]
    assert role["permissions"] == sorted([permission, "users:read"])
    assert role["description"] == "For the shop"


async def test_a_role_changes_by_what_is_ticked_and_another_ones_change_stays(root: Browser, admin: SignedIn) -> None:
    mine, theirs, gone = new_permission("one"), new_permission("two"), new_permission("three")
    name = await made_role(admin, mine, gone)
    form = (await root.get(f"{ROLES}/{name}")).form(f"{ROLES}/{name}")
    await change_role(admin, name, add_permissions=[theirs])

    done = await root.do(form, description="new", **{f"permission.{gone}": None, "permission.audit:read": "on"})

    assert "The role has been saved." in done.text
    assert done.form(f"{ROLES}/{name}").fields[f"permission.{theirs}"] == "on"
    (role,) = [each for each in (await admin.ask("GET", "/roles")).json()["items"] if each["name"] == name]
    assert role["permissions"] == sorted([mine, theirs, "audit:read"])


async def test_a_role_gets_another_name(root: Browser, admin: SignedIn) -> None:
    name, other = await made_role(admin), new_role_name()

    done = await root.do((await root.get(f"{ROLES}/{name}")).form(f"{ROLES}/{name}"), name=other)

    assert done.form(f"{ROLES}/{other}").fields["name"] == other
    assert (await root.get(f"{ROLES}/{name}")).status == 404


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "No Role"}, "This has characters that do not belong here."),
        ({"name": "admin"}, None),
        ({"permission_more": "nonsense"}, "This has characters that do not belong here."),
        ({"permission_more": "users:reed"}, "Names one of Gatehouse"),
        ({"description": "x" * 300}, "This may have at most 200 characters."),
    ],
)
async def test_what_is_wrong_with_a_role_is_said_and_what_was_typed_is_there(
    root: Browser, admin: SignedIn, fields: dict[str, str], said: str | None
) -> None:
    made = await made_role(admin)
    typed = {"name": new_role_name(), "permission.audit:read": "on", **fields}

    for where in (NEW, f"{ROLES}/{made}"):
        page = await root.send((await root.get(where)).form(where), **typed)

        assert page.status in (409, 422)
        again = page.form(where).fields
        assert again["name"] == typed["name"]
        assert again["permission.audit:read"] == "on"
        assert again["permission_more"] == typed.get("permission_more", "") or "permission_more" in typed
        if said is not None:
            assert said in page.wrong


async def test_a_role_beyond_ones_own_rights_is_left_as_it_is(edge: Edge, parts: Parts, admin: SignedIn) -> None:
    browser = await holding(edge, parts, admin, "roles:write")
    beyond = await made_role(admin, "users:write")
    form = (await browser.get(f"{ROLES}/{beyond}")).form(f"{ROLES}/{beyond}")
    asks = f"{ROLES}/{beyond}/delete"

    changed = await browser.send(form, description="mine")
    made = await browser.send((await browser.get(NEW)).form(NEW), name=new_role_name(), permission_more="x:y")
    gone = await browser.send((await browser.get(asks)).form(asks))

    assert [changed.status, made.status, gone.status] == [403, 403, 403]
    assert all("This is about rights beyond your own." in each.text for each in (changed, made, gone))
    assert changed.form(f"{ROLES}/{beyond}").fields["description"] == "mine"


async def test_a_role_is_deleted_on_a_page_that_asks_and_taken_from_who_has_it(
    root: Browser, client: AsyncClient, admin: SignedIn, ada: Person
) -> None:
    name = await made_role(admin)
    await hand_out(admin, ada.id, name)
    asks = f"{ROLES}/{name}/delete"

    done = await root.do((await root.get(asks)).form(asks))

    assert "The role has been deleted." in done.text
    assert (await log_in(client, ada)).body["user"]["roles"] == []


async def test_what_is_built_in_has_no_form(root: Browser) -> None:
    page = await root.get(f"{ROLES}/admin")

    assert "cannot be changed" in page.text
    assert {form.action for form in page.forms} == {"/console/sign-out"}
    asks = f"{ROLES}/admin/delete"
    assert (await root.send((await root.get(asks)).form(asks))).status == 409


async def test_a_role_of_very_many_permissions_can_be_changed(root: Browser, admin: SignedIn) -> None:
    permissions = [new_permission() for _ in range(99)]
    name = await made_role(admin, *permissions)
    form = (await root.get(f"{ROLES}/{name}")).form(f"{ROLES}/{name}")

    done = await root.do(form, description="many", **{"permission.audit:read": "on"})

    assert "The role has been saved." in done.text
    (role,) = [each for each in (await admin.ask("GET", "/roles")).json()["items"] if each["name"] == name]
    assert role["permissions"] == sorted([*permissions, "audit:read"])


async def test_who_has_a_role_is_a_link_to_the_list_of_users(root: Browser, admin: SignedIn) -> None:
    name = await made_role(admin)
    tony = await person(admin, roles=[name])
    page = await root.get(f"{ROLES}/{name}")
    (asks,) = [link for link in page.addresses if link.startswith("/console/admin/users?")]

    assert tony.username in (await root.get(asks)).text


async def test_what_permissions_of_ours_are_for_is_there_to_be_translated(admin: SignedIn) -> None:
    listed = (await admin.ask("GET", "/permissions")).json()["items"]

    assert {each["description"] for each in listed if each["description"]} == set(DESCRIPTIONS)

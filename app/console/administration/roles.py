"""Roles: what each allows, and who has it."""

from collections.abc import Sequence
from typing import Any

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.status_codes import HTTP_200_OK

from app.console.administration.users import MOST_BOXES, ticked
from app.console.forms import Form
from app.console.languages import mark
from app.console.visit import ROOT, Visit
from app.errors import AppError
from app.identity.role_structs import NewRole, Permission, Role, RoleChange
from app.identity.roles import Roles
from app.problems import convert
from app.sessions.caller import Caller, requires

# What the database says of Gatehouse's own permissions (db/migrations), for who translates it.
DESCRIPTIONS = (
    mark("Read the audit trail and the analytics."),
    mark("Make, change and hand out roles."),
    mark("See who is signed in."),
    mark("End anybody's sessions."),
    mark("Run the clean-up and see the details of health."),
    mark("See accounts."),
    mark("Make, change and delete accounts."),
)
ROLES = f"{ROOT}/admin/roles"


class RolesPages(Controller):
    guards = (requires("roles:write"),)

    @get("/roles")
    async def show(self, visit: NamedDependency[Visit], roles: NamedDependency[Roles]) -> Response[bytes]:
        return visit.page("admin/roles.html", roles=await roles.everything())

    @get("/new-role")
    async def new(self, visit: NamedDependency[Visit], roles: NamedDependency[Roles]) -> Response[bytes]:
        return visit.page("admin/role.html", role=None, **_boxes(await roles.permissions(), []))

    @post("/new-role", status_code=HTTP_200_OK)
    async def create(
        self, visit: NamedDependency[Visit], form: NamedDependency[Form], caller: Caller, roles: NamedDependency[Roles]
    ) -> Response[bytes]:
        try:
            await roles.create(caller, convert(_said(form), NewRole), visit.client)
        except AppError as refused:
            boxes = _boxes(await roles.permissions(), ticked(form, "permission"))
            return visit.again("admin/role.html", refused, form, role=None, **boxes)
        return visit.go(ROLES, "role-created")

    @get("/roles/{name:str}")
    async def show_one(
        self, visit: NamedDependency[Visit], name: FromPath[str], roles: NamedDependency[Roles]
    ) -> Response[bytes]:
        role = await roles.one(name)
        return visit.page("admin/role.html", role=role, **_boxes(await roles.permissions(), role.permissions))

    @post("/roles/{name:str}", status_code=HTTP_200_OK)
    async def change(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        name: FromPath[str],
        caller: Caller,
        roles: NamedDependency[Roles],
    ) -> Response[bytes]:
        role = await roles.one(name)
        try:
            changed = await roles.change(caller, name, convert(_difference(form, role), RoleChange), visit.client)
        except AppError as refused:
            boxes = _boxes(await roles.permissions(), ticked(form, "permission"))
            return visit.again("admin/role.html", refused, form, role=role, **boxes)
        return visit.go(f"{ROLES}/{changed.name}", "role-saved")

    @get("/roles/{name:str}/delete")
    async def ask_delete(
        self, visit: NamedDependency[Visit], name: FromPath[str], roles: NamedDependency[Roles]
    ) -> Response[bytes]:
        return visit.page("admin/role_delete.html", role=await roles.one(name))

    @post("/roles/{name:str}/delete", status_code=HTTP_200_OK)
    async def delete(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        name: FromPath[str],
        caller: Caller,
        roles: NamedDependency[Roles],
    ) -> Response[bytes]:
        role = await roles.one(name)
        try:
            await roles.delete(caller, name, visit.client)
        except AppError as refused:
            return visit.again("admin/role_delete.html", refused, form, role=role)
        return visit.go(ROLES, "role-deleted")


def _said(form: Form) -> dict[str, Any]:
    return {**form.given("name", "description"), "permissions": ticked(form, "permission")}


def _difference(form: Form, role: Role) -> dict[str, Any]:
    """What the form takes away and adds, by what it showed: another one's change meanwhile stays."""
    shown, chosen = set(form.get("shown", " ".join(role.permissions)).split()), set(ticked(form, "permission"))
    return {
        "name": form.get("name", "").strip(),
        "description": form.get("description", ""),
        "add_permissions": sorted(chosen - shown),
        "remove_permissions": sorted(shown - chosen),
    }


def _boxes(permissions: Sequence[Permission], chosen: Sequence[str]) -> dict[str, Any]:
    """Gatehouse's own and those of applications, as boxes to tick; what is beyond MOST_BOXES is text beside them."""
    own = [each for each in permissions if each.description]
    others = sorted({each.name for each in permissions if not each.description} | (set(chosen) - {p.name for p in own}))
    others.sort(key=lambda name: (name not in chosen, name))
    boxes = sorted(others[: MOST_BOXES - len(own)])
    text = [name for name in chosen if name not in boxes and name not in {p.name for p in own}]
    return {"own": own, "others": boxes, "chosen": set(chosen), "more": " ".join(text)}

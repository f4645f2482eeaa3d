"""The routes of roles and permissions."""

from typing import Annotated

from litestar import Controller, delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, PathParameter
from litestar.status_codes import HTTP_204_NO_CONTENT
from msgspec import Meta

from app.client import Client
from app.errors import Conflict, LastAdmin, NotFound
from app.identity.administration import Administration
from app.identity.role_structs import HeldRoles, NewRole, PermissionList, Role, RoleChange, RoleList
from app.identity.roles import Roles
from app.identity.structs import ROLE_PATTERN, User, UserChange, UserId
from app.sessions.caller import Caller, requires

Name = Annotated[str, Meta(description="Of a role.", extra_json_schema={"pattern": ROLE_PATTERN})]
Id = Annotated[UserId, PathParameter(ge=1, le=2**63 - 1)]  # Litestar minds no bounds but its own


class RolesController(Controller):
    tags = ("roles",)
    guards = (requires("roles:write"),)

    @get("/permissions", summary="List permissions")
    async def list_permissions(self, roles: NamedDependency[Roles]) -> PermissionList:
        """Gatehouse's own, and those of applications, which are there for as long as a role names them."""
        return PermissionList(await roles.permissions())

    @get("/roles", summary="List roles")
    async def list_roles(self, roles: NamedDependency[Roles]) -> RoleList:
        """All of them, by name: there are at most 500."""
        return RoleList(await roles.everything())

    @post("/roles", summary="Create a role", errors=(Conflict,))
    async def create_role(
        self, data: JSONBody[NewRole], caller: Caller, client: NamedDependency[Client], roles: NamedDependency[Roles]
    ) -> Role:
        """A permission of an application comes into being by being named here (`orders:read`).

        The role may allow nothing that the caller may not do, so that it takes an administrator to name a new one. 409
        for a name that is taken, and where there are 500 roles or 1000 permissions.
        """
        return await roles.create(caller, data, client)

    @patch("/roles/{name:str}", summary="Change a role", errors=(NotFound, Conflict))
    async def change_role(
        self,
        name: FromPath[Name],
        data: JSONBody[RoleChange],
        caller: Caller,
        client: NamedDependency[Client],
        roles: NamedDependency[Roles],
    ) -> Role:
        """What is not named stays. Whoever has the role may do by the next request what it allows then.

        `permissions` replaces all of them; `add_permissions` and `remove_permissions` leave the others as they are,
        whoever changes them at the same time. Neither before nor after may the role allow what the caller may not do.
        """
        return await roles.change(caller, name, data, client)

    @delete("/roles/{name:str}", status_code=HTTP_204_NO_CONTENT, summary="Delete a role", errors=(NotFound, Conflict))
    async def delete_role(
        self, name: FromPath[Name], caller: Caller, client: NamedDependency[Client], roles: NamedDependency[Roles]
    ) -> None:
        """It is taken from whoever has it. A later role of this name is another one, which nobody has."""
        await roles.delete(caller, name, client)

    @put("/users/{user_id:int}/roles", summary="Set a user's roles", errors=(NotFound, LastAdmin))
    async def set_user_roles(
        self,
        user_id: Id,
        data: JSONBody[HeldRoles],
        caller: Caller,
        client: NamedDependency[Client],
        administration: NamedDependency[Administration],
    ) -> User:
        """Exactly these, as `PATCH /users/{user_id}` does for who may change accounts.

        Neither the user as he is nor the roles may allow what the caller may not do.
        """
        return await administration.change_user(caller, user_id, UserChange(roles=data.roles), client)

"""Roles: what they allow, who may touch them, and how they change."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import asyncpg
import msgspec
from msgspec import UNSET, UnsetType

from app.audit.events import Event, record
from app.cache.entries import Entries
from app.client import Client
from app.database import Database, Transaction
from app.errors import Conflict, Forbidden, NotFound, ValidationFailed
from app.identity import names, queries, role_queries
from app.identity.role_structs import (
    LONGEST_DESCRIPTION,
    MOST_A_ROLE,
    NewRole,
    Permission,
    Role,
    RoleChange,
    is_permission_name,
    is_role_name,
)
from app.sessions.authenticator import Identified, Subject
from app.sessions.structs import ADMIN, RIGHTS_KEY

MOST_ROLES = 500  # each process holds the whole table, and reads it again at every change: 30 ms where it is full
MOST_PERMISSIONS = 1000  # of all roles together, Gatehouse's own among them; for the same reason

Actor = Identified[Subject]


# ---- who may ----------------------------------------------------------------------------------------------------


def require_permissions(caller: Actor | None, permissions: Iterable[str]) -> None:
    """Raises Forbidden unless the caller may do all of this; None is the command line, which may."""
    if caller is not None and not all(caller.may(permission) for permission in permissions):
        raise Forbidden("This is about rights beyond your own.")


async def require_roles(db: Database | Transaction, caller: Actor | None, roles: Iterable[str]) -> None:
    """Raises Forbidden unless the caller may do everything that these roles allow; None is the command line."""
    if caller is None or ADMIN in caller.subject.roles:
        return
    if ADMIN in roles:
        raise Forbidden("This needs an administrator.")
    require_permissions(caller, await queries.allowed(db, roles))


# ---- of a user --------------------------------------------------------------------------------------------------


class RolesAsked(Protocol):
    """Whatever says which roles a user is to have."""

    @property
    def roles(self) -> list[str] | UnsetType: ...
    @property
    def is_admin(self) -> bool | UnsetType: ...


def about_roles(asked: RolesAsked) -> bool:
    """Whether it says which roles the user is to have."""
    return asked.roles is not UNSET or asked.is_admin is not UNSET


def roles_after(asked: RolesAsked, present: list[str]) -> list[str]:
    """The roles to be held: `is_admin`, and `admin` among the roles, are two words for one thing.

    Raises:
        ValidationFailed: the two words contradict each other.
    """
    roles = set(present if asked.roles is UNSET else asked.roles)
    if asked.is_admin is not UNSET:
        if asked.roles is not UNSET and asked.is_admin != (ADMIN in roles):
            raise ValidationFailed(("is_admin", "contradicts `roles`"))
        roles = roles | {ADMIN} if asked.is_admin else roles - {ADMIN}
    return present if roles == set(present) else sorted(roles)


async def give(tx: Transaction, user_id: int, roles: list[str]) -> None:
    """Raises ValidationFailed for a role that there is not."""
    if await queries.set_roles(tx, user_id, roles):
        raise ValidationFailed(("roles", "names a role that does not exist"))


# ---- the table --------------------------------------------------------------------------------------------------


class Roles:
    """The role table: small, whole in every process, changed by one at a time.

    Where a method returns, no replica goes by what was before. A `caller` of None is the command line.
    """

    def __init__(self, db: Database, entries: Entries) -> None:
        self._db = db
        self._entries = entries

    async def everything(self) -> list[Role]:
        return [Role(**row) for row in await role_queries.everything(self._db)]

    async def permissions(self) -> list[Permission]:
        return [Permission(**row) for row in await role_queries.permissions(self._db)]

    async def one(self, name: str) -> Role:
        """Raises NotFound."""
        row = await role_queries.one(self._db, name) if is_role_name(name) else None
        if row is None:
            raise NotFound("There is no role of this name.")
        return Role(**row)

    async def create(self, caller: Actor | None, new: NewRole, client: Client | None) -> Role:
        """A role that nobody has yet.

        Raises:
            Forbidden: it would allow more than the caller may do.
            Conflict: the name is taken, or there are as many roles or permissions as there may be.
            ValidationFailed: as it says.
        """
        blank = Role(name=new.name, description="", permissions=[], built_in=False)
        role = changed(blank, RoleChange(name=new.name, description=new.description, permissions=new.permissions))
        async with self._changing() as tx:
            require_permissions(caller, role.permissions)
            if not await role_queries.add(tx, role.name, role.description, MOST_ROLES):
                taken = await role_queries.is_taken(tx, role.name)
                raise _taken() if taken else Conflict(f"There are {MOST_ROLES} roles already.")
            await _allow(tx, role)
            await _note(tx, caller, client, {"role": role.name, "change": "created", **_between(blank, role)})
        return role

    async def change(self, caller: Actor | None, name: str, asked: RoleChange, client: Client | None) -> Role:
        """Change what is named, for whoever has the role.

        Raises:
            NotFound: there is no such role.
            Forbidden: it allows, or would allow, more than the caller may do.
            Conflict: it is built in; or as for `create`.
            ValidationFailed: as it says.
        """
        async with self._changing() as tx:
            before = await _held(tx, caller, name)
            after = changed(before, asked)
            require_permissions(caller, after.permissions)
            if after != before:
                await _write(tx, before, after)
                said = {"role": after.name, "change": "changed", **_between(before, after)}
                await _note(tx, caller, client, said | ({"was": before.name} if after.name != before.name else {}))
        return after

    async def delete(self, caller: Actor | None, name: str, client: Client | None) -> Role:
        """Delete a role, and take it from whoever has it; what it was.

        Raises:
            NotFound: there is no such role.
            Forbidden: it allows more than the caller may do.
            Conflict: it is built in.
        """
        async with self._changing() as tx:
            role = await _held(tx, caller, name)
            holders = await role_queries.remove(tx, role.name)
            nothing = msgspec.structs.replace(role, permissions=[])
            said = {"role": role.name, "change": "deleted", "holders": holders, **_between(role, nothing)}
            await _note(tx, caller, client, said)
        return role

    @asynccontextmanager
    async def _changing(self) -> AsyncGenerator[Transaction]:
        """The transaction of a change. One that changes nothing is settled as well: it vouches for the one before."""
        outbox = self._entries.outbox
        try:
            async with self._db.transaction() as tx:
                await role_queries.take_turn(tx)
                change = await outbox.announce(tx, [RIGHTS_KEY])
                yield tx
        except NotFound:  # somebody else has just deleted it, perhaps: the answer vouches for that
            await outbox.settle(await outbox.unsettled(self._db, [RIGHTS_KEY]))
            raise
        await outbox.settle(change)


def changed(before: Role, asked: RoleChange) -> Role:
    """The role as it is to be.

    Raises:
        ValidationFailed: a value cannot be kept.
    """
    name = before.name if asked.name is UNSET else asked.name
    if not is_role_name(name):
        raise ValidationFailed(("name", "has to be of a-z, 0-9, dot, underscore, hyphen, a letter first, 64 at most"))
    description = before.description
    if asked.description is not UNSET:
        description = names.label(asked.description, "description") or ""
        if len(description) > LONGEST_DESCRIPTION:
            raise ValidationFailed(("description", f"can have {LONGEST_DESCRIPTION} characters at most"))
    permissions = {*(before.permissions if asked.permissions is UNSET else asked.permissions)}
    permissions |= {*(() if asked.add_permissions is UNSET else asked.add_permissions)}
    permissions -= {*(() if asked.remove_permissions is UNSET else asked.remove_permissions)}
    if not all(map(is_permission_name, permissions)):
        raise ValidationFailed(("permissions", "have to be of the form resource:action, in lower case"))
    if len(permissions) > MOST_A_ROLE:
        raise ValidationFailed(("permissions", f"can be {MOST_A_ROLE} at most"))
    return msgspec.structs.replace(before, name=name, description=description, permissions=sorted(permissions))


def _between(before: Role, after: Role) -> dict[str, Any]:
    was, now = set(before.permissions), set(after.permissions)
    return {"added": sorted(now - was), "removed": sorted(was - now)}


def _taken() -> Conflict:
    return Conflict("There is a role of this name.")


# ---- in the transaction -----------------------------------------------------------------------------------------


async def _held(tx: Transaction, caller: Actor | None, name: str) -> Role:
    """The role, which can be changed, and allows nothing that the caller may not do."""
    row = await role_queries.hold(tx, name) if is_role_name(name) else None
    if row is None:
        raise NotFound("There is no role of this name.")
    await require_roles(tx, caller, [name])
    if row["built_in"]:
        raise Conflict("This role is built in and stays as it is.")
    return Role(**row)


async def _write(tx: Transaction, before: Role, after: Role) -> None:
    if after.name != before.name:
        try:
            await role_queries.rename(tx, before.name, after.name)
        except asyncpg.UniqueViolationError:
            raise _taken() from None
    if after.description != before.description:
        await role_queries.describe(tx, after.name, after.description)
    if after.permissions != before.permissions:
        await _allow(tx, after)


async def _allow(tx: Transaction, role: Role) -> None:
    if await role_queries.misspelt(tx, role.permissions):
        raise ValidationFailed(("permissions", "names one of Gatehouse's own that there is not: see /permissions"))
    if await role_queries.allow(tx, role.name, role.permissions) > MOST_PERMISSIONS:
        raise Conflict(f"There are {MOST_PERMISSIONS} permissions already.")


async def _note(tx: Transaction, caller: Actor | None, client: Client | None, details: dict[str, Any]) -> None:
    actor_id, session_id = (None, None) if caller is None else (caller.user_id, caller.session_id)
    await record(tx, Event.ROLE_CHANGED, client, actor_id=actor_id, session_ids=[session_id], details=details)

"""What the wire and the command line see of roles and permissions."""

import re
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from app.identity.structs import ROLE_PATTERN, RoleName

PERMISSION_PATTERN = "^[a-z][a-z0-9_.-]{0,31}:[a-z][a-z0-9_.-]{0,31}$"  # resource:action
MOST_A_ROLE = 100  # permissions: a person with some roles shows all that they allow in every answer

PermissionName = Annotated[
    str,
    Meta(
        max_length=65,
        pattern=PERMISSION_PATTERN,
        description="`resource:action`: lower case letters, digits, `_`, `.` and `-`, at most 32 each, a letter first.",
    ),
]
LONGEST_DESCRIPTION = 200  # characters
Description = Annotated[
    str, Meta(max_length=LONGEST_DESCRIPTION, description="For people; kept in NFC, one space between words.")
]
Permissions = Annotated[list[PermissionName], Meta(max_length=MOST_A_ROLE)]


def is_role_name(text: str) -> bool:
    """Whether all of the text is one; `$` alone would let a last newline pass."""
    return re.fullmatch(ROLE_PATTERN, text) is not None


def is_permission_name(text: str) -> bool:
    return re.fullmatch(PERMISSION_PATTERN, text) is not None


class Permission(Struct, frozen=True, kw_only=True):
    name: str
    description: Annotated[str, Meta(description="Of Gatehouse's own; an application's has none.")]


class PermissionList(Struct, frozen=True):
    items: list[Permission]


class Role(Struct, frozen=True, kw_only=True):
    """A name and what it allows."""

    name: str
    description: str
    permissions: Annotated[list[str], Meta(description="By name; of `admin` all there are.")]
    built_in: Annotated[bool, Meta(description="`admin`, which nobody can change or delete.")]


class RoleList(Struct, frozen=True):
    items: list[Role]


class NewRole(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: RoleName
    description: Description = ""
    permissions: Permissions = []


class RoleChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is not named stays as it is; either `permissions`, or any of `add_permissions` and `remove_permissions`."""

    name: RoleName | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    permissions: Annotated[Permissions, Meta(description="All it is to allow.")] | UnsetType = UNSET
    add_permissions: Annotated[Permissions, Meta(description="Besides those it has.")] | UnsetType = UNSET
    remove_permissions: Annotated[Permissions, Meta(description="Of those it has.")] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.permissions is not UNSET and not (self.add_permissions is self.remove_permissions is UNSET):
            raise ValueError("takes either permissions or add_permissions")


class HeldRoles(Struct, frozen=True, forbid_unknown_fields=True):
    """All the roles that a user is to have."""

    roles: Annotated[list[RoleName], Meta(max_length=100)]

"""What the tests of administration do over and over, and settings by which a hash costs next to nothing."""

import secrets
from typing import Any

import msgspec
from httpx import Response

from app.parts import Parts
from app.settings import Settings
from tests.kit import Person, SignedIn, new_name, new_password

CHEAP = Settings(argon2_memory_kib=64, argon2_time_cost=1)


async def create(admin: SignedIn, **fields: object) -> Response:
    return await admin.ask("POST", "/users", json={"username": new_name(), "password": new_password(), **fields})


async def person(admin: SignedIn, **fields: object) -> Person:
    """A user who may sign in and go about."""
    username, password = new_name(), new_password()
    email = str(fields["email"]) if "email" in fields else None
    answer = await create(admin, username=username, password=password, must_change_password=False, **fields)
    assert answer.status_code == 201, answer.text
    return Person(answer.json()["id"], username, password, email)


async def change(admin: SignedIn, user_id: int, **fields: object) -> Response:
    return await admin.ask("PATCH", f"/users/{user_id}", json=fields)


def new_role_name() -> str:
    return f"r{secrets.token_hex(4)}"


async def new_role(parts: Parts, *permissions: str) -> str:
    name = new_role_name()
    async with parts.db.transaction() as tx:
        await tx.execute("INSERT INTO roles (name) VALUES ($1)", name)
        for permission in permissions:
            await tx.execute("INSERT INTO permissions (name) VALUES ($1) ON CONFLICT DO NOTHING", permission)
            await tx.execute("INSERT INTO role_permissions (role, permission) VALUES ($1, $2)", name, permission)
        await tx.execute("UPDATE role_table SET number = number + 1")
        changed = await parts.entries.outbox.announce(tx, ["r:table"])
    await parts.entries.outbox.settle(changed)
    return name


def new_permission(action: str = "read") -> str:
    """Of an application, which no other test has."""
    return f"orders-{secrets.token_hex(4)}:{action}"


async def made_role(admin: SignedIn, *permissions: str, **fields: object) -> str:
    """The name of a role that is made as an administrator makes one."""
    body = {"name": new_role_name(), "permissions": permissions, **fields}
    answer = await admin.ask("POST", "/roles", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["name"])


async def change_role(admin: SignedIn, role: str, /, **fields: object) -> Response:
    return await admin.ask("PATCH", f"/roles/{role}", json=fields)


async def hand_out(admin: SignedIn, user_id: int, *roles: str) -> Response:
    return await admin.ask("PUT", f"/users/{user_id}/roles", json={"roles": roles})


async def events(parts: Parts, user_id: int) -> list[tuple[str, dict[str, Any]]]:
    rows = await parts.db.fetch("SELECT event, details FROM audit_events WHERE user_id = $1 ORDER BY id", user_id)
    return [(row["event"], msgspec.json.decode(row["details"])) for row in rows]

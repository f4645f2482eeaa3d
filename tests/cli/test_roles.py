"""`gatehouse roles …`: roles by whoever may run commands on the server."""

import asyncio
import json
from typing import Any

import asyncpg
import msgspec
import pytest

from tests.cli.conftest import Run
from tests.identity.kit import new_permission, new_role_name


def test_one_is_made_shown_changed_and_deleted(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str], postgres_url: str
) -> None:
    name, other, mine = new_role_name(), new_role_name(), new_permission()

    def said(*words: str) -> Any:
        assert run("roles", *words, "--json", **environment) == 0
        return json.loads(capsys.readouterr().out)

    def shown(*words: str) -> list[str]:
        assert run("roles", *words, **environment) == 0
        return capsys.readouterr().out.splitlines()

    made = said("create", name, "--description", "Clerk.", "--allow", "users:read", "--allow", mine)
    assert made == {"name": name, "description": "Clerk.", "permissions": [mine, "users:read"], "built_in": False}
    assert said("show", name) == made
    assert made in said("list")
    assert shown("show", name) == [f"name         {name}", "description  Clerk.", f"permissions  {mine} users:read"]
    listed = {line.split()[0]: line.split()[1:] for line in shown("list")}
    assert listed[name] == [mine, "users:read", "Clerk."]
    assert listed["admin"][0] == "all"

    changed = said("change", name, "--rename", other, "--description", "", "--allow", "audit:read", "--disallow", mine)
    assert changed == {"name": other, "description": "", "permissions": ["audit:read", "users:read"], "built_in": False}
    assert shown("delete", other) == [f"deleted {other}"]
    assert not {name, other} & {each["name"] for each in said("list")}

    assert asyncio.run(audited(postgres_url, name, other)) == ["created", "changed", "deleted"]


def test_a_description_says_nothing_to_the_terminal(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str], postgres_url: str
) -> None:
    """Also where somebody has written it who is no service of ours."""
    name = new_role_name()

    async def write() -> None:
        connection = await asyncpg.connect(postgres_url)
        await connection.execute("INSERT INTO roles (name, description) VALUES ($1, $2)", name, "a\x1b[2Jb")
        await connection.close()

    asyncio.run(write())

    assert run("roles", "show", name, **environment) == 0
    assert "description  a?[2Jb" in capsys.readouterr().out.splitlines()
    assert run("roles", "delete", name, **environment) == 0


async def audited(url: str, *roles: str) -> list[str]:
    """What the command line has done to these roles."""
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(
        """
        SELECT details FROM audit_events
        WHERE event = 'role.changed' AND actor_id IS NULL AND details->>'role' = ANY($1) ORDER BY id
        """,
        roles,
    )
    await connection.close()
    return [msgspec.json.decode(row["details"])["change"] for row in rows]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("show", "no-such-role"), "There is no role of this name."),
        (("change", "no-such-role"), "There is no role of this name."),
        (("delete", "No Role"), "There is no role of this name."),
        (("create", "admin"), "There is a role of this name."),
        (("delete", "admin"), "This role is built in and stays as it is."),
        (("change", "admin", "--allow", "orders:read"), "This role is built in and stays as it is."),
        (("create", "Clerk"), "name has to be of a-z, 0-9, dot, underscore, hyphen, a letter first, 64 at most"),
        (
            ("create", "clerk", "--allow", "orders"),
            "permissions have to be of the form resource:action, in lower case",
        ),
        (
            ("create", "clerk", "--allow", "users:raed"),
            "permissions names one of Gatehouse's own that there is not: see /permissions",
        ),
        (("create", "clerk", "--description", "x" * 201), "description can have 200 characters at most"),
        (("create", "clerk", "--description", "\udcff"), "description has characters that do not print"),
    ],
)
def test_what_cannot_be_is_one_line(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str], words: tuple[str, ...], line: str
) -> None:
    assert run("roles", *words, **environment) == 1

    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", f"gatehouse: {line}\n")

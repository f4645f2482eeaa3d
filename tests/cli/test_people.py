"""`gatehouse users …`: looking after accounts by whoever may run commands on the server."""

import asyncio
import io
import json
from typing import Any, get_args

import asyncpg
import msgspec
import pytest

from app.cli.main import SORTS
from app.identity.listing import UserSort
from tests.cli.conftest import Run
from tests.kit import new_name, new_password


@pytest.fixture
def said(run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> Any:
    def command(*words: str) -> Any:
        assert run("users", *words, "--json", **environment) == 0
        return json.loads(capsys.readouterr().out)

    return command


def test_somebody_is_made_found_shown_and_shut_out(
    run: Run, environment: dict[str, str], said: Any, capsys: pytest.CaptureFixture[str], postgres_url: str
) -> None:
    name = new_name("clerk")

    made = said("create", name, "--email", f"{name}@example.org", "--full-name", "Ada King", "--role", "admin")
    assert set(made) == {"id", "username", "password"}
    (listed,) = said("list", "--search", name, "--role", "admin")
    assert (listed["id"], listed["email"], listed["must_change_password"]) == (made["id"], f"{name}@example.org", True)
    shown = said("show", name)
    assert (shown["full_name"], shown["credentials"]["has_password"]) == ("Ada King", True)
    assert said("deactivate", name, "--reason", "Has left.")["is_active"] is False
    assert [each["id"] for each in said("list", "--search", name, "--inactive")] == [made["id"]]
    assert said("activate", str(made["id"]))["is_active"] is True

    assert run("users", "list", "--search", name, **environment) == 0
    _, line = capsys.readouterr().out.splitlines()
    assert line.split()[:3] == [str(made["id"]), name, f"{name}@example.org"]
    assert run("users", "show", name, **environment) == 0
    assert "password" in capsys.readouterr().out.splitlines()[-1]
    assert asyncio.run(reasons(postgres_url, made["id"])) == [None, "Has left.", None]


def test_who_is_named_like_the_id_of_another_is_not_taken_for_him(
    run: Run, environment: dict[str, str], said: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    clerk = said("create", new_name("clerk"))
    decoy = said("create", str(clerk["id"]))

    assert run("users", "deactivate", decoy["username"], **environment) == 1
    assert f"say id:{clerk['id']} or id:{decoy['id']}." in capsys.readouterr().err

    assert said("deactivate", f"id:{clerk['id']}")["username"] == clerk["username"]
    assert said("show", f"id:{decoy['id']}")["is_active"] is True


async def reasons(url: str, user_id: int) -> list[str | None]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch("SELECT actor_id, details FROM audit_events WHERE user_id = $1 ORDER BY id", user_id)
    await connection.close()
    assert {row["actor_id"] for row in rows} == {None}
    return [msgspec.json.decode(row["details"]).get("reason") for row in rows]


def test_a_list_is_as_long_as_was_asked(said: Any) -> None:
    prefix = new_name("many")
    for number in range(3):
        said("create", f"{prefix}-{number}")

    found = said("list", "--search", prefix, "--sort", "username", "--limit", "2")

    assert [each["username"] for each in found] == [f"{prefix}-0", f"{prefix}-1"]
    for downwards in (("--sort", "-username"), ("--sort=-username",)):
        found = said("list", "--search", prefix, *downwards, "--limit", "2")
        assert [each["username"] for each in found] == [f"{prefix}-2", f"{prefix}-1"]


def test_a_list_is_sorted_by_whatever_the_api_sorts_by() -> None:
    assert {*SORTS} == {*get_args(UserSort)}


def test_a_password_may_come_by_standard_input(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{new_password()}\n"))

    assert set(said("create", new_name(), "--password-stdin")) == {"id", "username"}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("show", "nobody-of-this-name"), "There is no local user 'nobody-of-this-name', and nobody with this id."),
        (("deactivate", "9223372036854775808"), "and nobody with this id"),
        (("create", "two words\x07"), "username"),
        (("create", "clerk", "--role", "no-such-role"), "roles names a role that does not exist"),
        (("create", "clerk", "--invite"), "say --email as well"),
        (("create", "clerk", "--invite", "--email", "clerk@example.org"), "mail"),
    ],
)
def test_what_cannot_be_is_one_line(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str], words: tuple[str, ...], line: str
) -> None:
    assert run("users", *words, **environment) == 1

    complaint = capsys.readouterr().err
    assert line in complaint
    assert complaint.count("\n") == 1

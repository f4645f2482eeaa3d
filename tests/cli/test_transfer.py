"""`gatehouse users import` and `gatehouse users export`."""

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bcrypt
import pytest
from anyio import to_thread
from httpx import AsyncClient

from app.cli.embedded import Postgres
from app.identity import import_lines
from app.identity.imports import Imports
from tests.cli.conftest import Run, environment_for
from tests.cli.kit import gatehouse
from tests.conftest import copy_migrated
from tests.identity.importkit import ndjson, new_line
from tests.kit import Person, SignedIn, new_name, new_password, problem

PASSWORD = new_password()
Stores = Callable[[], dict[str, str]]


@pytest.fixture(scope="module")
def stored() -> str:
    return bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


@pytest.fixture
def environment(here: Path, own_database: str, valkey_url: str) -> dict[str, str]:
    """A database of its own: it is exported whole."""
    return environment_for(own_database, valkey_url)


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_file_is_imported_and_counted_and_its_errors_are_said(
    run: Run, here: Path, environment: dict[str, str], stored: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [new_line(password_hash=stored), new_line(is_admin=True), {"username": "-", "email": "none"}]
    (here / "users").write_bytes(ndjson(*lines))

    assert run("users", "import", "users", **environment) == 1

    printed = capsys.readouterr()
    assert printed.out.split() == ["created", "2", "updated", "0", "skipped", "0", "errors", "1"]
    assert printed.err.startswith("gatehouse: line 3: validation_failed: username ")

    (here / "users").write_bytes(ndjson(*lines[:2]))
    assert run("users", "import", "users", **environment) == 0
    assert "skipped  2" in capsys.readouterr().out


def test_the_report_goes_where_it_is_asked_for(
    run: Run, here: Path, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    bad = [{"username": f"-{number}"} for number in range(12)]
    (here / "users").write_bytes(ndjson(new_line(), *bad))

    assert run("users", "import", "users", "--report", "report", **environment) == 1
    printed = capsys.readouterr()
    assert (printed.out.split()[:2], printed.err) == (["created", "1"], "")
    found = lines_of((here / "report").read_text())
    assert [each["line"] for each in found] == list(range(1, 14))
    assert (here / "report").stat().st_mode & 0o777 == 0o600

    assert run("users", "import", "users", "--json", **environment) == 1
    printed = capsys.readouterr()
    assert [each["status"] for each in lines_of(printed.out)] == ["skipped", *["error"] * 12]
    assert printed.err == ""

    assert run("users", "import", "users", **environment) == 1
    assert "and 2 more: --report FILE" in capsys.readouterr().err


async def test_its_changes_are_seen_by_the_next_request(
    here: Path, postgres_url: str, valkey_url: str, client: AsyncClient, session: SignedIn, ada: Person
) -> None:
    environment = environment_for(postgres_url, valkey_url)
    (here / "users").write_bytes(ndjson({"username": ada.username, "is_active": False}))
    assert (await session.ask("GET", "/me")).status_code == 200

    with gatehouse("users", "import", "users", "--json", cwd=here, environment=environment) as command:
        assert await to_thread.run_sync(command.ends) == 0, command.output

    assert lines_of(command.output) == [{"line": 1, "status": "updated", "id": ada.id}]
    problem(await session.ask("GET", "/me"), 401, "session_revoked")


def test_a_dash_is_standard_input(
    run: Run,
    here: Path,
    environment: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (here / "users").write_bytes(ndjson(new_line()))
    with (here / "users").open("rb") as file:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=file))

        assert run("users", "import", "-", **environment) == 0

    assert "created  1" in capsys.readouterr().out


def test_accounts_move_with_their_passwords_to_another_gatehouse(
    run: Run, here: Path, environment: dict[str, str], stored: str, postgres: Postgres, valkey_url: str
) -> None:
    name = new_name("moved").replace("-", "_")
    copy_migrated(postgres, name)
    elsewhere = environment_for(postgres.url(name), valkey_url)
    line = new_line(password_hash=stored, email=f"{new_name()}@example.org", full_name="Ada")
    (here / "users").write_bytes(ndjson(line))

    assert run("users", "import", "users", **environment) == 0
    assert run("users", "export", "--with-hashes", "moved", **environment) == 0
    assert run("users", "import", "moved", **elsewhere) == 0
    assert run("users", "export", "--with-hashes", "there", **elsewhere) == 0

    assert (here / "moved").stat().st_mode & 0o777 == 0o600
    for file in ("moved", "there"):
        (found,) = lines_of((here / file).read_text())
        assert {field: found[field] for field in line} == line


def test_an_export_has_no_hashes_unless_it_is_asked_for_them(
    run: Run, here: Path, environment: dict[str, str], stored: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "users").write_bytes(ndjson(new_line(password_hash=stored), new_line()))
    assert run("users", "import", "users", **environment) == 0
    capsys.readouterr()

    assert run("users", "export", **environment) == 0
    printed = capsys.readouterr().out
    assert "password_hash" not in printed
    assert len(lines_of(printed)) == 2

    assert run("users", "export", "--with-hashes", **environment) == 0
    assert [each["password_hash"] for each in lines_of(capsys.readouterr().out)] == [stored, None]


def test_a_file_that_cannot_be_used_is_one_line(
    run: Run, here: Path, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for command, name, said in (("import", "nothing", "nothing"), ("export", "no/users", "no/users.part")):
        assert run("users", command, name, **environment) == 1
        assert capsys.readouterr().err == f"gatehouse: {said} cannot be used: No such file or directory\n"


def test_nothing_is_written_over_what_is_imported_or_over_what_is_no_file(
    run: Run, here: Path, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = ndjson(new_line())
    (here / "users").write_bytes(said)
    (here / "link").symlink_to("users")
    os.mkfifo(here / "pipe")
    for words, line in (
        (("import", "users", "--report", "users"), "users cannot be used: it is the file to import"),
        (("import", "users", "--report", "link"), "link cannot be used: it is the file to import"),
        (("import", "users", "--report", "pipe"), "pipe cannot be used: it is no plain file"),
        (("export", "pipe"), "pipe cannot be used: it is no plain file"),
        (("export", "link"), "link cannot be used: it is no plain file"),
    ):
        assert run("users", *words, **environment) == 1
        assert capsys.readouterr().err == f"gatehouse: {line}\n"

    assert (here / "users").read_bytes() == said
    assert (here / "pipe").is_fifo()


def test_an_import_that_ends_early_says_how_far_it_came(
    run: Run,
    here: Path,
    environment: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(import_lines, "BATCH", 2)
    (here / "users").write_bytes(ndjson(*(new_line() for _ in range(5))))
    run_import = Imports.run

    async def with_a_bound(self: Imports, *args: Any) -> None:
        await run_import(self, *args, most_lines=4)

    monkeypatch.setattr(Imports, "run", with_a_bound)

    assert run("users", "import", "users", "--report", "report", **environment) == 1

    assert "The first 4 lines are done; import the same again to go on." in capsys.readouterr().err
    assert len(lines_of((here / "report").read_text())) == 4


def test_a_person_at_the_terminal_sees_how_far_it_is(
    run: Run,
    here: Path,
    environment: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (here / "users").write_bytes(ndjson(new_line()))
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")

    assert run("users", "import", "users", **environment) == 0

    assert "bytes" in terminal.getvalue()

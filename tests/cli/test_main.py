"""How commands fail: one line for each thing that is wrong, an exit status that tells settings from the rest."""

import asyncio
import os
import re
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from app.cli import migrate
from app.cli.embedded import Valkey
from tests.cli.conftest import Run
from tests.cli.kit import gatehouse

SECRET = "p7Jq2sVx9Lr4Tz8Wb3Nc6Md1Kf5Hg0Ya"


@pytest.mark.parametrize(
    "command",
    [["serve"], ["migrate"], ["check"], ["cleanup"], ["keys", "rotate"], ["clients", "list"], ["roles", "list"]],
)
def test_missing_settings_are_one_line_each_and_exit_78(
    run: Run, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert run(*command) == 78

    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == ["SECRET_KEY", "DATABASE_URL", "VALKEY_URL", "PUBLIC_URL"]
    assert lines[0].startswith("gatehouse: SECRET_KEY: is required; ")


def test_a_misspelt_name_in_the_file_is_told(run: Run, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "my.env").write_text("SECRETKEY=x\n")

    assert run("check", "--env-file", "my.env") == 78

    assert "gatehouse: SECRETKEY: there is no such setting (my.env, line 1)" in capsys.readouterr().err


def test_a_weak_secret_is_not_printed(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", SECRET_KEY="hunter2") == 78

    printed = capsys.readouterr()
    assert "at least 32 bytes" in printed.err
    assert "hunter2" not in printed.out + printed.err


@pytest.mark.parametrize(
    "command",
    [
        ["migrate"],
        ["migrate", "--plan"],
        ["keys", "rotate"],
        ["users", "create-admin"],
        ["clients", "list"],
        ["clients", "add", "a"],
        ["roles", "list"],
        ["roles", "create", "a"],
    ],
)
def test_a_database_that_is_away_is_one_line_and_exit_1(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    environment["DATABASE_URL"] = "postgresql://gatehouse:hunter2@127.0.0.1:1/gatehouse"

    assert run(*command, **environment) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("gatehouse: PostgreSQL (DATABASE_URL) cannot be used: ")
    assert "hunter2" not in line


def test_a_wrong_password_of_the_database_is_one_line(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    environment["DATABASE_URL"] = re.sub(r"(//\w+:)", r"\1not", environment["DATABASE_URL"])

    assert run("migrate", **environment) == 1

    assert "password authentication failed" in capsys.readouterr().err


def test_a_fault_of_ours_keeps_its_traceback(
    run: Run, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("db.schema.pending", broken)

    with pytest.raises(ZeroDivisionError):
        run("migrate", **environment)


def test_ctrl_c_ends_a_command_as_shells_expect(
    run: Run, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("db.schema.pending", interrupted)

    assert run("migrate", **environment) == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_heard_also_where_a_library_swallows_cancellations(
    run: Run, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    async def deaf() -> None:
        os.kill(os.getpid(), number)
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.1)

    monkeypatch.setattr(migrate, "run", lambda _: asyncio.run(deaf()))

    assert run("migrate", **environment) == 130


@pytest.mark.parametrize(
    "words", [[], ["users"], ["nonsense"], ["serve", "--port", "0"], ["serve", "--workers", "many"]]
)
def test_a_command_that_does_not_exist_is_exit_2(run: Run, words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*words)

    assert ended.value.code == 2


def test_the_script_is_installed_and_knows_its_version(here: Path) -> None:
    with gatehouse("--version", cwd=here) as process:
        assert process.ends() == 0

    assert process.output.startswith("gatehouse ")


@pytest.mark.parametrize("command", ["serve", "dev"])
def test_a_taken_port_is_one_line_and_exit_1(
    here: Path, environment: dict[str, str], valkey: Valkey, command: str
) -> None:
    words = [command, "--host", "127.0.0.1", "--port", str(valkey.port)]
    with gatehouse(*words, cwd=here, environment=environment) as process:
        assert process.ends() == 1

    (line,) = process.lines
    assert line.startswith(f"gatehouse: cannot listen on 127.0.0.1:{valkey.port}: ")

"""`gatehouse users …`: administrators, and the way back in."""

import io
import json
from pathlib import Path

import pytest
from anyio import to_thread
from httpx import AsyncClient

from tests.cli.conftest import Run, environment_for
from tests.cli.kit import gatehouse
from tests.gpustack.scripted import Scripted
from tests.identity.mailkit import proved, token, use
from tests.kit import Person, SignedIn, log_in, new_name, new_password, problem
from tests.mail.kit import Postbox


@pytest.fixture
def environment(here: Path, own_database: str, valkey_url: str) -> dict[str, str]:
    """A database of its own: in the shared one, another test makes the first user."""
    return environment_for(own_database, valkey_url)


def test_an_administrator_is_made_with_a_password_that_is_shown(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    name = new_name("boss")

    assert run("users", "create-admin", "--username", name, "--email", f"{name}@example.test", **environment) == 0

    shown = dict(line.split()[:2] for line in capsys.readouterr().out.splitlines())
    assert shown["username"] == name
    assert len(shown["password"]) >= 16


def test_a_password_from_standard_input_is_not_shown(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    password = new_password()
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))

    assert run("users", "create-admin", "--username", new_name(), "--password-stdin", "--json", **environment) == 0

    printed = capsys.readouterr().out
    assert password not in printed
    assert set(json.loads(printed)) == {"id", "username"}


def test_no_password_is_no_account(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))

    assert run("users", "create-admin", "--username", new_name(), "--password-stdin", **environment) == 1

    assert "no password" in capsys.readouterr().err


def test_a_taken_name_is_one_line(run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    name = new_name()
    assert run("users", "create-admin", "--username", name, **environment) == 0

    assert run("users", "create-admin", "--username", name, **environment) == 1

    assert capsys.readouterr().err == "gatehouse: This username is taken.\n"


def test_a_database_without_schema_names_the_command(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    environment["DATABASE_URL"] = environment["DATABASE_URL"].rpartition("/")[0] + "/postgres"

    assert run("users", "create-admin", **environment) == 1

    assert "gatehouse migrate" in capsys.readouterr().err


def test_nobody_of_this_name_is_one_line(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("users", "set-password", new_name(), **environment) == 1

    assert "There is no local user" in capsys.readouterr().err


async def test_a_new_password_opens_the_account_and_ends_its_sessions(
    here: Path, postgres_url: str, valkey_url: str, session: SignedIn, ada: Person
) -> None:
    environment = environment_for(postgres_url, valkey_url)
    with gatehouse("users", "set-password", ada.username, "--json", cwd=here, environment=environment) as command:
        assert await to_thread.run_sync(command.ends) == 0, command.output
    new = Person(ada.id, ada.username, json.loads(command.output)["password"])

    problem(await session.ask("GET", "/me"), 401, "session_revoked")
    await log_in(session.client, new)


async def test_a_new_password_is_told_by_mail_with_a_link_that_shuts_everybody_out(
    here: Path, postgres_url: str, valkey_url: str, client: AsyncClient, postbox: Postbox
) -> None:
    """The command leaves the letter; a server sends it."""
    ada = await proved(client, postbox)
    mail = {"SMTP_URL": postbox.url, "MAIL_FROM": "Gatehouse <no-reply@example.test>"}
    environment = environment_for(postgres_url, valkey_url) | mail
    with gatehouse("users", "set-password", ada.username, "--json", cwd=here, environment=environment) as command:
        assert await to_thread.run_sync(command.ends) == 0, command.output
    session = await log_in(client, Person(ada.id, ada.username, json.loads(command.output)["password"]))

    told = await postbox.to(ada.email or "", 2)

    assert told.message["Subject"] == "Your password was changed"
    assert "An administrator has given your account a new password." in told.part("plain")
    assert (await use(client, "/password/not-me", token(told, "not-me"))).status_code == 204
    problem(await session.ask("GET", "/me"), 401, "session_revoked")


async def test_gpustacks_users_are_brought_over(here: Path, environment: dict[str, str]) -> None:
    async def sync(*words: str, **more: str) -> tuple[int, str]:
        with gatehouse("users", "sync", *words, cwd=here, environment=environment | more) as command:
            return await to_thread.run_sync(command.ends), command.output

    async with Scripted() as server:
        await server.add("ada")
        given = {"ENVIRONMENT": "development", "LOG_LEVEL": "error", "GPUSTACK_URL": server.url}
        status, said = await sync(**given)
        assert (status, "GPUSTACK_API_KEY" in said) == (1, True)

        given["GPUSTACK_API_KEY"] = server.key
        status, said = await sync(**given)
        assert (status, "created      2" in said) == (0, True)
        status, said = await sync("--json", **given)
        assert (status, json.loads(said)["listed"], json.loads(said)["created"]) == (0, 2, 0)

        await server.refuse()
        status, said = await sync(**given)
        assert (status, "cannot be read" in said) == (1, True)


def test_without_gpustack_there_is_nobody_to_be_brought_over(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("users", "sync", **environment) == 1

    assert "GPUSTACK_URL" in capsys.readouterr().err

"""`gatehouse clients …`: who may ask about tokens, made and removed by whoever may run commands on the server."""

import asyncio
import hashlib
import json
import sys
from pathlib import Path

import pytest
from anyio import to_thread
from httpx import AsyncClient
from structlog.testing import capture_logs

from app.clients import service as clients_service
from app.clients.structs import NewClient, TokenForm
from app.parts import Parts
from tests.cli.conftest import Run, environment, here, run
from tests.cli.kit import ROOT, Process, gatehouse
from tests.clients.kit import Service, registered
from tests.kit import SignedIn, new_name, problem
from tests.replica import Start

__all__ = ["environment", "here", "run"]  # fixtures

# Makes so many clients of one name at once, on a signal by its standard input, and says how many it made.
MANY = """
import asyncio, sys
from app.errors import Conflict
from app.parts import assemble
from app.settings import load

async def main(name):
    parts = assemble(load())
    await parts.db.start()
    await parts.entries.start()
    print("ready", flush=True)
    made = await asyncio.gather(*(parts.clients.add(name) for _ in range(25)), return_exceptions=True)
    assert all(isinstance(each, Conflict) for each in made if isinstance(each, Exception)), made
    print("made", sum(not isinstance(each, Exception) for each in made))
    await parts.passwords.stop()
    await parts.entries.stop()
    await parts.db.stop()

asyncio.run(main(sys.argv[1]))
"""


def test_one_is_added_listed_and_removed(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    name = new_name("Orders & Co. \u00e9")
    assert run("clients", "add", name, "--json", **environment) == 0
    added = json.loads(capsys.readouterr().out)
    assert set(added) == {"client_id", "client_secret"}
    assert len(added["client_id"].removeprefix("ghc_")) == 22
    assert len(added["client_secret"].removeprefix("ghcs_")) == 43

    assert run("clients", "list", "--json", **environment) == 0
    (listed,) = [each for each in json.loads(capsys.readouterr().out) if each["name"] == name]
    assert listed == {"client_id": added["client_id"], "name": name, "created_at": listed["created_at"]}
    assert listed["created_at"].endswith("Z")

    assert run("clients", "remove", name, "--json", **environment) == 0
    assert json.loads(capsys.readouterr().out) == listed
    assert run("clients", "list", **environment) == 0
    assert name not in capsys.readouterr().out


def test_people_read_lines_and_the_secret_once(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    name = new_name()
    assert run("clients", "add", name, **environment) == 0
    printed = capsys.readouterr()
    shown = dict(line.split()[:2] for line in printed.out.splitlines())
    assert shown["client_secret"] not in printed.err

    assert run("clients", "list", **environment) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if name in line)
    assert line.startswith(shown["client_id"])
    assert shown["client_secret"] not in line

    assert run("clients", "remove", shown["client_id"], **environment) == 0
    assert capsys.readouterr().out == f"removed {shown['client_id']} ({name})\n"


def test_a_taken_name_is_one_line(run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    name = new_name("Caf\u00e9")
    assert run("clients", "add", name, **environment) == 0
    capsys.readouterr()

    assert run("clients", "add", name.replace("\u00e9", "e\u0301"), **environment) == 1

    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "gatehouse: There is a client of this name.\n")


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        " a",
        "a ",
        "x" * 65,
        "a\nb",
        "a\x1b[31m",
        "a\u202eb",
        "a\u200bb",
        "\udcff",
        "ghc_AAAAAAAAAAAAAAAAAAAAAA",
    ],
)
def test_a_name_is_short_and_prints_and_is_no_id(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run("clients", "add", name, **environment) == 1

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("gatehouse: name ")
    assert len(printed.err.splitlines()) == 1


def test_there_is_nobody_to_remove(run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("clients", "remove", new_name(), **environment) == 1

    assert capsys.readouterr().err == "gatehouse: There is no client of this name or id.\n"


def test_there_are_not_more_than_a_process_can_know(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("clients", "add", new_name(), **environment) == 0
    monkeypatch.setattr(clients_service, "MOST", 1)
    capsys.readouterr()

    assert run("clients", "add", new_name(), **environment) == 1

    assert capsys.readouterr().err == "gatehouse: There are 1 clients already.\n"


async def test_of_fifty_who_make_one_name_at_once_in_two_processes_one_wins(
    here: Path, environment: dict[str, str], parts: Parts
) -> None:
    name = new_name()
    command = Process(sys.executable, "-c", MANY, name, cwd=ROOT, environment=environment)
    with command:
        await to_thread.run_sync(command.read_until, "ready")
        made = await asyncio.gather(*(parts.clients.add(name) for _ in range(25)), return_exceptions=True)
        assert await to_thread.run_sync(command.ends) == 0, command.output

    here_ = sum(not isinstance(each, Exception) for each in made)
    there = int(command.lines[-1].split()[1])
    assert here_ + there == 1
    assert len(await parts.db.fetch("SELECT FROM clients WHERE name = $1", name)) == 1


# ---- and at once, everywhere ----------------------------------------------------------------------------------------


async def test_a_command_makes_a_client_that_every_server_knows_and_removes_it(
    here: Path, environment: dict[str, str], client: AsyncClient, session: SignedIn, replicas: list[AsyncClient]
) -> None:
    name = new_name()
    other = [await client.post("/introspect", data={"token": "x"}, auth=("ghc_x", "y")) for _ in replicas]
    assert {answer.status_code for answer in other} == {401}  # all have looked at the table before
    with gatehouse("clients", "add", name, "--json", cwd=here, environment=environment) as command:
        assert await to_thread.run_sync(command.ends) == 0, command.output
    made = json.loads(command.output)
    service = Service(client, made["client_id"], made["client_secret"])
    for place in (client, *replicas):
        assert (await service.introspect(session.access, at=place))["active"] is True

    with gatehouse("clients", "remove", name, cwd=here, environment=environment) as command:
        assert await to_thread.run_sync(command.ends) == 0, command.output

    for place in (client, *replicas):
        for path in ("/introspect", "/revoke"):
            problem(await service.ask(path, session.access, at=place), 401, "invalid_client")
    assert (await session.ask("GET", "/me")).status_code == 200


async def test_of_a_secret_only_its_digest_is_kept(service: Service, parts: Parts) -> None:
    row = await parts.db.fetchrow("SELECT * FROM clients WHERE id = $1", service.id)

    assert row is not None
    assert row["secret_digest"] == hashlib.sha256(service.secret.encode()).digest()
    assert service.secret not in str(dict(row))
    assert service.secret not in repr(NewClient(client_id=service.id, client_secret=service.secret))
    assert service.secret not in repr(TokenForm(token=service.secret, client_secret=service.secret))


async def test_a_server_logs_who_has_come_and_gone(start: Start) -> None:
    replica = await start()
    first = await registered(replica.client, replica.parts)
    await first.introspect("x")

    with capture_logs() as lines:
        second = await registered(replica.client, replica.parts)
        await second.introspect("x")
        await replica.parts.clients.remove(first.id)
        await second.introspect("x")

    told = [line for line in lines if line["event"] == "clients.changed"]
    assert [(line["added"], line["removed"]) for line in told] == [([second.id], []), ([], [first.id])]
    assert not any(each.secret in str(lines) for each in (first, second))

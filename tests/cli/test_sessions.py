"""`gatehouse sessions end`: signing out without the API."""

import json
from pathlib import Path

import pytest
from anyio import to_thread
from httpx import AsyncClient

from app.cli import sessions
from app.parts import Parts
from app.sessions import ending
from app.sessions.ending import Ended
from app.settings import Settings
from tests.cli.conftest import Run
from tests.cli.kit import gatehouse
from tests.kit import Person, SignedIn, log_in, new_ip, problem, register


async def alive(session: SignedIn, at: AsyncClient | None = None) -> bool:
    return (await session.ask("GET", "/me", at=at)).status_code == 200


async def test_what_fits_ends_on_every_replica_before_the_command_returns(
    here: Path, environment: dict[str, str], client: AsyncClient, replicas: list[AsyncClient], ada: Person, parts: Parts
) -> None:
    session = await log_in(client, ada)
    for at in (client, *replicas):
        assert await alive(session, at)

    words = ("sessions", "end", "--user", ada.username, "--factor", "pwd", "--json")
    with gatehouse(*words, cwd=here, environment=environment) as process:
        assert await to_thread.run_sync(process.ends) == 0, process.output

    assert json.loads(process.output) == {"matched": 1, "revoked": 1}
    for at in (client, *replicas):
        problem(await session.ask("GET", "/me", at=at), 401, "session_revoked")
    (row,) = await parts.db.fetch(
        "SELECT actor_id, details FROM audit_events WHERE event = 'session.revoked' AND user_id = $1", ada.id
    )
    assert row["actor_id"] is None
    assert json.loads(row["details"]) == {"reason": "revoked_by_admin", "by": "command line"}


async def test_a_dry_run_only_counts_and_a_run_ends_all_however_often_it_has_to_begin_anew(
    settings: Settings, client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "BATCH", 2)
    monkeypatch.setattr(ending, "WORK_SECONDS", 1e-9)
    ip, who = new_ip(), await register(client)
    live = [await log_in(client, who, ip=ip) for _ in range(5)]

    dry = await sessions.end_all(settings, str(who.id), {"ip": ip}, dry_run=True)
    assert dry == Ended(matched=5, revoked=0)
    assert all([await alive(session) for session in live])

    done = await sessions.end_all(settings, None, {"ip": ip, "created_after": "2026-01-01T00:00:00Z"}, dry_run=False)
    assert done == Ended(matched=5, revoked=5)
    assert not any([await alive(session) for session in live])


def test_all_is_said_expressly(run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("sessions", "end", **environment) == 1
    assert "--all" in capsys.readouterr().err

    assert run("sessions", "end", "--all", "--dry-run", **environment) == 0
    assert "would be ended" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--user", "nobody-of-this-name"), "There is no local user"),
        (("--user", str(2**63)), "nobody with this id"),
        (("--user", "7" * 18), "nobody with this id"),
        (("--device", ""), "device has to say something"),
        (("--ip", "somewhere"), "ip is neither an address nor a network"),
        (("--factor", "hwk"), "factor"),
        (("--created-before", "yesterday"), "created_before"),
    ],
)
def test_what_does_not_fit_is_one_line(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str], words: tuple[str, str], said: str
) -> None:
    assert run("sessions", "end", *words, **environment) == 1

    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1

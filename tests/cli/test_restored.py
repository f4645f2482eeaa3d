"""After a backup was restored: every command says what to do, and `gatehouse restored` does it."""

import json

import pytest

from app.cli.embedded import Postgres
from tests.cli.conftest import Run, environment_for
from tests.conftest import SERVICE, by_the_service
from tests.kit import new_name


@pytest.fixture
def copied(here: object, own_database: str, postgres: Postgres, valkey_url: str) -> dict[str, str]:
    """Settings that lead to a copy of a database, with an event and a session of somebody in it."""
    original, name = own_database.rpartition("/")[2], new_name("copy")
    postgres.sql(
        """
        INSERT INTO users (username) VALUES ('ada');
        INSERT INTO sessions (id, user_id, expires_at, amr)
        SELECT gen_random_uuid(), id, now() + interval '1 day', '{pwd}' FROM users;
        INSERT INTO audit_events (at, event) VALUES ('2026-01-05T09:30:00Z', 'login.succeeded')
        """,
        original,
    )
    postgres.create_database(name, template=original)
    return environment_for(postgres.url(name), valkey_url)


@pytest.mark.parametrize(
    "words", [["migrate"], ["migrate", "--grant", SERVICE], ["sessions", "end", "--all"], ["check"]]
)
def test_what_finds_a_copy_says_how_to_deal_with_it(
    run: Run, copied: dict[str, str], capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert run(*words, **copied) == 1

    said = "".join(capsys.readouterr())
    assert "`gatehouse restored`" in said
    assert "--nothing-lost" in said
    assert "Traceback" not in said


def test_it_ends_all_and_says_what_is_to_be_done_again(
    run: Run, copied: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("restored", **copied) == 0

    said = capsys.readouterr().out
    assert "known for a copy by: database" in said
    assert "ended: 1 sessions" in said
    assert "2026-01-05T09:30:00Z" in said
    assert run("migrate", **copied) == 0
    capsys.readouterr()
    assert run("sessions", "end", "--all", "--dry-run", "--json", **copied) == 0
    assert json.loads(capsys.readouterr().out)["matched"] == 0


def test_where_nothing_was_lost_it_ends_nothing(
    run: Run, copied: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("restored", "--nothing-lost", "--json", **copied) == 0

    report = json.loads(capsys.readouterr().out)
    assert (report["told_by"], report["ended"], report["deleted"]) == (["database"], 0, {})
    assert run("sessions", "end", "--all", "--dry-run", "--json", **copied) == 0
    assert json.loads(capsys.readouterr().out)["matched"] == 1


def test_a_backup_in_which_nothing_ever_happened_has_no_last_event(
    run: Run, own_database: str, valkey_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And who knows of a loss that nothing shows may say so."""
    assert run("restored", "--anyway", **environment_for(own_database, valkey_url)) == 0

    said = capsys.readouterr().out
    assert "not known for a copy" in said
    assert "no event is left" in said


def test_where_nothing_shows_a_copy_nothing_is_ended(
    run: Run, copied: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The second of two operators, or one on the wrong machine: all their people would be signed out."""
    assert run("restored", "--nothing-lost", **copied) == 0
    capsys.readouterr()

    assert run("restored", **copied) == 1

    assert "--anyway" in capsys.readouterr().err
    assert run("sessions", "end", "--all", "--dry-run", "--json", **copied) == 0
    assert json.loads(capsys.readouterr().out)["matched"] == 1
    assert run("restored", "--anyway", **copied) == 0
    assert "ended: 1 sessions" in capsys.readouterr().out


def test_only_the_owner_can_say_so(run: Run, copied: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("migrate", "--grant", SERVICE, **copied) == 1
    service = {**copied, "DATABASE_URL": by_the_service(copied["DATABASE_URL"])}
    capsys.readouterr()

    for words in (["restored"], ["restored", "--nothing-lost"]):
        assert run(*words, **service) == 1
        assert "owner" in capsys.readouterr().err


def test_an_old_schema_is_migrated_first(
    run: Run, postgres: Postgres, valkey_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = new_name("empty")
    postgres.create_database(name)

    assert run("restored", **environment_for(postgres.url(name), valkey_url)) == 1

    assert "`gatehouse migrate` first" in capsys.readouterr().err


def test_check_asks_for_a_replica_where_a_failover_is_said_to_lose_nothing(
    run: Run, own_database: str, valkey_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = environment_for(own_database, valkey_url)

    run("check", "--json", **environment)
    said = {each["subject"]: each for each in json.loads(capsys.readouterr().out)["findings"]}
    assert said["data"]["status"] == "ok"

    run("check", "--json", **environment, LOSSLESS_FAILOVER="on")
    said = {each["subject"]: each for each in json.loads(capsys.readouterr().out)["findings"]}
    assert said["data"]["status"] == "warning"
    assert "synchronous_standby_names" in said["data"]["message"]

"""`gatehouse migrate`: to head from anywhere, however often and however many at once."""

import json
from pathlib import Path

import pytest

from app.cli.embedded import Postgres
from db.revisions import known
from tests.cli.conftest import Run, environment_for
from tests.conftest import SERVICE, by_the_service
from tests.kit import new_name


@pytest.fixture
def empty(here: Path, postgres: Postgres, valkey_url: str) -> dict[str, str]:
    """Settings with a database in which nothing is yet."""
    name = new_name("empty")
    postgres.create_database(name)
    return environment_for(postgres.url(name), valkey_url)


def test_a_second_run_has_nothing_to_do(run: Run, empty: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("migrate", **empty) == 0
    assert max(known()) in capsys.readouterr().out

    assert run("migrate", **empty) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_a_plan_shows_the_sql_and_changes_nothing(
    run: Run, empty: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert run("migrate", "--plan", **empty) == 0

        printed = capsys.readouterr().out
        assert printed.startswith(f"-- missing: {', '.join(sorted(known()))}\n")
        assert "CREATE TABLE" in printed


def test_a_plan_at_head_is_empty(run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("migrate", "--plan", "--json", **environment) == 0

    assert json.loads(capsys.readouterr().out) == {"pending": [], "sql": ""}


def test_the_first_administrator_is_made_once_and_only_if_asked_for(
    run: Run, empty: dict[str, str], postgres: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    database = empty["DATABASE_URL"].rpartition("/")[2]
    assert run("migrate", **empty) == 0
    assert postgres.sql("SELECT count(*) FROM users", database) == "0"

    for made in ("boss", None):
        capsys.readouterr()
        assert run("migrate", "--json", ADMIN_USERNAME="boss", ADMIN_PASSWORD="wombat-Ferry-41-lamp", **empty) == 0
        assert json.loads(capsys.readouterr().out)["first_admin"] == made

    assert postgres.sql("SELECT username FROM users", database) == "boss"


def test_a_role_that_owns_nothing_is_granted_what_the_service_needs(
    run: Run, empty: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("migrate", "--json", "--grant", SERVICE, **empty) == 0
    assert json.loads(capsys.readouterr().out)["granted"] == [SERVICE]
    assert run("migrate", **empty) == 0
    assert f"to {SERVICE}" in capsys.readouterr().out

    service = {**empty, "DATABASE_URL": by_the_service(empty["DATABASE_URL"])}
    assert run("migrate", **service) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run("users", "create-admin", **service) == 0
    assert run("cleanup", **service) == 0


@pytest.mark.parametrize(("role", "why"), [("nobody-at-all", "no such role"), ("gatehouse", "owns the tables")])
def test_a_role_that_cannot_be_the_service_s_is_refused(
    run: Run, environment: dict[str, str], own_database: str, capsys: pytest.CaptureFixture[str], role: str, why: str
) -> None:
    assert run("migrate", "--grant", role, **environment | {"DATABASE_URL": own_database}) == 1

    assert why in capsys.readouterr().err

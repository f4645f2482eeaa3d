"""`gatehouse keys rotate` and `gatehouse cleanup`."""

import json
from datetime import UTC, datetime

import pytest

from app.cli.embedded import Postgres
from tests.cli.conftest import Run, environment_for


@pytest.fixture
def environment(here: object, own_database: str, valkey_url: str) -> dict[str, str]:
    """A database of its own: others sign with their keys and count what is cleaned up."""
    return environment_for(own_database, valkey_url)


def test_a_new_key_is_published_before_it_signs(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str], postgres: Postgres
) -> None:
    assert run("keys", "rotate", "--json", **environment) == 0

    rotated = json.loads(capsys.readouterr().out)
    database = environment["DATABASE_URL"].rpartition("/")[2]
    assert postgres.sql("SELECT kid FROM signing_keys", database) == rotated["kid"]
    assert rotated["algorithm"] == "ES256"
    assert datetime.fromisoformat(rotated["signs_from"]) > datetime.now(UTC)


def test_a_shared_secret_is_not_rotated_by_us(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    more = {"JWT_ALGORITHM": "HS256", "JWT_SECRET": environment["SECRET_KEY"][::-1]}

    assert run("keys", "rotate", **environment, **more) == 1

    assert "JWT_SECRET" in capsys.readouterr().err


def test_a_cleanup_says_what_it_deleted(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("cleanup", "--json", **environment) == 0
    assert json.loads(capsys.readouterr().out)["deleted"]["sessions"] == 0

    assert run("cleanup", **environment) == 0
    assert "sessions" in capsys.readouterr().out

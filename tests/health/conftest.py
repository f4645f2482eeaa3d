"""Applications whose stores come and go."""

import pytest

from app.cli.embedded import Postgres

NOWHERE = "127.0.0.1:1"  # tcpmux: a port that nothing listens on and nobody gets


class Database:
    """The database of the test, which can go away: its connections break, and no new one is to be had."""

    def __init__(self, postgres: Postgres, name: str) -> None:
        self._postgres = postgres
        self._name = name

    def goes_away(self) -> None:
        self._postgres.sql(f'DROP DATABASE "{self._name}" WITH (FORCE)')

    def sql(self, statement: str) -> str:
        return self._postgres.sql(statement, self._name)


@pytest.fixture
def database(postgres: Postgres, own_database: str) -> Database:
    return Database(postgres, own_database.rpartition("/")[2])

"""Applications whose stores come and go."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from httpx import AsyncClient

from app.cli.embedded import Postgres, Valkey
from app.main import at_the_edge, create_app
from tests.conftest import http, settings_for

Start = Callable[..., Awaitable[AsyncClient]]

NOWHERE = "127.0.0.1:1"  # tcpmux: a port that nothing listens on and nobody gets


@pytest.fixture
async def start(own_database: str, own_valkey: Valkey) -> AsyncIterator[Start]:
    """Starts an application on stores of the test's own; a client of it."""
    async with AsyncExitStack() as stack:

        async def start_one(**settings: Any) -> AsyncClient:
            app = create_app(replace(settings_for(own_database, own_valkey.url), **settings))
            await stack.enter_async_context(app.lifespan())
            return await stack.enter_async_context(http(at_the_edge(app)))

        yield start_one


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

"""A service beside the application that tests share."""

import pytest
from httpx import AsyncClient

from app.cli.embedded import Postgres
from app.parts import Parts
from tests.clients.kit import Service, registered
from tests.health.conftest import Database


@pytest.fixture
async def service(client: AsyncClient, parts: Parts) -> Service:
    return await registered(client, parts)


@pytest.fixture
def database(postgres: Postgres, own_database: str) -> Database:
    """That of the test's own applications, which can go away."""
    return Database(postgres, own_database.rpartition("/")[2])

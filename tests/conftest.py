"""Real stores for every test: PostgreSQL and Valkey out of their wheels, started once for all of them.

Tests share one database and stay out of each other's way by making people of their own; a test that breaks a store, or
wants other settings, starts its own.
"""

import asyncio
import ipaddress
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
from httpx import ASGITransport, AsyncClient

from app import logs
from app.cli import first_admin
from app.cli.embedded import Postgres, Valkey
from app.edge import Edge
from app.identity.accounts import create_first_admin
from app.main import Parts, at_the_edge, create_app
from app.settings import Settings
from db import schema
from tests.kit import BASE, Person, SignedIn, log_in, new_password, register
from tests.servers import Servers

TEMPLATE = "migrated"
ADMIN = Person(1, "root", new_password())

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """The server; `fsync` off, because these tests kill processes, never the machine."""
    directory = tmp_path_factory.mktemp("stores") / "postgres"
    with Postgres(directory, settings=["fsync=off", "max_connections=200", "shared_buffers=64MB"]) as server:
        server.create_database(TEMPLATE)
        asyncio.run(schema.upgrade(server.url(TEMPLATE)))
        yield server


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with Valkey(tmp_path_factory.mktemp("stores") / "valkey") as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres: Postgres) -> str:
    """The migrated database that tests share, with ADMIN in it."""
    postgres.create_database("shared", template=TEMPLATE)
    url = postgres.url("shared")
    asyncio.run(first_admin.make(replace(settings_for(url, ""), admin_username=ADMIN.username), ADMIN.password))
    return url


@pytest.fixture(scope="session")
def valkey_url(valkey: Valkey) -> str:
    """The Valkey that belongs to that database."""
    return valkey.url


@pytest.fixture
def own_database(postgres: Postgres) -> str:
    """A migrated database of the test's own; it goes with a Valkey of its own."""
    name = f"own_{next(_numbers)}"
    postgres.create_database(name, template=TEMPLATE)
    return postgres.url(name)


@pytest.fixture
def own_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A Valkey that the test may kill, stop or fill with rubbish."""
    with Valkey(tmp_path_factory.mktemp("stores") / "valkey") as server:
        yield server


def settings_for(postgres_url: str, valkey_url: str) -> Settings:
    """As in production, but for hashes that take a tenth of the time."""
    return Settings(
        environment="production",
        public_url="https://auth.example.test",
        audience="https://auth.example.test",
        secret_key="p7Jq2sVx9Lr4Tz8Wb3Nc6Md1Kf5Hg0Ya",
        database_url=postgres_url,
        valkey_url=valkey_url,
        argon2_memory_kib=8192,
        argon2_time_cost=1,
        trusted_proxies=(ipaddress.ip_network("127.0.0.1/32"),),
        metrics_token="metrics-token-of-the-tests",
    )


@pytest.fixture(scope="session")
def settings(postgres_url: str, valkey_url: str) -> Settings:
    return settings_for(postgres_url, valkey_url)


def http(edge: Edge) -> AsyncClient:
    """A client of an application in this process, seen as coming from a trusted proxy."""
    return AsyncClient(
        transport=ASGITransport(cast("Any", edge), client=("127.0.0.1", 1)), base_url=f"https://auth.example.test{BASE}"
    )


@pytest.fixture(scope="session")
async def edge(settings: Settings) -> AsyncIterator[Edge]:
    logs.configure(settings)
    app = create_app(settings)
    async with app.lifespan():
        yield at_the_edge(app)


@pytest.fixture(scope="session")
def parts(edge: Edge) -> Parts:
    parts: Parts = edge.app.state.parts
    return parts


@pytest.fixture(scope="session")
async def client(edge: Edge) -> AsyncIterator[AsyncClient]:
    async with http(edge) as client:
        yield client


@pytest.fixture
async def ada(client: AsyncClient) -> Person:
    return await register(client)


@pytest.fixture
async def session(client: AsyncClient, ada: Person) -> SignedIn:
    return await log_in(client, ada)


@pytest.fixture
async def admin(client: AsyncClient, edge: Edge) -> SignedIn:
    return await log_in(client, ADMIN)


@pytest.fixture(scope="session")
async def replicas(
    edge: Edge, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[list[AsyncClient]]:
    """Two servers with a Granian worker each, beside the application of this process, on the same stores."""
    async with Servers(settings, tmp_path_factory.mktemp("replicas"), 2) as servers:
        yield servers.clients


@dataclass
class Twins:
    """Two applications on the same stores."""

    here: AsyncClient
    there: AsyncClient
    parts: Parts  # of the first


@pytest.fixture
async def twins(own_database: str, own_valkey: Valkey) -> AsyncIterator[Twins]:
    """Two applications on stores of their own, where ADMIN is the only administrator."""
    settings = settings_for(own_database, own_valkey.url)
    here, there = create_app(settings), create_app(settings)
    async with here.lifespan(), there.lifespan():
        parts: Parts = here.state.parts
        await create_first_admin(parts.db, parts.passwords, ADMIN.username, ADMIN.password)
        async with http(at_the_edge(here)) as one, http(at_the_edge(there)) as other:
            yield Twins(one, other, parts)

"""Real stores for every test: PostgreSQL and Valkey out of their wheels, started once for all of them.

Tests share one database and stay out of each other's way by making people of their own; a test that breaks a store, or
wants other settings, starts its own.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest
from httpx import AsyncClient

from app import database, logs
from app.cli import first_admin
from app.cli.embedded import Postgres, Valkey
from app.database import Database
from app.edge import Edge
from app.identity import mails
from app.identity.accounts import create_first_admin
from app.parts import Parts
from app.settings import Settings
from db import grants, schema
from tests.kit import Person, SignedIn, log_in, new_password, register
from tests.mail.kit import Postbox
from tests.mail.kit import serving as mail_server
from tests.replica import Replica, Start, serving, settings_for
from tests.servers import Servers

Apart = Callable[[str], Settings]

TEMPLATE = "migrated"
SERVICE = "service"  # the role that the application which tests share works by: all it needs is granted
ADMIN = Person(1, "root", new_password())

_numbers = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def no_tls_to_our_own_server() -> Iterator[None]:
    """Or asyncpg asks for it at each connection, and one that is cancelled just then leaves an error to nobody."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGSSLMODE", "disable")
        yield


@pytest.fixture(scope="session", autouse=True)
def no_welcome_pause() -> Iterator[None]:
    """Nobody who registers in a test is waited for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mails, "WELCOME_PAUSE", 0.0)
        patch.setattr(mails, "ERRAND_PAUSE", (0.0, 0.0))
        yield


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    """How slow a machine is has no say: fifty who share a pool in this process all come to a connection."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "ACQUIRE_TIMEOUT", 20.0)  # seconds
        yield


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
        server.sql(f"CREATE ROLE {SERVICE} LOGIN PASSWORD '{server.password}'")
        asyncio.run(grants.grant(server.url(TEMPLATE), SERVICE, retention_days=400))
        yield server


def copy_migrated(postgres: Postgres, name: str) -> None:
    """Make a database of this name, at head, that no process takes for a copy."""
    postgres.create_database(name, template=TEMPLATE)
    postgres.sql("SELECT incarnation_begin()", name)


def by_the_service(url: str) -> str:
    """The same database, by the role that owns nothing."""
    return url.replace("//gatehouse:", f"//{SERVICE}:")


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with Valkey(tmp_path_factory.mktemp("stores") / "valkey") as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres: Postgres) -> str:
    """The migrated database that tests share, with ADMIN in it, by the role that runs the service."""
    copy_migrated(postgres, "shared")
    url = by_the_service(postgres.url("shared"))
    asyncio.run(first_admin.make(replace(settings_for(url, ""), admin_username=ADMIN.username), ADMIN.password))
    return url


@pytest.fixture(scope="session")
def owner_url(postgres: Postgres, postgres_url: str) -> str:
    """The same database, by the role that owns it."""
    return postgres.url("shared")


@pytest.fixture(scope="session")
def valkey_url(valkey: Valkey) -> str:
    """The Valkey that belongs to that database."""
    return valkey.url


@pytest.fixture(scope="session")
def apart(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apart]:
    """Makes stores of this name that nobody else has, for as long as there are tests: what settings lead to them."""
    with ExitStack() as stack:

        def make(name: str) -> Settings:
            copy_migrated(postgres, name)
            valkey = stack.enter_context(Valkey(tmp_path_factory.mktemp("stores") / "valkey"))
            return settings_for(postgres.url(name), valkey.url)

        yield make


@pytest.fixture
def own_database(postgres: Postgres) -> str:
    """A migrated database of the test's own; it goes with a Valkey of its own."""
    name = f"own_{next(_numbers)}"
    copy_migrated(postgres, name)
    return postgres.url(name)


@pytest.fixture
async def owner(own_database: str) -> AsyncIterator[Database]:
    """The same database by the role that owns it, which may write down what never happened."""
    database = Database(own_database, 5)
    await database.start()
    yield database
    await database.stop()


@pytest.fixture
def own_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A Valkey that the test may kill, stop or fill with rubbish."""
    with Valkey(tmp_path_factory.mktemp("stores") / "valkey") as server:
        yield server


@pytest.fixture(scope="session")
async def postbox() -> AsyncIterator[Postbox]:
    """Takes the mail of the application that tests share, and of the replicas beside it."""
    async with mail_server(Postbox()) as postbox:
        yield postbox


@pytest.fixture(scope="session")
def settings(postgres_url: str, valkey_url: str, postbox: Postbox) -> Settings:
    return with_mail(settings_for(postgres_url, valkey_url), postbox)


def with_mail(settings: Settings, postbox: Postbox) -> Settings:
    return replace(settings, smtp_url=postbox.url, mail_from="Gatehouse <no-reply@example.test>")


@pytest.fixture(scope="session")
async def shared(settings: Settings) -> AsyncIterator[Replica]:
    """The one that tests share."""
    logs.configure(settings)
    async with serving(settings) as shared:
        yield shared


@pytest.fixture(scope="session")
def edge(shared: Replica) -> Edge:
    return shared.edge


@pytest.fixture(scope="session")
def parts(shared: Replica) -> Parts:
    return shared.parts


@pytest.fixture(scope="session")
def client(shared: Replica) -> AsyncClient:
    return shared.client


@pytest.fixture
async def start(own_database: str, own_valkey: Valkey) -> AsyncIterator[Start]:
    """Starts an application on stores of the test's own, by settings that may differ; another time, another one."""
    async with AsyncExitStack() as stack:

        async def start_one(**settings: Any) -> Replica:
            own = replace(settings_for(own_database, own_valkey.url), **settings)
            return await stack.enter_async_context(serving(own))

        yield start_one


@pytest.fixture
async def ada(client: AsyncClient) -> Person:
    return await register(client)


@pytest.fixture
async def session(client: AsyncClient, ada: Person) -> SignedIn:
    return await log_in(client, ada)


@pytest.fixture
async def admin(client: AsyncClient) -> SignedIn:
    return await log_in(client, ADMIN)


@pytest.fixture(scope="session")
async def replicas(
    shared: Replica, settings: Settings, tmp_path_factory: pytest.TempPathFactory
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
async def twins(start: Start) -> Twins:
    """Two applications on stores of their own, where ADMIN is the only administrator."""
    here, there = await start(), await start()
    await create_first_admin(here.parts.db, here.parts.passwords, ADMIN.username, ADMIN.password)
    return Twins(here.client, there.client, here.parts)

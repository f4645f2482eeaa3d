"""Replicas as limits see them: a link to Valkey each, and keys that no other test uses."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from app.cache import link
from app.cache.link import Links
from app.database import Database
from app.limits.attempts import Attempts

Replica = Callable[[str, str], Awaitable[Links]]

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy with other tests is no outage; a server that was stopped refuses at once all the same."""
    monkeypatch.setattr(link, "DEADLINE", 5.0)


@pytest.fixture
def key() -> str:
    """An address that no other test counts by."""
    return f"198.51.100.{next(_numbers)}"


@pytest.fixture
async def replica() -> AsyncIterator[Replica]:
    """Makes replicas, of the URLs of PostgreSQL and Valkey: each a link of its own that is up."""
    async with AsyncExitStack() as stack:

        async def make(postgres_url: str, valkey_url: str) -> Links:
            database = Database(postgres_url, 1)
            await database.start()
            stack.push_async_callback(database.stop)
            links = Links(valkey_url, database)
            await links.start()
            stack.push_async_callback(links.stop)
            assert links.current is not None
            return links

        yield make


@pytest.fixture
async def links(replica: Replica, postgres_url: str, valkey_url: str) -> Links:
    return await replica(postgres_url, valkey_url)


@pytest.fixture
async def other_links(replica: Replica, postgres_url: str, valkey_url: str) -> Links:
    return await replica(postgres_url, valkey_url)


@pytest.fixture
def attempts(links: Links) -> Attempts:
    return Attempts(links)


@pytest.fixture
def replicas(links: Links, other_links: Links) -> tuple[Attempts, Attempts]:
    return Attempts(links), Attempts(other_links)

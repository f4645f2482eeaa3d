"""Replicas on a database of the test's own, in which there is no key yet."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest
from httpx import AsyncClient

from app.cli.embedded import Valkey
from app.main import Parts, at_the_edge, create_app
from tests.conftest import http, settings_for


@dataclass
class Replica:
    """One application of several, and a client of it."""

    client: AsyncClient
    parts: Parts

    async def published(self) -> list[dict[str, Any]]:
        """The key set."""
        answer = await self.client.get("https://auth.example.test/.well-known/jwks.json")
        assert answer.status_code == 200, answer.text
        keys: list[dict[str, Any]] = answer.json()["keys"]
        return keys


Start = Callable[..., Awaitable[Replica]]


@pytest.fixture
async def start(own_database: str, own_valkey: Valkey) -> AsyncIterator[Start]:
    """Starts another replica, by settings that may differ."""
    async with AsyncExitStack() as stack:

        async def start_one(**settings: Any) -> Replica:
            app = create_app(replace(settings_for(own_database, own_valkey.url), **settings))
            await stack.enter_async_context(app.lifespan())
            return Replica(await stack.enter_async_context(http(at_the_edge(app))), app.state.parts)

        yield start_one

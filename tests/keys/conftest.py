"""Replicas on a database of the test's own, in which there is no key yet."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from app.cli.embedded import Valkey
from app.main import at_the_edge, create_app
from tests.conftest import http, settings_for
from tests.keys.kit import Replica, Start


@pytest.fixture
async def start(own_database: str, own_valkey: Valkey) -> AsyncIterator[Start]:
    """Starts another replica, by settings that may differ."""
    async with AsyncExitStack() as stack:

        async def start_one(**settings: Any) -> Replica:
            app = create_app(replace(settings_for(own_database, own_valkey.url), **settings))
            await stack.enter_async_context(app.lifespan())
            return Replica(await stack.enter_async_context(http(at_the_edge(app))), app.state.parts)

        yield start_one

"""Gatehouse in this process, as a test makes it: on real stores, and asked over HTTP without a socket between."""

import ipaddress
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from httpx import ASGITransport, AsyncClient
from litestar.types import ControllerRouterHandler

from app.edge import Edge
from app.main import at_the_edge, create_app
from app.parts import Parts
from app.settings import Settings
from tests.kit import BASE


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


def http(edge: Edge) -> AsyncClient:
    """A client of an application in this process, seen as coming from a trusted proxy."""
    return AsyncClient(
        transport=ASGITransport(cast("Any", edge), client=("127.0.0.1", 1)), base_url=f"https://auth.example.test{BASE}"
    )


@dataclass(frozen=True)
class Replica:
    """An application in this process, and a client of it."""

    client: AsyncClient
    parts: Parts
    edge: Edge


Start = Callable[..., Awaitable[Replica]]


@asynccontextmanager
async def serving(settings: Settings, handlers: Sequence[ControllerRouterHandler] = ()) -> AsyncGenerator[Replica]:
    app = create_app(settings, handlers)
    edge = at_the_edge(app)
    async with app.lifespan(), http(edge) as client:
        yield Replica(client, app.state.parts, edge)

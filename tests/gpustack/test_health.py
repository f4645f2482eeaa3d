"""What an operator sees of GPUStack."""

from typing import Any

import pytest

from app.gpustack import instance as module
from app.gpustack.instance import State
from app.identity.accounts import create_first_admin
from tests.conftest import ADMIN
from tests.gpustack.scripted import Scripted, recorded
from tests.health.kit import scraped, value
from tests.kit import SignedIn, log_in, until
from tests.replica import Replica, Start


@pytest.fixture
async def replica(start: Start, scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> Replica:
    """An application that has found the scripted server in order."""
    monkeypatch.setattr(module, "AWAY_SECONDS", 0.01)
    monkeypatch.setattr(module, "DOUBT_SECONDS", 0.01)
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.02)
    replica = await start(gpustack_url=scripted.url)
    await create_first_admin(replica.parts.db, replica.parts.passwords, ADMIN.username, ADMIN.password)
    await state(replica, State.OK)
    return replica


async def state(replica: Replica, wanted: State) -> None:
    gpustack = replica.parts.gpustack
    assert gpustack is not None
    await until(lambda: gpustack.instance.state is wanted)


async def report(admin: SignedIn) -> tuple[int, str, dict[str, Any]]:
    answer = await admin.ask("GET", "/health")
    body = answer.json()
    return answer.status_code, body["status"], body["checks"]["gpustack"]


async def test_health_and_metrics_say_how_it_is(replica: Replica, scripted: Scripted) -> None:
    admin = await log_in(replica.client, ADMIN)
    status, whole, check = await report(admin)
    assert (status, whole, check["status"]) == (200, "ok", "ok")
    assert check["latency_ms"] > 0

    async with scripted.outage("refused"):
        await state(replica, State.AWAY)
        assert await report(admin) == (200, "degraded", {"status": "down", "latency_ms": None})
        assert (await replica.client.get("/health/ready")).json() == {"status": "ok"}
        assert value(await scraped(replica.client), "auth_gpustack_state") == 1

    scripted.says["/auth/login"] = recorded("no_route")
    await state(replica, State.MISCONFIGURED)
    assert await report(admin) == (200, "degraded", {"status": "misconfigured", "latency_ms": None})
    assert value(await scraped(replica.client), "auth_gpustack_state") == 2

    del scripted.says["/auth/login"]
    await state(replica, State.OK)
    assert (await report(admin))[1] == "ok"
    assert value(await scraped(replica.client), "auth_gpustack_state") == 0


async def test_before_the_first_look_nobody_knows(start: Start, scripted: Scripted) -> None:
    async with scripted.outage("hung"):
        replica = await start(gpustack_url=scripted.url)
        await create_first_admin(replica.parts.db, replica.parts.passwords, ADMIN.username, ADMIN.password)
        admin = await log_in(replica.client, ADMIN)

        assert await report(admin) == (200, "degraded", {"status": "unknown", "latency_ms": None})
        assert value(await scraped(replica.client), "auth_gpustack_state") == 1
        assert (await replica.client.get("/health/ready")).status_code == 200

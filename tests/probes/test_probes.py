"""Each probe of the deployment does what it is there for, while a store is killed, hangs, and is back again."""

import asyncio
import signal

import pytest
from httpx import AsyncClient, HTTPError

from app.settings import Settings
from db import schema
from tests.kit import BASE, until
from tests.probes.conftest import Replica, Store
from tests.probes.kubelet import Probe

RECOVERS_SECONDS = 3.0  # from when a store answers again until readiness does
LATE_SECONDS = 2.0  # an answer on a busy machine
HOW = ("killed", "hung")


def lives(probe: Probe) -> bool:
    """It has been asked, and was never without its answer."""
    return len(probe.answers) > 1 and {status for _, status in probe.answers} == {200}


async def told(replica: Replica, path: str, within: float) -> int:
    return await Probe(f"{BASE}{path}", 0, within, 1).ask(replica.kubelet.port)


async def seconds_until_ready(replica: Replica) -> float:
    """Until all of it is there again, and so the little that the deployment asks for, too."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    await until(lambda: answered(replica, "/health/ready", 200), 30)
    await until(lambda: answered(replica, "/health/ready?degraded=ok", 200), 30)
    return loop.time() - began


async def answered(replica: Replica, path: str, status: int) -> bool:
    return await told(replica, path, 5) == status


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("store", ["postgres", "valkey"])
async def test_a_replica_goes_on_with_one_store(
    migrated: Settings, replica: Replica, stores: dict[str, Store], store: str, how: str
) -> None:
    """Every replica shares the store: none of them would be left if they were not ready without it."""
    async with replica.kubelet as kubelet:
        stores[store].goes(how)
        await asyncio.sleep(kubelet.ready.down_within)

        assert kubelet.ready.up, kubelet.ready.answers
        assert [status for _, status in kubelet.ready.answers].count(0) <= 1, "more than one late answer"
        assert lives(kubelet.live), kubelet.live.answers
        if store == "postgres":  # who asks for all of it hears that it is not there
            assert await told(replica, "/health/ready", 3 * kubelet.ready.timeout) == 503

        stores[store].comes_back(how)
        assert await seconds_until_ready(replica) < RECOVERS_SECONDS
        assert lives(kubelet.live), kubelet.live.answers


@pytest.mark.parametrize("how", HOW)
async def test_without_any_store_nothing_is_sent_to_a_replica_and_it_is_not_killed(
    migrated: Settings, replica: Replica, stores: dict[str, Store], how: str
) -> None:
    async with replica.kubelet as kubelet:
        for store in stores.values():
            store.goes(how)
        await until(lambda: not kubelet.ready.up, kubelet.ready.down_within)
        assert lives(kubelet.live) or len(kubelet.live.answers) == 1

        await asyncio.sleep(kubelet.live.period * 2)
        assert lives(kubelet.live), kubelet.live.answers

        for store in stores.values():
            store.comes_back(how)
        assert await seconds_until_ready(replica) < RECOVERS_SECONDS
        await until(lambda: kubelet.ready.up, kubelet.ready.period + kubelet.ready.timeout)


async def test_a_replica_that_comes_before_its_schema_waits(replica: Replica, settings: Settings) -> None:
    kubelet = replica.kubelet
    await until(lambda: answered(replica, "/health/live", 200))

    assert await kubelet.startup.ask(kubelet.port) == 503
    assert await kubelet.ready.ask(kubelet.port) == 503
    await schema.upgrade(settings.database_url)

    async with asyncio.timeout(kubelet.startup.period + kubelet.startup.timeout):
        await kubelet.started()
    assert await kubelet.ready.ask(kubelet.port) == 200


async def test_a_replica_that_comes_before_its_stores_waits(
    migrated: Settings, stores: dict[str, Store], request: pytest.FixtureRequest
) -> None:
    for store in stores.values():
        store.goes("killed")
    replica: Replica = request.getfixturevalue("replica")
    kubelet = replica.kubelet
    await until(lambda: answered(replica, "/health/live", 200), 60)
    assert await kubelet.startup.ask(kubelet.port) == 503

    for store in stores.values():
        store.comes_back("killed")

    async with asyncio.timeout(RECOVERS_SECONDS + kubelet.startup.period + kubelet.startup.timeout):
        await kubelet.started()


async def test_a_replica_that_is_told_to_leave_serves_until_nobody_comes(migrated: Settings, replica: Replica) -> None:
    """Endpoints are taken away some seconds after SIGTERM: until then new connections come, and are served.

    So there is no `preStop`: what it would wait for is what the drain is for.
    """
    kubelet = replica.kubelet
    await kubelet.started()
    loop = asyncio.get_running_loop()
    _reader, writer = await asyncio.open_connection("127.0.0.1", kubelet.port)
    writer.write(f"POST {BASE}/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode())
    writer.write(b'Content-Length: 1000\r\n\r\n{"username"')  # and no more: it is under way until the end

    replica.process.send_signal(signal.SIGTERM)
    told_at = loop.time()
    await until(lambda: answered(replica, "/health/ready?degraded=ok", 503), 1)
    while loop.time() - told_at < replica.drain - LATE_SECONDS:
        assert await told(replica, "/me", 5) == 401
        assert await kubelet.live.ask(kubelet.port) == 200
        assert await kubelet.ready.ask(kubelet.port) == 503
        await asyncio.sleep(0.2)
    await asyncio.to_thread(replica.process.wait, kubelet.grace)

    assert loop.time() - told_at >= replica.drain
    assert loop.time() - told_at < kubelet.grace, "it would be killed"
    with pytest.raises((HTTPError, OSError)):
        async with AsyncClient() as client:
            await client.get(f"http://127.0.0.1:{kubelet.port}{BASE}/health/live")
    writer.close()

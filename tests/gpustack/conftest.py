import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from app.gpustack.directory import Directory
from app.gpustack.instance import Instance, State
from app.identity import passwords, threads
from app.metrics import Metrics
from app.outbound import Outbound
from tests.conftest import Apart
from tests.gpustack.kit import Begin, Gatehouse, settings_of
from tests.gpustack.real import Real
from tests.gpustack.scripted import Scripted
from tests.gpustack.upstream import Upstream
from tests.kit import until
from tests.replica import Replica, Start, serving

Watching = Callable[[Upstream], Instance]


@pytest.fixture(scope="session", autouse=True)
def no_giving_way() -> Iterator[None]:
    """Who is let in offline is let in beside the other tests of this machine as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "LEAST", threads.NICENESS)
        yield


@pytest.fixture(scope="session")
async def standing() -> AsyncIterator[Scripted]:
    async with Scripted() as server:
        yield server


@pytest.fixture
async def scripted(standing: Scripted) -> Scripted:
    """As on its first day."""
    await standing.begin_anew()
    return standing


@pytest.fixture(scope="session")
async def upstream(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Upstream]:
    """What the contract is held against: the scripted one, or (GPUSTACK=real) the real one."""
    async with AsyncExitStack() as stack:
        if os.environ.get("GPUSTACK") == "real":
            yield await stack.enter_async_context(Real(tmp_path_factory.mktemp("gpustack")))
        else:
            yield await stack.enter_async_context(Scripted())


@pytest.fixture
async def watching() -> AsyncIterator[Watching]:
    """Looks at a server, as an application does."""
    instances: list[Instance] = []

    def watch(server: Upstream) -> Instance:
        instance = Instance(server.url, Outbound([server.url]), Metrics())
        instance.start()
        instances.append(instance)
        return instance

    yield watch
    for each in instances:
        await each.stop()


async def found_in_order(watching: Watching, server: Upstream) -> Instance:
    instance = watching(server)
    await until(lambda: instance.state is State.OK)
    return instance


@pytest.fixture
async def instance(scripted: Scripted, watching: Watching) -> Instance:
    return await found_in_order(watching, scripted)


@pytest.fixture
def directory(scripted: Scripted, instance: Instance) -> Directory:
    return Directory(instance, scripted.key)


@pytest.fixture
async def begin(start: Start, scripted: Scripted) -> Begin:
    """Starts an application beside the scripted server, on stores of the test's own."""

    async def begin_one(**settings: Any) -> Gatehouse:
        return await Gatehouse.begun(await start(**settings_of(scripted, **settings)))

    return begin_one


@pytest.fixture(scope="session")
async def house(standing: Scripted, apart: Apart) -> AsyncIterator[Replica]:
    """An application beside the scripted server, on stores that nobody else has."""
    async with serving(replace(apart("gpustack"), **settings_of(standing))) as house:
        yield house


@pytest.fixture
async def gatehouse(house: Replica, scripted: Scripted) -> Gatehouse:
    """Where nobody has been before."""
    async with house.parts.db.transaction() as tx:
        await tx.execute("DELETE FROM users")
        await tx.execute("DELETE FROM upstream_syncs")
    gpustack = house.parts.gpustack
    assert gpustack is not None
    await gpustack.instance.look()
    return await Gatehouse.begun(house)

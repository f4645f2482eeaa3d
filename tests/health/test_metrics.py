"""`/metrics`: who may read it, what it counts, and that it counts over all workers."""

import asyncio
import math
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx import AsyncClient

from app.cli import children
from app.cli.embedded import Valkey
from app.health import service
from app.main import at_the_edge, create_app
from app.metrics import Metrics, forget_dead, open_files, open_files_limit, resident_bytes
from app.setting_values import Rate
from app.settings import Settings
from tests.cli.kit import Process, eventually, gatehouse
from tests.deploy.queries import lacking, queries
from tests.health.conftest import NOWHERE, Database
from tests.health.kit import URL, scraped, told, value
from tests.kit import BASE, from_ip, log_in, new_ip, new_name, new_password, problem, register
from tests.replica import Start, http
from tests.servers import environment

# ---- who may read it ----------------------------------------------------------------------------------------------


async def ask(client: AsyncClient, token: str | None = None) -> int:
    """The status of `/metrics`; a refusal is a problem."""
    answer = await client.get(URL, headers={} if token is None else {"Authorization": token})
    if answer.status_code == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer ")
        problem(
            answer, 401, "not_authenticated" if token is None or not token.startswith("Bearer") else "invalid_token"
        )
    if answer.status_code == 404:
        problem(answer, 404, "not_found")
    return answer.status_code


@pytest.mark.parametrize("environment_", ["production", "development"])
async def test_with_a_token_it_is_read_by_it_alone(settings: Settings, environment_: Any) -> None:
    async with http(
        at_the_edge(create_app(replace(settings, environment=environment_, metrics_token="the-token")))
    ) as one:
        assert await ask(one, "Bearer the-token") == 200
        assert await ask(one, "bearer the-token") == 200
        for wrong in (None, "Bearer the-toke", "Bearer the-token2", "Bearer ", "Basic the-token", "the-token"):
            assert await ask(one, wrong) == 401


async def test_without_a_token_it_is_open_in_development_and_not_there_in_production(settings: Settings) -> None:
    async with http(at_the_edge(create_app(replace(settings, environment="development", metrics_token="")))) as one:
        assert await ask(one) == 200
    async with http(at_the_edge(create_app(replace(settings, environment="production", metrics_token="")))) as one:
        for token in (None, "Bearer ", "Bearer x"):
            assert await ask(one, token) == 404


async def test_off_opens_it(settings: Settings) -> None:
    async with http(at_the_edge(create_app(replace(settings, environment="production", metrics_token="off")))) as one:
        assert await ask(one) == 200


# ---- what it counts -----------------------------------------------------------------------------------------------


async def test_every_metric_is_there(client: AsyncClient) -> None:
    person = await register(client)
    await log_in(client, person)

    names = {name for name, _ in await scraped(client)}

    assert {
        "auth_login_success_total",
        "auth_operation_duration_seconds_bucket",
        "auth_operation_duration_seconds_count",
        "auth_session_check_total",
    } <= names


async def test_sign_ins_and_refreshes_are_counted_by_how_they_ended(start: Start) -> None:
    client = (await start(rate_limit_account=Rate(3, 900))).client
    person = await register(client)
    session = await log_in(client, person)
    await session.refreshed()
    await session.refreshed()
    await client.post("/refresh", json={"refresh_token": session.refresh_token.swapcase()}, headers=from_ip())
    for name in (person.username, person.username, person.username, person.username, new_name()):
        credentials = {"username": name, "password": new_password()}
        await client.post("/login", json=credentials, headers=from_ip())

    found = await scraped(client)

    assert value(found, "auth_login_success_total") == 1
    assert value(found, "auth_login_failure_total", reason="wrong_password") == 3
    assert value(found, "auth_login_failure_total", reason="unknown_user") == 1
    assert value(found, "auth_rate_limited_total", limit="account") == 1
    refreshes = {
        dict(labels)["result"]: count for (name, labels), count in found.items() if name == "auth_token_refresh_total"
    }
    assert refreshes.pop("invalid") == 1
    assert sum(refreshes.values()) == 2
    assert value(found, "auth_operation_duration_seconds_count", operation="login") == 6
    assert value(found, "auth_operation_duration_seconds_count", operation="refresh") == 3
    assert value(found, "auth_operation_duration_seconds_sum", operation="login") > 0


async def test_a_limit_that_refused_is_named(start: Start) -> None:
    client = (await start()).client
    headers = from_ip(new_ip())
    for _ in range(7):
        await client.post("/login", json={"username": new_name(), "password": "x"}, headers=headers)

    found = await scraped(client)

    assert value(found, "auth_rate_limited_total", limit="login") == 2
    assert value(found, "auth_login_failure_total", reason="unknown_user") == 5


async def test_checks_of_sessions_are_counted_by_the_store_that_answered(start: Start) -> None:
    client = (await start()).client
    session = await log_in(client, await register(client))
    for _ in range(10):
        assert (await session.ask("GET", "/me")).status_code == 200

    async def checks() -> float:
        found = await scraped(client)
        return sum(value(found, "auth_session_check_total", source=source) for source in ("valkey", "postgres"))

    async with asyncio.timeout(30):
        while await checks() < 10:
            await asyncio.sleep(0.02)
    assert await checks() == 10
    assert value(await scraped(client), "auth_session_check_total", source="valkey") >= 8


async def test_a_store_that_goes_away_is_told(start: Start, database: Database, own_valkey: Valkey) -> None:
    client = (await start()).client

    async def away(metric: str) -> bool:
        return value(await scraped(client), metric) == 1

    assert not await away("auth_valkey_away")
    assert not await away("auth_database_away")

    own_valkey.stop()
    async with asyncio.timeout(30):
        while not await away("auth_valkey_away"):
            await client.get("/health")
    assert not await away("auth_database_away")

    database.goes_away()
    async with asyncio.timeout(30):
        while not await away("auth_database_away"):
            await asyncio.sleep(0.02)


async def test_readiness_is_told_without_being_asked_for(
    start: Start, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEHOUSE_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(service, "LOOK_SECONDS", 0.02)
    client = (await start()).client

    async def is_ready() -> bool:
        return value(await scraped(client), "auth_ready") == 1

    assert await is_ready()
    (tmp_path / "draining").touch()
    assert not await is_ready()
    (tmp_path / "draining").unlink()
    assert await is_ready()

    database.sql("DELETE FROM schema_history")
    async with asyncio.timeout(30):
        while await is_ready():
            await asyncio.sleep(0.02)


async def test_the_pool_and_the_key_are_told(start: Start) -> None:
    client = (await start(database_pool_size=7)).client

    async def age() -> float:
        return value(await scraped(client), "auth_signing_key_age_seconds")

    assert value(await scraped(client), "auth_database_pool_limit") == 7
    first = await age()
    assert 0 < first < await age()


async def test_the_age_of_a_shared_key_is_not_known(start: Start) -> None:
    client = (await start(jwt_algorithm="HS256", jwt_secret="shared by verifiers, and by nobody else")).client

    assert value(await scraped(client), "auth_signing_key_age_seconds") == 0


def test_two_applications_of_a_process_share_no_number() -> None:
    one, other = Metrics(), Metrics()

    one.rate_limited("login")

    assert value(told(one), "auth_rate_limited_total", limit="login") == 1
    assert value(told(other), "auth_rate_limited_total", limit="login") == 0


def test_an_operation_that_breaks_is_counted_as_an_error() -> None:
    metrics = Metrics()

    for measured in (metrics.login, metrics.refresh):
        with pytest.raises(RuntimeError), measured():
            raise RuntimeError

    found = told(metrics)
    assert value(found, "auth_login_failure_total", reason="error") == 1
    assert value(found, "auth_token_refresh_total", result="error") == 1
    assert value(found, "auth_operation_duration_seconds_count", operation="login") == 1


def test_a_gauge_is_read_when_it_is_asked_for() -> None:
    metrics = Metrics()
    numbers = iter([1.0, 5.0])
    metrics.gauge("auth_things", "Things.", lambda: next(numbers))

    assert value(told(metrics), "auth_things") == 1
    assert value(told(metrics), "auth_things") == 5


def test_what_the_process_takes_is_told() -> None:
    metrics = Metrics()

    found = told(metrics)
    with Path(os.devnull).open("rb"):
        more = told(metrics)

    assert 0 < value(found, "process_cpu_seconds_total") <= value(more, "process_cpu_seconds_total")
    assert value(more, "process_cpu_seconds_total") <= time.process_time()
    assert value(found, "process_resident_memory_bytes") > 1_000_000
    assert 0 <= value(found, "process_open_fds") <= value(found, "process_max_fds")
    if value(found, "process_open_fds"):  # the kernel says
        assert value(more, "process_open_fds") == value(found, "process_open_fds") + 1


def test_no_limit_of_open_files_is_no_number_that_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    assert open_files_limit() == math.inf


@pytest.mark.parametrize("read", [resident_bytes, open_files])
def test_where_there_is_no_proc_nothing_is_told(read: Callable[[], float], monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "stat", gone)
    monkeypatch.setattr(Path, "read_text", gone)

    assert read() == 0


def test_the_gauges_of_dead_workers_go_and_their_counters_stay(tmp_path: Path) -> None:
    alive, dead = os.getpid(), 4194305  # beyond the highest pid of Linux
    for name in (f"gauge_livesum_{alive}.db", f"gauge_livesum_{dead}.db", f"counter_{dead}.db"):
        (tmp_path / name).touch()

    forget_dead(tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == {f"gauge_livesum_{alive}.db", f"counter_{dead}.db"}


# ---- over all workers ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_workers(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, str]]:
    """One server with two workers, and its URL; the GPUStack that it knows of is away."""
    port = str(children.free_port())
    words = ("serve", "--host", "127.0.0.1", "--port", port, "--workers", "2")
    own = environment(replace(settings, environment="development", gpustack_url=f"http://{NOWHERE}"))
    with gatehouse(*words, cwd=tmp_path_factory.mktemp("server"), environment=own) as process:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: is_ready(url), process)
        yield process, url
        process.signal(signal.SIGTERM)
        assert process.ends() == 0


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}{BASE}/health/ready").status_code == 200
    except httpx.TransportError:
        return False


async def test_all_that_rules_and_panels_ask_for_is_in_a_scrape_after_traffic_of_every_kind(
    two_workers: tuple[Process, str],
) -> None:
    _, url = two_workers
    async with AsyncClient(base_url=f"{url}{BASE}") as anybody:
        person = await register(anybody, email=f"{new_name()}@example.org")
        session = await log_in(anybody, person)
        await session.refreshed()
        for path in ("/me", "/verify", "/users", "/nowhere", f"{url}/console/sign-in"):
            await session.ask("GET", path)
        stranger = {"username": new_name(), "password": new_password()}
        away = await anybody.post("/login", json=stranger, headers=from_ip())  # GPUStack would have to say
        assert away.status_code == 503
        headers = from_ip()
        while (
            await anybody.post("/login", json={**stranger, "username": person.username}, headers=headers)
        ).status_code != 429:
            pass

        found = await scraped(anybody, f"{url}/metrics")

    lacks = {query.expression: lacking(query, found) for query in queries()}
    assert {expression: names for expression, names in lacks.items() if names} == {}
    assert len(lacks) > 40  # or nothing was read


async def test_two_workers_add_up_and_a_dead_one_takes_nothing_along(
    two_workers: tuple[Process, str], client: AsyncClient
) -> None:
    process, url = two_workers
    person = await register(client)

    async def counted() -> tuple[float, float]:
        async with AsyncClient() as anybody:  # of a connection of its own, and so of any worker
            found = await scraped(anybody, f"{url}/metrics")
        logins = value(found, "http_requests_total", method="POST", route=f"{BASE}/login", status="2xx")
        return value(found, "auth_login_success_total"), logins

    before = (await counted())[0]
    for _ in range(24):
        async with AsyncClient(base_url=f"{url}{BASE}") as anybody:
            await log_in(anybody, person)
    async with asyncio.timeout(30):  # what the other worker counted is told within a second
        while (await counted())[1] < before + 24:
            await asyncio.sleep(0.02)
    assert {await counted() for _ in range(6)} == {(before + 24, before + 24)}

    old = process.children()
    os.kill(old[0], signal.SIGKILL)
    await asyncio.to_thread(eventually, lambda: len(set(process.children()) - {old[0]}) == 2, process)
    await asyncio.to_thread(eventually, lambda: is_ready(url), process)

    assert await counted() == (before + 24, before + 24)

"""`gatehouse serve`: the service as a container runs it, on stores that may be away."""

import json
import signal
from functools import partial
from pathlib import Path

import httpx

from app.cli import children
from app.cli.embedded import Postgres
from tests.cli.conftest import environment_for
from tests.cli.kit import Process, eventually, gatehouse
from tests.kit import BASE, new_name


def serve(here: Path, environment: dict[str, str], *words: str) -> tuple[Process, str]:
    port = children.free_port()
    process = gatehouse("serve", "--host", "127.0.0.1", "--port", str(port), *words, cwd=here, environment=environment)
    return process, f"http://127.0.0.1:{port}{BASE}"


def status(url: str) -> int:
    try:
        return httpx.get(url).status_code
    except httpx.TransportError:
        return 0


def is_ready(url: str) -> bool:
    return status(f"{url}/health/ready") == 200


def test_it_serves_and_stops(here: Path, environment: dict[str, str]) -> None:
    process, url = serve(here, {**environment, "DRAIN_SECONDS": "0"}, "--workers", "2")
    with process:
        eventually(lambda: is_ready(url), process)

        process.signal(signal.SIGTERM)

        assert process.ends() == 0
    events = [json.loads(line)["event"] for line in process.output.splitlines()]
    assert events[0] == "server.starting"
    assert events[-1] == "server.stopped"


def test_readiness_ends_at_once_and_service_goes_on(here: Path, environment: dict[str, str]) -> None:
    process, url = serve(here, {**environment, "DRAIN_SECONDS": "600"})
    with process:
        eventually(lambda: is_ready(url), process)

        process.signal(signal.SIGTERM)

        eventually(lambda: status(f"{url}/health/ready") == 503, process)
        assert status(f"{url}/health/live") == 200
        assert status(f"{url}/me") == 401


def test_a_database_that_is_away_is_no_reason_not_to_start(here: Path, environment: dict[str, str]) -> None:
    environment["DATABASE_URL"] = "postgresql://gatehouse:hunter2@127.0.0.1:1/gatehouse"
    process, url = serve(here, environment)
    with process:
        line = json.loads(process.read_until("database.away"))

        assert line["level"] == "warning"
        assert "hunter2" not in process.output
        eventually(lambda: status(f"{url}/health/live") == 200, process)
        assert status(f"{url}/health/ready") == 503


def test_a_schema_that_is_behind_and_short_connections_are_warnings(
    here: Path, postgres: Postgres, valkey_url: str
) -> None:
    name = new_name("empty")
    postgres.create_database(name)
    more = {"DATABASE_POOL_SIZE": "1000", "ADMIN_PASSWORD": "wombat-Ferry-41-lamp"}
    process, _ = serve(here, {**environment_for(postgres.url(name), valkey_url), **more})
    with process:
        assert json.loads(process.read_until("connections_short"))["own"] == 1005
        assert "gatehouse migrate" in json.loads(process.read_until("schema_behind"))["hint"]


def test_the_first_administrator_is_made_once(here: Path, own_database: str, valkey_url: str) -> None:
    environment = environment_for(own_database, valkey_url) | {"ADMIN_PASSWORD": "wombat-Ferry-41-lamp"}
    for made in (True, False):
        process, url = serve(here, {**environment, "DRAIN_SECONDS": "0"})
        with process:
            eventually(partial(is_ready, url), process)
            process.signal(signal.SIGTERM)
            assert process.ends() == 0
        assert ("first_admin.made" in process.output) is made
        assert "wombat" not in process.output

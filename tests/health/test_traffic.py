"""Every request is counted by its route, its method and how it ended, and nobody can make up a number."""

import asyncio
from typing import Any

import pytest
from httpx import AsyncClient
from prometheus_client import CollectorRegistry, generate_latest

from app.sessions.authenticator import Authenticator
from app.traffic import METHODS, Traffic
from tests.health.kit import Samples, samples, scraped, value
from tests.kit import BASE, from_ip, log_in, new_name, register
from tests.replica import Start


def requests(found: Samples, route: str, method: str = "GET") -> dict[str, float]:
    """So many of this route by class of status."""
    return {
        dict(labels)["status"]: count
        for (name, labels), count in found.items()
        if name == "http_requests_total" and {("route", route), ("method", method)} <= set(labels)
    }


async def test_requests_are_counted_by_route_and_by_how_they_ended(start: Start) -> None:
    client = (await start()).client
    person = await register(client)
    session = await log_in(client, person)
    await client.post("/login", json={"username": new_name(), "password": "wrong horse"}, headers=from_ip())
    await session.refreshed()
    for _ in range(3):
        await session.ask("GET", "/me?so=what")
    await client.get("/me")
    await session.ask("PATCH", "/me", json={"full_name": "Ada"})
    await session.ask("GET", "/me", content=b"a body is the long way")
    await session.ask("PROPFIND", "/verify")
    await client.head("/verify")
    for number in (7, 8):
        await session.ask("GET", f"/users/{number}")
    await client.get("https://auth.example.test/console/sign-in")
    await client.get("https://auth.example.test/console")

    found = await scraped(client)

    assert requests(found, f"{BASE}/register", "POST") == {"2xx": 1}
    assert requests(found, f"{BASE}/login", "POST") == {"2xx": 1, "4xx": 1}
    assert requests(found, f"{BASE}/refresh", "POST") == {"2xx": 1}
    assert requests(found, f"{BASE}/me") == {"2xx": 4, "4xx": 1}
    assert requests(found, f"{BASE}/me", "PATCH") == {"2xx": 1}
    assert requests(found, f"{BASE}/verify", "other") == {"2xx": 1}
    assert requests(found, f"{BASE}/verify", "HEAD") == {"4xx": 1}
    assert requests(found, BASE + "/users/{user_id}") == {"4xx": 2}
    assert requests(found, "/console/sign-in") == {"2xx": 1}
    assert requests(found, "/console") == {"3xx": 1}
    assert value(found, "http_request_duration_seconds_count", method="GET", route=f"{BASE}/me") == 5
    assert value(found, "http_request_duration_seconds_sum", method="GET", route=f"{BASE}/me") > 0


async def test_nobody_can_make_up_a_series(start: Start) -> None:
    client = (await start(cors_origins=("https://app.example.test",))).client
    asked = {"Origin": "https://app.example.test", "Access-Control-Request-Method": "GET"}
    for number in range(5):
        await client.get(f"/nowhere-{number}")
        await client.request(f"MADE{number}", "/me")
        await client.request(f"MADE{number}", "/verify")
        await client.get(f"https://auth.example.test/console/nowhere-{number}")
        await client.get(f"//nowhere-{number}")
        await client.options(f"/nowhere-{number}", headers=asked)

    found = await scraped(client)

    assert requests(found, "unmatched") == {"4xx": 10}
    assert requests(found, "unmatched", "other") == {"4xx": 5}
    assert requests(found, f"{BASE}/verify", "other") == {"4xx": 5}
    assert requests(found, "/console/{path}") == {"4xx": 5}
    assert requests(found, "preflight", "OPTIONS") == {"2xx": 5}
    labels = [dict(each) for name, each in found if name.startswith("http_")]
    assert not [each for each in labels if "nowhere" in each["route"]]
    assert {each["method"] for each in labels} <= {*METHODS, "other"}


async def test_who_goes_before_the_answer_is_counted(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    client = (await start()).client
    session = await log_in(client, await register(client))
    reached = asyncio.Event()

    async def hang(*_: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Authenticator, "caller", hang)
    replica = await start()  # its handlers are bound to the one that hangs
    for path in ("/me", "/me/sessions"):
        asking = asyncio.create_task(replica.client.get(path, headers=session.bearer))
        await reached.wait()
        reached.clear()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    found = await scraped(replica.client)

    assert requests(found, f"{BASE}/me") == {"4xx": 1}
    assert requests(found, f"{BASE}/me/sessions") == {"4xx": 1}


async def test_a_fault_of_ours_is_counted_as_one(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> Any:
        raise RuntimeError

    monkeypatch.setattr(Authenticator, "caller", fail)
    client: AsyncClient = (await start()).client
    for path in ("/me", "/me/sessions"):
        await client.get(path, headers={"Authorization": "Bearer x"})

    found = await scraped(client)

    assert requests(found, f"{BASE}/me") == {"5xx": 1}
    assert requests(found, f"{BASE}/me/sessions") == {"5xx": 1}


def test_a_duration_counts_in_each_bucket_that_it_fits() -> None:
    registry = CollectorRegistry()
    traffic = Traffic(registry, (0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 7.0):
        traffic.answered("GET", "/a", 200, seconds)
    traffic.answered("GET", "/a", 503, 0.5)

    for _ in range(2):  # what was told is not told again
        traffic.tell()
        found = samples(generate_latest(registry).decode())

        buckets = {
            le: value(found, "http_request_duration_seconds_bucket", method="GET", route="/a", le=le)
            for le in ("0.1", "1.0", "+Inf")
        }
        assert buckets == {"0.1": 2, "1.0": 4, "+Inf": 5}
        assert value(found, "http_request_duration_seconds_count", method="GET", route="/a") == 5
        assert value(found, "http_request_duration_seconds_sum", method="GET", route="/a") == pytest.approx(8.15)
        assert requests(found, "/a") == {"2xx": 4, "5xx": 1}

"""Our own faults are answered by a problem that says nothing about them."""

import re

import pytest
from litestar import get
from litestar.exceptions import HTTPException

from app.browsers import Browsers
from app.edge import Edge
from app.express import Answered
from app.main import at_the_edge, create_app
from app.settings import Settings
from tests.errors.kit import CANARY
from tests.kit import BASE, problem
from tests.replica import http


@get("/boom", exclude_from_auth=True, sync_to_thread=False)
def boom() -> None:
    raise RuntimeError(CANARY)


@get("/teapot", exclude_from_auth=True, sync_to_thread=False)
def teapot() -> None:
    raise HTTPException(detail=CANARY, status_code=418, headers={"X-Canary": CANARY})


@get("/gateway", exclude_from_auth=True, sync_to_thread=False)
def gateway() -> None:
    raise HTTPException(detail=CANARY, status_code=502)


async def test_a_fault_of_ours_is_a_problem_that_says_nothing(settings: Settings) -> None:
    app = create_app(settings, route_handlers=[boom, gateway])

    for path in ("/boom", "/gateway"):
        async with http(at_the_edge(app)) as client:
            answer = await client.get(f"https://auth.example.test{path}")

        found = problem(answer, 500, "internal_error")
        assert set(found) == {"type", "title", "status", "detail", "code", "request_id"}
        assert not re.search(rf"{CANARY}|Traceback|RuntimeError|line \d", answer.text)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_what_a_framework_refuses_in_its_own_words_is_said_in_ours(settings: Settings) -> None:
    async with http(at_the_edge(create_app(settings, route_handlers=[teapot]))) as client:
        answer = await client.get("https://auth.example.test/teapot")

    problem(answer, 400, "malformed_request")
    assert CANARY not in answer.text + str(answer.headers)


@pytest.mark.parametrize(("method", "path"), [("GET", "/me"), ("POST", "/refresh")])
async def test_a_fault_on_the_short_way_is_a_problem_as_well(settings: Settings, method: str, path: str) -> None:
    async def fail(*_: object) -> Answered:
        raise RuntimeError(CANARY)

    me, refresh = {("GET", f"{BASE}/me"): fail}, {("POST", f"{BASE}/refresh"): fail}
    edge = Edge(create_app(settings), Browsers(settings), me, refresh, (), {}, count=lambda *_: None)
    async with http(edge) as client:
        answer = await client.request(method, path, json={} if method == "POST" else None)

    problem(answer, 500, "internal_error")
    assert CANARY not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"

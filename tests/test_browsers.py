"""What browsers are told with every answer, and which front ends may read it."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from httpx import AsyncClient

from app.settings import Settings
from tests.kit import SignedIn
from tests.replica import serving

APP = "https://app.example.test"
ASKED = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization"}


@pytest.fixture
async def open_to_app(settings: Settings) -> AsyncIterator[AsyncClient]:
    """A replica that a front end on another origin may ask."""
    async with serving(replace(settings, cors_origins=(APP, "http://localhost:5173"))) as replica:
        yield replica.client


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/health/live"),
        ("GET", "/me"),
        ("POST", "/login"),
        ("POST", "/refresh"),
        ("GET", "/verify"),
        ("GET", "/nowhere"),
        ("PUT", "/me"),
        ("GET", "https://auth.example.test/.well-known/jwks.json"),
        ("GET", "https://auth.example.test/openapi.json"),
        ("GET", "https://auth.example.test/metrics"),
        ("GET", "https://auth.example.test/docs"),
        ("GET", "https://auth.example.test//x"),
    ],
)
async def test_every_answer_says_what_a_page_may_do_with_it(client: AsyncClient, method: str, path: str) -> None:
    headers = (await client.request(method, path)).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers


async def test_a_front_end_of_ours_may_ask_and_read(open_to_app: AsyncClient, session: SignedIn) -> None:
    asked = await open_to_app.options("/me", headers=ASKED | {"Origin": APP})
    answer = await session.ask("GET", "/me", at=open_to_app, headers={"Origin": APP})
    refused = await open_to_app.get("/me", headers={"Origin": APP})

    assert asked.status_code == 200
    assert asked.headers["access-control-allow-methods"] == "GET, HEAD, POST, PUT, PATCH, DELETE"
    assert "Authorization" in asked.headers["access-control-allow-headers"]
    assert asked.headers["access-control-max-age"] == "600"
    for each in (asked, answer, refused):
        assert each.headers.get_list("access-control-allow-origin") == [APP]
        assert each.headers["access-control-allow-credentials"] == "true"
        assert each.headers["vary"] == "Origin"
    assert "Retry-After" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", f"{APP}.evil.example", "https://APP.example.test", f"{APP}/", "*", ""]
)
async def test_nobody_else_may(open_to_app: AsyncClient, session: SignedIn, origin: str) -> None:
    asked = await open_to_app.options("/me", headers=ASKED | {"Origin": origin})
    answer = await session.ask("GET", "/me", at=open_to_app, headers={"Origin": origin})

    assert asked.status_code in (401, 405)
    for each in (asked, answer):
        assert not [name for name in each.headers if name.startswith("access-control-")]
        assert each.headers["vary"] == "Origin"


async def test_options_without_the_question_of_a_browser_is_a_method_like_others(open_to_app: AsyncClient) -> None:
    answer = await open_to_app.options("/verify", headers={"Origin": APP})

    assert answer.status_code == 401


async def test_a_preflight_is_not_taken_for_a_request_of_a_proxy(open_to_app: AsyncClient) -> None:
    answer = await open_to_app.options("/verify", headers=ASKED | {"Origin": APP})

    assert answer.status_code == 200
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/console", "/console/sign-in", "/console/account", "/console/account/data/export"])
async def test_no_front_end_reads_a_page_of_the_console(open_to_app: AsyncClient, path: str) -> None:
    """The browser would send the cookies of whoever is signed in there along: of the same site, Lax ones go too."""
    address = f"https://auth.example.test{path}"
    asked = await open_to_app.options(address, headers=ASKED | {"Origin": APP})
    answer = await open_to_app.get(address, headers={"Origin": APP})

    for each in (asked, answer):
        assert not [name for name in each.headers if name.startswith("access-control-")]

"""The page at /docs needs nothing but the service itself."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest
from httpx import AsyncClient

from app.main import at_the_edge, create_app
from tests.kit import problem
from tests.replica import http, settings_for

ROOT = "https://auth.example.test"
TYPES = {"js": "text/javascript", "css": "text/css", "png": "image/png"}


class Page(HTMLParser):
    """What a page loads, and what it brings along itself."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.inline: list[str] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [value for name, value in attrs if name in ("src", "href") and value]
        self.inline += [name for name, _ in attrs if name == "style" or name.startswith("on")]
        self._in_script = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script and data.strip():
            self.inline.append(data)


@pytest.fixture
async def undocumented() -> AsyncIterator[AsyncClient]:
    """An application with API_DOCS=off; no route that is asked here needs a store."""
    settings = replace(settings_for("postgresql://localhost/none", "valkey://localhost"), api_docs=False)
    async with http(at_the_edge(create_app(settings))) as client:
        yield client


async def test_the_page_loads_everything_from_its_own_origin(house: AsyncClient) -> None:
    page = await house.get(f"{ROOT}/docs")

    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    loaded = Page(page.text).loaded
    assert len(loaded) >= 4
    for address in loaded:
        url = urljoin(f"{ROOT}/docs", address)
        assert url.startswith(f"{ROOT}/docs/")
        file = await house.get(url)
        assert file.status_code == 200
        assert file.headers["content-type"].partition(";")[0] == TYPES[url.rpartition(".")[2]]
        assert file.headers["cache-control"].startswith("public")
        assert file.content


async def test_neither_the_page_nor_its_script_names_another_host(house: AsyncClient) -> None:
    page = await house.get(f"{ROOT}/docs")
    script = await house.get(f"{ROOT}/docs/init.js")

    assert re.findall(r"(?:https?:)?//\w", page.text + script.text) == []
    assert '"/openapi.json"' in script.text
    assert "validatorUrl: null" in script.text


async def test_the_page_runs_under_a_policy_that_allows_nothing_inline(house: AsyncClient) -> None:
    page = await house.get(f"{ROOT}/docs")
    policy = page.headers["content-security-policy"]

    assert Page(page.text).inline == []
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("name", ["swagger-ui.js", "..%2Fcore.py", "%2e%2e%2fcore.py", "LICENSE"])
async def test_no_other_file_of_the_package_is_served(house: AsyncClient, name: str) -> None:
    problem(await house.get(f"{ROOT}/docs/{name}"), 404, "not_found")


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/docs/init.js"])
async def test_both_can_be_switched_off(undocumented: AsyncClient, path: str) -> None:
    problem(await undocumented.get(f"{ROOT}{path}"), 404, "not_found")

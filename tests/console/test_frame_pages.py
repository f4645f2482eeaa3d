"""What every page comes with: its headers, its files, its look; and what is no page."""

import gzip
import html.parser
import re

import pytest
from httpx import AsyncClient, Response

from app.edge import Edge
from tests.conftest import ADMIN
from tests.console.kit import SIGN_IN
from tests.console.routes import console_routes, filled
from tests.console.test_frame_forms import values_for
from tests.console.visitor import Visitor, title_of
from tests.kit import Person, SignedIn, log_in, new_name, new_password, register

ACCOUNT = "/console/account"
MOST = 150_000  # bytes of a page with all that it loads
YEAR = "public, max-age=31536000, immutable"


class Strict(html.parser.HTMLParser):
    """What a page says that our policy would not let run, and what it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.loads: set[str] = set()
        self.times: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        self.wrong += [f"<{tag} {name}>" for name in said if name == "style" or name.startswith("on")]
        self.wrong += ["<script>"] if tag == "script" and "src" not in said else []
        self.wrong += ["<style>"] if tag == "style" else []
        for name in ("src", "href") if tag in {"script", "link", "img", "use"} else ():
            if (found := said.get(name)) and not found.startswith("data:"):
                self.loads.add(found.partition("#")[0])
        if tag == "time":
            self.times.append(said)


def read(page: Response) -> Strict:
    reader = Strict()
    reader.feed(page.text)
    return reader


async def who(kind: str, edge: Edge, client: AsyncClient) -> Visitor:
    visitor = Visitor(edge)
    if kind != "nobody":
        await visitor.sign_in(ADMIN if kind == "admin" else await register(client))
    return visitor


@pytest.mark.parametrize("kind", ["nobody", "user", "admin"])
async def test_every_page_is_as_strict_as_all_are(edge: Edge, client: AsyncClient, kind: str) -> None:
    visitor = await who(kind, edge, client)
    for path in console_routes(edge, "GET"):
        answer = await visitor.get(filled(path, **values_for(path)))

        where = f"{path}: {answer.status_code} {answer.text}"
        headers = answer.headers
        assert answer.status_code < 500, where
        assert headers["cache-control"] == "no-store", where
        assert headers["x-content-type-options"] == "nosniff", where
        assert headers["referrer-policy"] in {"same-origin", "no-referrer"}, where
        assert headers["cross-origin-opener-policy"] == "same-origin", where
        assert headers["strict-transport-security"].startswith("max-age=31536000"), where
        (policy,) = headers.get_list("content-security-policy")
        assert "frame-ancestors 'none'" in policy, where
        assert "unsafe" not in policy, where
        if headers["content-type"].startswith("text/html"):
            assert "default-src 'none'" in policy
            assert "form-action 'self'" in policy
            assert read(answer).wrong == [], where
            assert title_of(answer).endswith("· Gatehouse"), where


async def test_a_page_with_all_it_loads_is_small_and_all_is_there(inside: Visitor) -> None:
    page = await inside.get(ACCOUNT)
    size = len(page.content)

    for url in read(page).loads:
        async with inside.http.stream("GET", url, headers={"Accept-Encoding": "gzip"}) as answer:
            raw = b"".join([chunk async for chunk in answer.aiter_raw()])
        assert answer.status_code == 200, url
        assert answer.headers["cache-control"] == YEAR
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.headers["vary"] == "Accept-Encoding"
        size += len(raw)

    assert size < MOST


async def test_a_file_is_the_same_zipped_or_not_and_asks_for_nothing_else(visitor: Visitor) -> None:
    for url in read(await visitor.get(SIGN_IN)).loads:
        plain = await visitor.get(url, headers={"Accept-Encoding": "identity"})
        async with visitor.http.stream("GET", url, headers={"Accept-Encoding": "gzip"}) as zipped:
            raw = b"".join([chunk async for chunk in zipped.aiter_raw()])

        assert "content-encoding" not in plain.headers
        assert gzip.decompress(raw) == plain.content
        assert b"http" not in re.sub(rb"https?://(www\.w3\.org|getbootstrap\.com|github\.com)/", b"", plain.content)


@pytest.mark.parametrize(
    ("accepted", "zipped"),
    [
        ("br, gzip;q=0.5", True),
        ("gzip ; q=0", False),
        ("gzip;q=0.000, br", False),
        ("gzip;q=0.001", True),
        ("br", False),
    ],
)
async def test_who_refuses_a_zipped_file_gets_it_plain(visitor: Visitor, accepted: str, zipped: bool) -> None:  # noqa: FBT001
    (url, *_) = read(await visitor.get(SIGN_IN)).loads

    answer = await visitor.get(url, headers={"Accept-Encoding": accepted})

    assert ("content-encoding" in answer.headers) is zipped


async def test_a_file_knows_nobody(inside: Visitor) -> None:
    """Caches may share it: no cookie is set, and none makes a difference."""
    (url, *_) = read(await inside.get(ACCOUNT)).loads
    inside.forget_access()

    answer = await inside.get(url)

    assert answer.headers.get_list("set-cookie") == []
    assert "etag" not in answer.headers
    assert "last-modified" not in answer.headers


@pytest.mark.parametrize(
    "name", ["nothing.css", "console.css", "console.000000000000.css", "..%2fpages.py", "%2e%2e", "pages.py", "a/b"]
)
async def test_what_is_no_file_is_told_on_a_page_that_leaves_the_cookies_alone(inside: Visitor, name: str) -> None:
    answer = await inside.get(f"/console/static/{name}")

    assert answer.status_code in {400, 404}
    assert answer.headers.get_list("set-cookie") == []
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path", ["/console/nowhere", "/console/account/nowhere/x", "/console/%3Cscript%3E", "/console/ä"]
)
async def test_what_is_no_page_is_told_on_one(inside: Visitor, visitor: Visitor, path: str) -> None:
    for each in (inside, visitor):
        answer = await each.get(path)

        assert answer.status_code == 404
        assert "There is no such page" in answer.text
        assert answer.headers["x-request-id"] in answer.text
        assert "<script>" not in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_what_is_no_form_is_told_as_well(inside: Visitor, method: str) -> None:
    for path in ("/console", "/console/nowhere", "/console/static/x.css", "/console/account"):
        answer = await inside.http.request(method, path)

        assert answer.status_code in {405, 415}, path
        assert answer.headers["content-type"].startswith("text/html")
        assert answer.headers.get_list("set-cookie") == []
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")


async def test_the_start_leads_to_where_one_belongs(visitor: Visitor, ada: Person) -> None:
    for path in ("/console", "/console/"):
        assert (await visitor.get(path)).headers["location"] == SIGN_IN
    await visitor.sign_in(ada)
    for path in ("/console", "/console/"):
        assert (await visitor.get(path)).headers["location"] == ACCOUNT


async def test_the_chosen_look_is_there_from_the_first_byte_on(inside: Visitor, session: SignedIn) -> None:
    assert 'data-bs-theme="system"' in (await inside.get(ACCOUNT)).text

    for theme in ("dark", "light"):
        assert (await session.ask("POST", "/preferences", json={"theme": theme})).is_success
        for path in (ACCOUNT, "/console/nowhere"):
            page = (await inside.get(path)).text
            assert page.startswith("<!doctype html>")
            assert f'<html lang="en" data-bs-theme="{theme}">' in page


async def test_times_can_be_put_into_the_readers_own_zone(inside: Visitor) -> None:
    times = read(await inside.get(ACCOUNT)).times

    assert times
    for time in times:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", time["datetime"] or "")


async def test_what_somebody_is_called_is_never_taken_for_html(client: AsyncClient, visitor: Visitor) -> None:
    name = "<img src=x onerror=alert(1)> {{ 7*7 }} %(a)s 100 %"
    person = await register(client, full_name=name, username=new_name(), password=new_password())
    await visitor.sign_in(person)

    page = await visitor.get(ACCOUNT)

    assert "<img" not in page.text
    assert 'value="&lt;img src=x onerror=alert(1)&gt; {{ 7*7 }} %(a)s 100 %"' in page.text
    again = await visitor.send(page, ACCOUNT, full_name=name)
    assert again.status_code == 303


async def test_pages_of_one_are_not_anothers(edge: Edge, client: AsyncClient) -> None:
    """What one has read does not come back to the next at the same browser, whose session it is that counts."""
    visitor = Visitor(edge)
    one, other = await register(client), await register(client)
    await visitor.sign_in(one)
    page = await visitor.get(ACCOUNT)
    assert one.username in page.text
    await visitor.send(page, "/console/sign-out")
    await visitor.sign_in(other)

    page = await visitor.get(ACCOUNT)

    assert other.username in page.text
    assert one.username not in page.text
    assert (await log_in(client, one)).user_id == one.id

"""Every refusal is a problem (RFC 9457) with a code, whatever was sent where; and none of it repeats what was sent."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, get_args
from uuid import UUID

import msgspec
import pytest
from httpx import AsyncClient, Response
from litestar import Litestar, get
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from app.edge import Edge
from app.express import Answered
from app.main import at_the_edge, create_app
from app.problems import field_error
from app.settings import Settings
from tests.conftest import ADMIN, http
from tests.kit import BASE, SignedIn, from_ip, log_in, problem

CANARY = "cAnArY-5f0c7d1e"
JSON = {"Content-Type": "application/json"}
MIB = 1 << 20


def nested(levels: int) -> bytes:
    return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


UNREADABLE: dict[str, bytes] = {
    "nothing": b"",
    "blank": b" \n",
    "cut off": b'{"username": "' + CANARY.encode(),
    "no JSON": CANARY.encode(),
    "a comma too many": b'{"username": "x",}',
    "no UTF-8": b'{"username": "\xff\xfe"}',
    "a lone surrogate": rb'{"username": "\ud800", "password": "x"}',
    "half a surrogate": rb'{"username": "\udc00x", "password": "x"}',
    "NUL": rb'{"username": "a\u0000b", "password": "x"}',
    "NUL behind a backslash": rb'{"username": "a\\\u0000b", "password": "x"}',
    "NUL in a name": rb'{"user\u0000name": "x"}',
    "a raw control character": b'{"username": "a\x00b"}',
    "NaN": b'{"username": NaN}',
    "a number beyond numbers": b'{"username": 1e999}',
    "65 levels": nested(65),
    "5,000 levels": nested(5_000),
    "100,000 levels": nested(100_000),
    "100,000 levels without an end": b'{"a":' * 100_000,
}


def answered(answer: Response) -> dict[str, Any] | None:
    """What every answer has; the problem, if it is one."""
    assert answer.status_code < 500, answer.text
    headers = answer.headers
    assert re.fullmatch(r"[0-9a-f]{32}", headers["x-request-id"])
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"]
    if answer.status_code < 400:
        return None
    body = problem(answer, answer.status_code, answer.json()["code"])
    assert re.fullmatch(r"[a-z][a-z_]+", body["code"])
    assert body["type"] == f"urn:gatehouse:problem:{body['code']}"
    assert headers["cache-control"] == "no-store"
    assert CANARY.lower() not in answer.text.lower(), answer.text
    assert not any(CANARY.lower() in value.lower() for value in headers.values())
    return body


# ---- one by one ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", [f"{BASE}/nothing", f"{BASE}/me/nothing", f"{BASE}//me", "/", "/nothing", f"/{CANARY}", "/api"]
)
async def test_an_unknown_path_is_not_found(client: AsyncClient, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = await client.request(method, f"https://auth.example.test{path}")

        problem(answer, 404, "not_found")
        answered(answer)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/login", {"POST"}), ("PUT", "/me", {"GET", "PATCH"}), ("BREW", "/health", {"GET"})],
)
async def test_a_wrong_method_is_told_the_right_ones(
    client: AsyncClient, method: str, path: str, allowed: set[str]
) -> None:
    answer = await client.request(method, path)

    problem(answer, 405, "method_not_allowed")
    assert set(re.split(r", *", answer.headers["allow"])) - {"OPTIONS"} == allowed


@pytest.mark.parametrize("name", UNREADABLE)
async def test_a_body_that_cannot_be_read_is_malformed(client: AsyncClient, name: str) -> None:
    answer = await client.post("/login", content=UNREADABLE[name], headers=JSON | from_ip())

    problem(answer, 400, "malformed_request")
    answered(answer)


async def test_64_levels_are_read_and_brackets_in_a_text_are_none(client: AsyncClient) -> None:
    for body in (nested(64), b'{"a": "' + b"[" * 100 + b'"}', b'{"a": [' + b"[]," * 100 + b"[]]}"):
        answer = await client.post("/login", content=body, headers=JSON | from_ip())

        problem(answer, 422, "validation_failed")


async def test_a_written_out_escape_is_no_nul(client: AsyncClient) -> None:
    body = rb'{"username": "a\\u0000b", "password": "x"}'
    problem(await client.post("/login", content=body, headers=JSON | from_ip()), 401, "invalid_credentials")


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "text/json", "application/xml", "multipart/form-data; boundary=x", "application/jsonp"]
)
async def test_json_is_read_only_where_it_says_so(client: AsyncClient, kind: str | None) -> None:
    """A page of anybody's can send `text/plain`, a form or nothing at all without asking first: CSRF."""
    headers = from_ip() | ({"Content-Type": kind} if kind else {})
    for path in ("/login", "/register", "/refresh", "/logout"):
        answer = await client.post(path, content=b'{"refresh_token": "x"}', headers=headers)

        problem(answer, 415, "unsupported_media_type")


async def test_only_a_sign_in_reads_forms(client: AsyncClient, session: SignedIn) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = b"refresh_token=x&theme=dark"
    problem(await client.post("/refresh", content=body, headers=form), 415, "unsupported_media_type")
    problem(await session.ask("POST", "/preferences", content=body, headers=form), 415, "unsupported_media_type")


async def test_the_type_of_json_may_be_written_in_capitals_and_name_a_charset(client: AsyncClient) -> None:
    for kind in ("application/json; charset=utf-8", "Application/JSON"):
        headers = {"Content-Type": kind} | from_ip()
        problem(
            await client.post("/refresh", content=b'{"refresh_token": "x"}', headers=headers),
            401,
            "invalid_refresh_token",
        )


@pytest.mark.parametrize(
    "body",
    [
        b"grant_type=password&username=a%00b&password=x",
        b"grant_type=password&username=a&password=%FF",
        b"grant_type=password&username=a&password=\xff",
        b"grant_type=password&username=%ED%A0%80&password=x",
        b"grant_type=password&username=a&username=b&password=x",
        b"&".join(b"x%d=y" % number for number in range(101)),
    ],
)
async def test_a_form_that_cannot_be_read_is_malformed(client: AsyncClient, body: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"} | from_ip()
    problem(await client.post("/login", content=body, headers=headers), 400, "malformed_request")


async def test_each_field_that_is_wrong_is_named_with_what_it_should_be(client: AsyncClient) -> None:
    for body, field, message in (
        ({}, "username", "is required"),
        ({"username": "x"}, "password", "is required"),
        ({"username": 1, "password": "x"}, "username", "Expected `str`, got `int`"),
        ({"username": [CANARY], "password": "x"}, "username", "Expected `str`, got `array`"),
        ({"username": "", "password": "x"}, "username", "Expected `str` of length >= 1"),
        ({"username": CANARY * 20, "password": "x"}, "username", "Expected `str` of length <= 255"),
        ({"username": "x", "password": "x", "user_name": CANARY}, "user_name", "is not a field of this request"),
        ({"username": "x", "password": "x", CANARY * 20: "x"}, "body", "is not a field of this request"),
        ([], "body", "Expected `object`, got `array`"),
    ):
        answer = await client.post("/login", json=body, headers=from_ip())

        assert problem(answer, 422, "validation_failed")["errors"] == [{"field": field, "message": message}]
        answered(answer)


def test_a_message_that_might_repeat_what_was_sent_is_not_passed_on() -> None:
    for message in (
        f"Invalid value '{CANARY}'",
        f"Invalid enum value '{CANARY}' - at `$.role`",
        f"could not: {CANARY}",
    ):
        field, said = field_error({"message": message, "key": "role"})

        assert (field, said) == ("role", "does not fit its description")
    assert field_error({"message": "x", "key": CANARY * 20}) == ("body", "does not fit its description")


async def test_a_body_may_have_a_mebibyte(client: AsyncClient) -> None:
    async def chunks(size: int) -> AsyncIterator[bytes]:
        for start in range(0, size, 65536):
            yield b" " * min(65536, size - start)

    for size, status, code in ((MIB, 400, "malformed_request"), (MIB + 1, 413, "payload_too_large")):
        problem(await client.post("/login", content=b" " * size, headers=JSON | from_ip()), status, code)
        problem(await client.post("/login", content=chunks(size), headers=JSON | from_ip()), status, code)


@pytest.mark.parametrize("sent", ["a", "0f" * 16, "9.A-z_:/+=@", "x" * 128])
async def test_the_id_of_a_request_is_kept(client: AsyncClient, sent: str) -> None:
    for path in ("/health/live", "/me", "/nothing"):
        answer = await client.get(path, headers={"X-Request-ID": sent})

        assert answer.headers["x-request-id"] == sent
        assert answer.status_code == 200 or answer.json()["request_id"] == sent


@pytest.mark.parametrize("sent", [b"", b"a b", b"x" * 129, b"<script>", b"\xff", b'"', b"a\x1b[31m", b"a\r\nX-Evil: 1"])
async def test_an_id_that_could_do_harm_is_replaced(client: AsyncClient, sent: bytes) -> None:
    for path in ("/health/live", "/me", "/nothing"):
        answered(await client.get(path, headers=[(b"X-Request-ID", sent)]))


async def test_headers_may_have_64_kib(client: AsyncClient) -> None:
    for path in ("/me", "/health/live"):
        answer = await client.get(path, headers={"X-Much": CANARY * 6000})

        problem(answer, 431, "malformed_request")
        answered(answer)
        assert (await client.get(path, headers={"X-Much": "x" * 60_000})).status_code < 431


# ---- every route --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Endpoint:
    """A method of a path, as the application has it."""

    method: str
    route: HTTPRoute
    handler: HTTPRouteHandler

    def __str__(self) -> str:
        return f"{self.method} {self.route.path_format}"

    @property
    def takes_body(self) -> bool:
        return "data" in self.handler.parsed_fn_signature.parameters or "body" in self.handler.opt

    def path(self, **given: str) -> str:
        """The path, with something that fits for every parameter but the given ones."""
        fitting = {int: "4849321706", UUID: "019309bb-2a5f-7cc4-8b3f-6c8f8c3f0c11"}
        values = {name: fitting.get(found.type, "x") for name, found in self.route.path_parameters.items()}
        return self.route.path_format.format(**(values | given))

    def queries(self) -> Iterator[str]:
        """The names of its query parameters, and one that it does not know."""
        for name, field in self.handler.parsed_fn_signature.parameters.items():
            if type(field.kwarg_definition).__name__ == "QueryParameter":
                yield name
        yield "unknown"

    def fields(self) -> set[str]:
        """The names in its bodies."""
        data = self.handler.parsed_fn_signature.parameters.get("data")
        kinds = [data.raw] if data else list(self.handler.opt.get("body", {}).values())
        return {name for kind in kinds for name in _fields(kind)}


def _fields(kind: object) -> Iterator[str]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield from (field.encode_name for field in msgspec.structs.fields(kind))
    for part in get_args(kind):
        yield from _fields(part)


def endpoints(app: Litestar) -> list[Endpoint]:
    return [
        Endpoint(str(method), route, handler)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        for method in sorted(handler.http_methods)
        if method != "OPTIONS"
    ]


class Prober:
    """Asks as an administrator, who signs in again when what he asked for has ended his session."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._admin: SignedIn | None = None

    async def ask(
        self, endpoint: Endpoint, url: str, content: str | bytes = b"", kind: str = "application/json"
    ) -> dict[str, Any] | None:
        """The problem that this is answered by, if it is one."""
        if self._admin is None:
            self._admin = await log_in(self._client, ADMIN)
        headers = {**from_ip(), **self._admin.bearer, "Content-Type": kind}
        url = f"https://auth.example.test{url}"
        answer = await self._client.request(endpoint.method, url, content=content, headers=headers)
        try:
            found = answered(answer)
        except AssertionError as error:
            raise AssertionError(f"{endpoint} {url[:200]} {content[:200]!r}: {error}") from error
        if found is not None and found["code"] == "session_revoked":
            self._admin = None
            return await self.ask(endpoint, url.removeprefix("https://auth.example.test"), content, kind)
        return found


@pytest.fixture
def prober(client: AsyncClient, edge: Edge) -> Prober:
    return Prober(client)


@pytest.fixture
def every(edge: Edge) -> list[Endpoint]:
    found = endpoints(edge.app)
    assert len(found) > 20
    return found


async def test_no_body_gets_anything_but_a_problem(prober: Prober, every: list[Endpoint]) -> None:
    others = {"a text": f'"{CANARY}"', "a list": f'["{CANARY}"]', "null": "null", "a number": "1", "true": "true"}
    bodies = UNREADABLE | {name: body.encode() for name, body in others.items()}
    for endpoint in every:
        for name, body in bodies.items():
            if not (endpoint.method == "GET" or (name in others and "{key}" in endpoint.route.path_format)):
                found = await prober.ask(endpoint, endpoint.path(), content=body)
                assert found is not None or not endpoint.takes_body or name in ("nothing", "null"), (
                    str(endpoint),
                    name,
                )


async def test_no_field_gets_anything_but_a_problem(prober: Prober, every: list[Endpoint]) -> None:
    values: list[Any] = [CANARY * 500, [CANARY], {CANARY: CANARY}, 2**63, -1, 1.5, True, [None], f"\u202e{CANARY}\x07"]
    probed = 0
    for endpoint in every:
        for field in endpoint.fields():
            for value in values:
                await prober.ask(endpoint, endpoint.path(), content=json.dumps({field: value}))
                probed += 1
        if endpoint.takes_body and "{key}" not in endpoint.route.path_format:  # there any value is one
            found = await prober.ask(endpoint, endpoint.path(), content=json.dumps({f"{CANARY} ": CANARY}))
            assert found is not None
            assert found["status"] in (404, 422), (str(endpoint), found)
    assert probed > 100


async def test_no_type_but_the_declared_ones_is_read(prober: Prober, every: list[Endpoint]) -> None:
    readers = [endpoint for endpoint in every if endpoint.takes_body]
    for endpoint in readers:
        for kind in ("text/plain", "multipart/form-data; boundary=x", "application/xml", "x"):
            found = await prober.ask(endpoint, endpoint.path(), b"{}", kind)

            assert found is not None
            assert found["code"] == "unsupported_media_type", (str(endpoint), kind, found)
    assert len(readers) > 8


async def test_no_path_gets_anything_but_a_problem(prober: Prober, every: list[Endpoint]) -> None:
    strange = ["0", "-1", "1.5", "9" * 5000, str(2**63), "%00", "%FF", "%ED%A0%80", "%0d%0aX-Evil:1", "%2e%2e", "%2f"]
    probed = 0
    for endpoint in every:
        for name in endpoint.route.path_parameters:
            for value in [*strange, CANARY, CANARY + "x" * 5000, "%F0%9F%92%A9", "' OR 1=1 --".replace(" ", "%20")]:
                found = await prober.ask(endpoint, endpoint.path(**{name: value}), content=b"")
                assert found is not None, (str(endpoint), name, value)
                assert found["status"] in (400, 404, 422), (str(endpoint), name, value, found)
                probed += 1
    assert probed > 50


async def test_no_query_gets_anything_but_a_problem(prober: Prober, every: list[Endpoint]) -> None:
    values = ["", "-1", "0", "9" * 5000, str(2**63), CANARY, CANARY * 500, "%00", "%FF", "%ED%A0%80", "%", "1&", "null"]
    for endpoint in every:
        if endpoint.method != "GET" and not endpoint.takes_body:
            continue
        for name in endpoint.queries():
            for value in values:
                url = f"{endpoint.path()}?{name}={value}&{name}={value}"
                found = await prober.ask(endpoint, url, content=b"")
                if value in ("%00", "%FF", "%ED%A0%80"):
                    assert found is not None
                    assert found["status"] == 400, (str(endpoint), url, found)


async def test_an_id_that_no_row_can_have_is_not_found_or_invalid(prober: Prober, every: list[Endpoint]) -> None:
    for endpoint in every:
        for name, parameter in endpoint.route.path_parameters.items():
            if parameter.type is int:
                for value in (2**63, 2**63 - 1, 0):
                    found = await prober.ask(endpoint, endpoint.path(**{name: str(value)}), content=b"{}")
                    assert found is not None
                    assert found["status"] in (400, 404, 422), (str(endpoint), value, found)


async def test_a_nul_or_no_utf8_in_the_address_is_malformed(client: AsyncClient) -> None:
    paths, queries = ("/preferences/a%00b", "/preferences/%FF", "/nothing%00"), ("x=%00", "require=%00", "%C3%28")
    for address in (*paths, *(f"{path}?{query}" for path in ("/me", "/verify", "/users") for query in queries)):
        problem(await client.get(address), 400, "malformed_request")


# ---- our own faults -----------------------------------------------------------------------------------------------


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

    edge = Edge(create_app(settings), {("GET", f"{BASE}/me"): fail}, {("POST", f"{BASE}/refresh"): fail})
    async with http(edge) as client:
        answer = await client.request(method, path, json={} if method == "POST" else None)

    problem(answer, 500, "internal_error")
    assert CANARY not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"

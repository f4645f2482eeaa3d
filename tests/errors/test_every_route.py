"""Every route is asked with whatever does not fit: none answers anything but a problem."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args
from urllib.parse import urlencode
from uuid import UUID

import msgspec
import pytest
from httpx import AsyncClient
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from app.edge import Edge
from app.parts import Parts
from app.request import FORM
from tests.clients.kit import Service, registered
from tests.conftest import ADMIN
from tests.errors.kit import CANARY, UNREADABLE, answered
from tests.kit import SignedIn, from_ip, log_in, problem


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

    @property
    def takes_form(self) -> bool:
        return set(self.handler.opt.get("body", {})) == {FORM}

    @property
    def takes_lines(self) -> bool:
        """Each of which has an answer of its own (tests/identity/test_import_refusals.py)."""
        return "application/x-ndjson" in self.handler.opt.get("body", {})

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
    """Asks as an administrator, who signs in again when what he asked for has ended his session.

    Where forms alone are read they come from a client as well: a service of the operator's.
    """

    def __init__(self, client: AsyncClient, service: Service) -> None:
        self._client = client
        self._service = service
        self._admin: SignedIn | None = None

    async def ask_with(self, endpoint: Endpoint, fields: dict[str, Any]) -> dict[str, Any] | None:
        """With these fields, in the way that the endpoint takes them."""
        if not endpoint.takes_form:
            return await self.ask(endpoint, endpoint.path(), content=json.dumps(fields))
        return await self.ask(endpoint, endpoint.path(), urlencode(self._service.form | fields), FORM)

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
async def prober(client: AsyncClient, parts: Parts) -> Prober:
    return Prober(client, await registered(client, parts))


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
                await prober.ask_with(endpoint, {field: value})
                probed += 1
        if (
            endpoint.takes_body and not endpoint.takes_lines and "{key}" not in endpoint.route.path_format
        ):  # any value is one there
            found = await prober.ask_with(endpoint, {f"{CANARY} ": CANARY})
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

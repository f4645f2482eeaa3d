"""Every refusal is a problem (RFC 9457) with a code, whatever was sent where; and none of it repeats what was sent."""

import gc
import re
import sys
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from httpx import AsyncClient

from app.edge import Edge
from app.reading import field_error
from tests.errors.kit import CANARY, UNREADABLE, answered, nested
from tests.kit import BASE, SignedIn, from_ip, new_name, problem

JSON = {"Content-Type": "application/json"}
MIB = 1 << 20


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
    [("GET", "/login", {"POST"}), ("PUT", "/me", {"GET", "PATCH", "DELETE"}), ("BREW", "/health", {"GET"})],
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


async def test_a_name_may_come_again_in_another_object_and_in_a_text(session: SignedIn) -> None:
    value = {"a": {"a": [{"a": 1}, {"a": 2.5}]}, "b": "a: a:", "c:": {"c:": 10**15}}

    answer = await session.ask("PUT", "/preferences/x", json=value)

    assert (answer.status_code, answer.json()) == (200, value)


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


async def test_a_boolean_is_true_or_false_and_nothing_like_it(admin: SignedIn) -> None:
    for value, kind in ((1, "int"), (0, "int"), ("true", "str"), ("1", "str"), ("null", "str")):
        answer = await admin.ask("POST", "/users", json={"username": new_name(), "is_active": value})

        message = f"Expected `bool`, got `{kind}`"
        assert problem(answer, 422, "validation_failed")["errors"] == [{"field": "is_active", "message": message}]


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

        problem(answer, 431, "headers_too_large")
        answered(answer)
        assert (await client.get(path, headers={"X-Much": "x" * 60_000})).status_code < 431


async def test_a_header_that_may_come_once_may_not_come_twice(client: AsyncClient, session: SignedIn) -> None:
    bearer = ("Authorization", f"Bearer {session.access}")
    kind = ("Content-Type", "application/json")
    body = b'{"refresh_token": "x"}'

    for path in ("/me", "/verify", "/preferences"):
        problem(await client.get(path, headers=[bearer, ("Authorization", "Bearer x")]), 400, "malformed_request")
    for path in ("/refresh", "/logout"):
        twice = await client.post(path, content=body, headers=[kind, ("Content-Type", "text/plain")])
        problem(twice, 400, "malformed_request")


async def test_a_body_of_brackets_is_refused_before_it_is_read(client: AsyncClient) -> None:
    """It would hold up everybody for as long as a hash takes twenty times."""
    body = b"[" + b"{}," * 20_000 + b"{}]"

    found = problem(await client.post("/login", content=body, headers=JSON | from_ip()), 400, "malformed_request")

    assert "20000" in found["detail"]
    form = b"username=" + b"%41" * 10_001
    headers = from_ip() | {"Content-Type": "application/x-www-form-urlencoded"}
    problem(await client.post("/login", content=form, headers=headers), 400, "malformed_request")


@pytest.mark.parametrize("path", ["%2fme", "/users%2f1", "/users%5C1"])
async def test_a_hidden_slash_is_none(session: SignedIn, path: str) -> None:
    """A proxy's rule for what lies below would not see it."""
    problem(await session.ask("GET", f"https://auth.example.test{BASE}{path}"), 404, "not_found")


async def test_an_encoded_body_is_not_read_as_if_it_were_plain(client: AsyncClient) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}

    for path in ("/refresh", "/login", "/register"):
        problem(await client.post(path, content=b"{}", headers=headers), 415, "unsupported_media_type")


async def test_a_body_that_is_missing_is_asked_for(client: AsyncClient, session: SignedIn) -> None:
    for headers in ({}, JSON):
        answer = problem(await client.post("/register", headers=headers), 400, "malformed_request")
        assert "body" in answer["detail"]
        answer = problem(await client.post("/refresh", headers=headers), 422, "validation_failed")
        assert answer["errors"] == [{"field": "refresh_token", "message": "is required"}]
    problem(await session.ask("POST", "/me/password", headers=JSON), 400, "malformed_request")


@pytest.mark.parametrize("path", ["/refresh", "/register"])
async def test_of_a_refused_body_nothing_stays(edge: Edge, path: str) -> None:
    """Neither a secret nor the memory; a cycle would keep both until the next collection."""
    body = b"[" * 1000
    before = sys.getrefcount(body)
    gc.disable()
    try:
        await raw(edge, path, body)
        assert sys.getrefcount(body) == before
    finally:
        gc.enable()


async def raw(edge: Edge, path: str, body: bytes) -> None:
    """The request without a client, who would keep the body for himself."""

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(_: Any) -> None: ...

    headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
    scope = {"type": "http", "method": "POST", "path": BASE + path, "raw_path": (BASE + path).encode()}
    scope |= {"query_string": b"", "headers": headers}
    await edge(cast("Any", {**scope, "client": ("127.0.0.1", 1), "state": {}, "extensions": {}}), receive, send)

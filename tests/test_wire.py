"""What only a real server shows: answers to requests that are broken, endless or far too large; and what it logs."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from app.settings import Settings
from tests.cli.kit import eventually
from tests.kit import BASE, SignedIn, from_ip, log_in, new_password, register
from tests.servers import Servers
from tests.wirekit import CLOSE, JSON, Server, code_of, status_of

CANARY = "cAnArY-5f0c7d1e"
MIB = 1 << 20


@pytest.fixture(scope="module")
async def server(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    directory = tmp_path_factory.mktemp("wire")
    async with Servers(settings, directory, 1) as servers:
        yield Server(servers.clients[0], directory / "replica-0.log")


@pytest.mark.parametrize("length", ["content-length", "chunked"])
@pytest.mark.parametrize("size", [MIB + 1, 5 * MIB])
async def test_the_refusal_of_a_large_body_can_be_read_although_it_is_still_being_sent(
    server: Server, length: str, size: int
) -> None:
    pieces = [b" " * min(65536, size - start) for start in range(0, size, 65536)]
    if length == "chunked":
        head = JSON + CLOSE + "Transfer-Encoding: chunked\r\n\r\n"
        pieces = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces] + [b"0\r\n\r\n"]
    else:
        head = JSON + CLOSE + f"Content-Length: {size}\r\n\r\n"

    answer = await server.exchange(head, *pieces)

    assert (status_of(answer), code_of(answer)) == (413, "payload_too_large")


async def test_a_body_that_nobody_asked_for_does_not_cut_off_the_answer(server: Server) -> None:
    size = 5 * MIB
    for line, status in (("GET /me", 401), ("POST /nothing", 404), ("GET /health/live", 200)):
        method, path = line.split()
        head = f"{method} {BASE}{path} HTTP/1.1\r\nHost: x\r\n{CLOSE}Content-Length: {size}\r\n\r\n"

        answer = await server.exchange(head, *[b" " * 65536] * (size // 65536))

        assert status_of(answer) == status


async def test_the_next_request_on_the_connection_is_not_mistaken_for_the_rest_of_a_body(server: Server) -> None:
    body = b" " * (MIB + 1)
    follows = f"GET {BASE}/health/live HTTP/1.1\r\nHost: x\r\n{CLOSE}\r\n".encode()

    answer = await server.exchange(f"{JSON}Content-Length: {len(body)}\r\n\r\n", body, follows)

    assert status_of(answer) == 413
    assert answer.endswith(b'{"status":"ok"}')


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (f"GET {BASE}/me HTTP/1.1\r\nHost: x\r\nX-Request-ID: {CANARY}\rX-Evil: 1\r\n\r\n", b""),
        (f"GET {BASE}/me HTTP/1.1\r\nHost: x\r\nX-Request-ID: {CANARY}\r\n X-Evil: 1\r\n\r\n", b""),
        (f"GET {BASE}/me HTTP/1.1\r\nHost: x\r\nX-Request-ID: {CANARY}\0\r\n\r\n", b""),
        (f"GET {BASE}/me HTTP/1.1\r\nHost: x\r\n{CANARY} : 1\r\n\r\n", b""),
        (f"GET {BASE}/me\0 HTTP/1.1\r\nHost: x\r\n\r\n", b""),
        (f"{CANARY}\r\n\r\n", b""),
        (JSON + CLOSE + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", b"{}    "),
        (JSON + CLOSE + "Content-Length: -1\r\n\r\n", b""),
        (JSON + CLOSE + "Transfer-Encoding: chunked\r\n\r\n", b"zz\r\n"),
        (JSON + CLOSE + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n"),
    ],
)
async def test_a_request_that_breaks_the_rules_of_http_is_a_bad_one(server: Server, head: str, body: bytes) -> None:
    answer = await server.exchange(head, body)

    assert status_of(answer) == 400
    assert CANARY.encode() not in answer
    assert b"evil" not in answer.lower()


async def test_headers_without_end_are_refused(server: Server) -> None:
    for header in (b"X: " + b"x" * 70_000 + b"\r\n", b"X: " + b"x" * 600_000 + b"\r\n", b"X: x\r\n" * 5000):
        answer = await server.exchange(f"GET {BASE}/me HTTP/1.1\r\nHost: x\r\n{CLOSE}".encode() + header + b"\r\n")

        assert status_of(answer) == 431


async def test_bytes_that_are_no_utf8_in_a_path_are_malformed(server: Server) -> None:
    for path in ("/preferences/%FF", "/preferences/%ED%A0%80", "/preferences/a%00b", "/me?x=%FF"):
        answer = await server.exchange(f"GET {BASE}{path} HTTP/1.1\r\nHost: x\r\n{CLOSE}\r\n")

        assert (status_of(answer), code_of(answer)) == (400, "malformed_request")


async def test_a_client_that_goes_away_is_no_fault_of_ours(server: Server) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.client.base_url.port)
    writer.write((JSON + "X-Request-ID: gone-away\r\nContent-Length: 100\r\n\r\n{").encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()

    def lines() -> list[dict[str, object]]:
        return [line for line in server.lines() if line.get("request_id") == "gone-away"]

    await asyncio.to_thread(eventually, lambda: bool(lines()))

    assert [(line["event"], line["status"]) for line in lines()] == [("request", 400)]


async def test_the_log_is_json_with_the_ids_of_requests_and_without_secrets(server: Server, settings: Settings) -> None:
    client, password = server.client, new_password()
    ada = await register(client, password=password)
    session: SignedIn = await log_in(client, ada)
    wrong = new_password()
    form = {"grant_type": "password", "username": ada.username, "password": password}
    answers = [
        await client.post("/login", json={"username": ada.username, "password": wrong}, headers=from_ip()),
        await client.post("/login", data=form, headers=from_ip()),
        await client.post("/login", json={"username": CANARY, "password": {CANARY: wrong}}, headers=from_ip()),
        await client.post("/login", content=f'{{"password": "{wrong}"'.encode(), headers=from_ip()),
        await client.post("/register", json={"username": "x", "password": wrong, CANARY: 1}, headers=from_ip()),
        await client.post("/refresh", json={"refresh_token": session.refresh_token}, headers=from_ip()),
        await client.post("/refresh", json={"refresh_token": session.refresh_token.swapcase()}, headers=from_ip()),
        await session.ask("GET", f"/nothing?token={wrong}"),
        await session.ask("PUT", "/preferences/secret", json=wrong),
        await client.get("/me", headers={"Authorization": f"Bearer {session.access}x"}),
        await client.get("/me", headers={"Authorization": f"Basic {wrong}"}),
        await client.get("/metrics", headers={"Authorization": f"Bearer {settings.metrics_token}"}),
        await client.get("/x%1b%5b31m%0aINFO%20all%20is%20well"),
        await session.ask("POST", "/me/password", json={"current_password": password, "new_password": wrong}),
        await session.ask("POST", "/logout"),
    ]

    last = answers[-1].headers["x-request-id"]  # a line is written when its answer is on its way
    await asyncio.to_thread(eventually, lambda: last in server.log.read_text())
    lines = server.lines()

    assert all({"event", "level", "timestamp"} <= set(line) for line in lines)
    requests = {line["request_id"]: line["status"] for line in lines if line["event"] == "request"}
    quiet = answers[5]  # a refresh that went well is in the audit trail
    assert quiet.status_code == 200
    assert quiet.headers["x-request-id"] not in requests
    logged = {answer.headers["x-request-id"]: answer.status_code for answer in answers if answer is not quiet}
    assert requests | logged == requests
    text = server.log.read_text()
    secrets = (password, wrong, session.access, session.refresh_token, settings.secret_key, settings.metrics_token)
    for secret in (*secrets, CANARY, "Bearer", settings.database_url.split(":")[2].split("@")[0]):
        assert secret not in text
    assert "\x1b" not in text
    assert "\\u001b" not in text


async def test_an_answer_does_not_say_which_version_it_is_of(server: Server) -> None:
    answer = await server.exchange(b"GET /api/auth/v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert re.search(rb"^server: [a-z]+\r$", answer, re.MULTILINE)

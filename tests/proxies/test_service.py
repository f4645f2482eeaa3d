"""What a client can rely on of the service is so behind a proxy, too."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator

import pytest
from httpx import AsyncClient

from tests.identity.importkit import NDJSON, in_pieces, report
from tests.kit import BASE, SignedIn, new_name, problem, register, until
from tests.proxies.conftest import Connect
from tests.proxies.running import SERVICE, Proxy

COOKIE = "__Host-gatehouse-refresh"
OURS = {"Origin": f"https://{SERVICE}"}
LINES = 3_000
LONG = 10_000  # bytes a line, so 30 MB together


async def test_who_comes_without_tls_is_sent_to_where_it_is(proxy: Proxy) -> None:
    async with AsyncClient(base_url=f"http://127.0.0.1:{proxy.plain_ports[SERVICE]}") as plain:
        answer = await plain.get("/console/sign-in?next=%2F", headers={"Host": SERVICE})

    assert answer.status_code == 301
    assert answer.headers["location"] == f"https://{SERVICE}/console/sign-in?next=%2F"


async def test_a_browser_signs_in_and_goes_on_by_its_cookie(client: AsyncClient) -> None:
    person = await register(client)
    body = {"username": person.username, "password": person.password, "transport": "cookie"}

    answer = await client.post("/login", json=body)
    refreshed = await client.post("/refresh", headers=OURS)

    assert answer.status_code == 200, answer.text
    assert "; Secure" in answer.headers["set-cookie"]
    assert "refresh_token" not in answer.json()
    assert refreshed.status_code == 200, refreshed.text
    assert refreshed.json()["session_id"] == answer.json()["session_id"]
    assert (await SignedIn(client, refreshed.json()).ask("GET", "/me")).json()["username"] == person.username
    assert (await client.post("/logout", headers=OURS)).status_code == 204
    assert COOKIE not in client.cookies
    problem(await SignedIn(client, refreshed.json()).ask("GET", "/me"), 401, "session_revoked")


async def test_the_address_is_the_clients_and_not_what_he_says(connect: Connect) -> None:
    client = connect(address="127.0.0.23")
    person = await register(client)
    forged = [
        ("X-Forwarded-For", "198.51.100.1"),
        ("X-Forwarded-For", "198.51.100.2, 127.0.0.1"),
        ("Forwarded", "for=198.51.100.3"),
        ("X-Real-IP", "198.51.100.4"),
    ]
    body = {"username": person.username, "password": person.password}

    session = SignedIn(client, (await client.post("/login", json=body, headers=forged)).json())

    [found] = (await session.ask("GET", "/me/sessions")).json()["items"]
    assert found["ip_address"] == "127.0.0.23"


async def test_problems_and_ids_of_requests_are_passed_on(client: AsyncClient) -> None:
    answer = await client.get("/me", headers={"X-Request-ID": "from-the-client"})

    problem(answer, 401, "not_authenticated")
    assert answer.headers["x-request-id"] == "from-the-client"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    problem(await client.post("/login", json={"username": "x"}), 422, "validation_failed")
    problem(await client.get("/nowhere"), 404, "not_found")
    login = await client.post("/login", content=b"{}", headers={"Content-Type": "text/plain"})
    problem(login, 415, "unsupported_media_type")


async def test_what_browsers_are_told_is_said_once(client: AsyncClient) -> None:
    """By the service in its answers, by the proxy in its own."""
    for path in ("/health/live", "https://auth.example.org/metrics"):
        headers = (await client.get(path)).headers
        assert len(headers.get_list("strict-transport-security")) == 1, path
        assert headers.get_list("x-content-type-options") == ["nosniff"], path


@pytest.mark.parametrize(
    "path",
    ["/metrics", "/metrics/", "//metrics", "/%6detrics", "/metrics?x", "/./metrics", "/x/../metrics", "/metrics%2f"],
)
async def test_the_metrics_are_not_to_be_had(proxy: Proxy, path: str) -> None:
    """Not even with the token."""
    token = "Authorization: Bearer metrics-token-of-the-tests"
    status, body = curl(proxy, path, "-H", token)

    assert status == "404", body
    assert "auth_login_success_total" not in body
    assert curl(proxy, f"{BASE}/health/live")[0] == "200"


async def test_browsers_get_http_2_and_others_http_1(proxy: Proxy) -> None:
    for wanted, version in (("--http2", "2"), ("--http1.1", "1.1")):
        status, body = curl(proxy, f"{BASE}/health/live", wanted, written="%{http_code} %{http_version}")
        assert status == f"200 {version}"
        assert json.loads(body) == {"status": "ok"}


async def test_nothing_is_upgraded(client: AsyncClient) -> None:
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }

    problem(await client.get("/me", headers=headers), 401, "not_authenticated")


async def test_an_import_is_worked_on_as_it_comes(client: AsyncClient, admin: SignedIn) -> None:
    """30 MB: not kept until all of it is there, and not refused for its size."""
    names = [new_name("import") for _ in range(LINES)]
    lines = [json.dumps({"username": name}).encode().ljust(LONG - 1) + b"\n" for name in names]
    seen = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        half = LINES // 2
        async for piece in in_pieces(b"".join(lines[:half]), 1 << 18):
            yield piece
        await seen.wait()  # what comes now is sent once the first of them are there
        async for piece in in_pieces(b"".join(lines[half:]), 1 << 18):
            yield piece

    async def first_is_there() -> bool:
        found = await admin.ask("GET", f"/users?search={names[0]}")
        return bool(found.json()["items"])

    async def look() -> None:
        try:
            await until(first_is_there, 60)
        finally:
            seen.set()

    headers = {**NDJSON, "Content-Length": str(LINES * LONG)}  # by which a proxy may refuse it
    answer, _ = await asyncio.gather(admin.ask("POST", "/users/import", content=body(), headers=headers), look())

    statuses = [each["status"] for each in report(answer)]
    assert statuses == ["created"] * LINES


async def test_an_export_is_all_of_it_and_comes_in_pieces(client: AsyncClient, admin: SignedIn) -> None:
    total = (await admin.ask("GET", "/users")).json()["total"]

    async with client.stream("GET", "/users/export", headers=admin.bearer) as answer:
        assert answer.status_code == 200
        assert "content-length" not in answer.headers
        lines = [json.loads(line) async for line in answer.aiter_lines()]

    assert len(lines) == total
    assert any(line["username"] == "root" for line in lines)


def curl(proxy: Proxy, path: str, *options: str, written: str = "%{http_code}") -> tuple[str, str]:
    """What is answered to a path that is sent as it stands: what was asked to be written of it, and its body."""
    command = shutil.which("curl")
    assert command is not None, "curl is needed: apt-get install curl"
    port = proxy.ports[SERVICE]
    known = ["--resolve", f"{SERVICE}:{port}:127.0.0.1", "--cacert", str(proxy.certified.authority)]
    done = subprocess.run(
        [
            command,
            "--silent",
            "--show-error",
            "--path-as-is",
            *known,
            *options,
            "--write-out",
            f"\n{written}",
            f"https://{SERVICE}:{port}{path}",
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    body, _, status = done.stdout.rpartition("\n")
    return status, body

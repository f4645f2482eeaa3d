"""Where Gatehouse cannot be asked, nobody is let through: 503, for nobody could find out."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self

import pytest
from httpx import AsyncClient, AsyncHTTPTransport, Response

from tests.kit import BASE, log_in, register, until
from tests.listener import Listener
from tests.proxies import shipped
from tests.proxies.application import Application
from tests.proxies.conftest import Way
from tests.proxies.running import APPLICATION, SERVICE, HAProxy, Proxy
from tests.proxies.shipped import Places
from tests.servers import Servers, free_port

OF_ANYBODY: tuple[dict[str, str], ...] = (
    {},
    {"Authorization": "Bearer x"},
    {"X-Auth-User-Id": "1", "X-Auth-Roles": "admin"},
)
NAME_LENGTH = 108  # bytes that HAProxy gives the name of a socket without a file


class Mute(Listener):
    """Takes what is asked, and says nothing."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):  # the proxy gives up
            while await reader.read(65_536):
                pass


class Broken(Listener):
    """Says always the same."""

    def __init__(self, status: str) -> None:
        super().__init__()
        self._status = status

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {self._status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()


class Nobody:
    """Is not there."""

    async def __aenter__(self) -> Self:
        self.port = free_port()
        return self

    async def __aexit__(self, *_: object) -> None:
        """There is nothing to end."""


STATUSES = ("500 Broken", "503 Busy", "302 Elsewhere", "404 None", "400 Bad", "429 Slowly")
STAND_INS: list[Nobody | Listener] = [Nobody(), Mute(), *map(Broken, STATUSES)]


@pytest.fixture(params=STAND_INS, ids=["nobody", "mute", *STATUSES])
async def stand_in(request: pytest.FixtureRequest) -> AsyncIterator[int]:
    """The port of what is in the place of Gatehouse."""
    async with request.param as listener:
        yield listener.port


@asynccontextmanager
async def client_of(proxy: Proxy) -> AsyncGenerator[AsyncClient]:
    transport = Way(proxy, "127.0.0.7")
    async with AsyncClient(transport=transport, base_url=f"https://{APPLICATION}", timeout=60) as client:
        yield client


def logs_in(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in directory.glob("*.log")}


def could_not_be_found_out(answer: Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["retry-after"] == "1"


async def test_nobody_gets_to_the_application(
    kind: type[Proxy], behind: Application, tmp_path: Path, stand_in: int
) -> None:
    before = len(behind.reached)

    with kind(tmp_path, [stand_in, stand_in], behind.port) as proxy:
        async with client_of(proxy) as client:
            for answer in await asyncio.gather(*(client.get("/", headers=headers) for headers in OF_ANYBODY)):
                could_not_be_found_out(answer)

    assert len(behind.reached) == before


async def test_no_log_holds_a_code_that_signs_in(kind: type[Proxy], behind: Application, tmp_path: Path) -> None:
    """Not even where something goes wrong."""
    with kind(tmp_path, [free_port(), free_port()], behind.port) as proxy:
        async with client_of(proxy) as client:
            answer = await client.get(f"https://{SERVICE}{BASE}/oauth/one/callback?code=sesame&state=x")
        await until(lambda: any("/oauth/one/callback" in text for text in logs_in(tmp_path).values()))

    assert answer.status_code in {502, 503}
    logs = logs_in(tmp_path)
    assert not [name for name, text in logs.items() if "sesame" in text]


async def test_one_replica_is_enough(kind: type[Proxy], house: Servers, behind: Application, tmp_path: Path) -> None:
    """The other one is not there: nobody notices."""
    port = house.clients[0].base_url.port or 0
    session = await log_in(house.clients[0], await register(house.clients[0]))

    with kind(tmp_path, [free_port(), port], behind.port) as proxy:
        async with client_of(proxy) as client:
            for _ in range(20):
                assert (await client.get("/", headers=session.bearer)).status_code == 200
                assert (await client.get(f"https://{SERVICE}{BASE}/me", headers=session.bearer)).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"), [("/verify", 401), ("/verify?require=x:y", 401), ("/verify/x", 403), ("/login", 403), ("", 403)]
)
async def test_by_the_socket_of_the_script_nothing_else_is_reached(
    house: Servers, behind: Application, tmp_path: Path, path: str, status: int
) -> None:
    """Any program of the machine can connect to it, and say that it comes from anywhere."""
    with HAProxy(tmp_path, [house.clients[0].base_url.port or 0] * 2, behind.port) as proxy:
        name = f"\0gatehouse-verify-{proxy.ports[APPLICATION]}".ljust(NAME_LENGTH, "\0")
        transport = AsyncHTTPTransport(uds=name)
        async with AsyncClient(transport=transport, base_url=f"http://{SERVICE}{BASE}", timeout=60) as client:
            assert (await client.get(path)).status_code == status


@pytest.mark.parametrize("fault", ["error('broken')", "os.exit = nil; nothing.at.all()", "while true do end"])
async def test_a_fault_of_the_script_lets_nobody_through(
    house: Servers, behind: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Where an action of Lua's fails, HAProxy goes on with the next line."""
    session = await log_in(house.clients[0], await register(house.clients[0]))
    before, lua = len(behind.reached), shipped.lua

    def faulty(places: Places) -> str:
        text = lua(places)
        assert "local function verify(txn)\n" in text
        return text.replace("local function verify(txn)\n", f"local function verify(txn)\n  {fault}\n")

    monkeypatch.setattr(shipped, "lua", faulty)
    with HAProxy(tmp_path, [house.clients[0].base_url.port or 0] * 2, behind.port) as proxy:
        async with client_of(proxy) as client:
            could_not_be_found_out(await client.get("/", headers=session.bearer))

    assert len(behind.reached) == before

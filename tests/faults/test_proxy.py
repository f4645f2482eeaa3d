"""The proxy fails as it says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from tests.faults.proxy import Mode, Proxy


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """The port of a server that says everything back."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(100):
                writer.write(b"<" + data)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def proxy(echo: int) -> AsyncIterator[Proxy]:
    async with Proxy(lambda: ("127.0.0.1", echo)) as proxy:
        yield proxy


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def says(self, text: bytes) -> bytes:
        self.writer.write(text)
        async with asyncio.timeout(5):
            return await self.reader.read(100)


@pytest.fixture
async def client(proxy: Proxy) -> AsyncIterator[Client]:
    client = Client(*await asyncio.open_connection("127.0.0.1", proxy.port))
    assert await client.says(b"hello") == b"<hello"
    yield client
    client.writer.transport.abort()


async def ended(client: Client) -> bool:
    try:
        return await client.says(b"anybody?") == b""
    except ConnectionError:
        return True


async def test_who_is_cut_off_loses_his_connection_and_gets_no_new_one(proxy: Proxy, client: Client) -> None:
    proxy.set(Mode.CUT)

    assert await ended(client)
    late = Client(*await asyncio.open_connection("127.0.0.1", proxy.port))
    assert await ended(late)
    late.writer.transport.abort()


@pytest.mark.parametrize(("mode", "held"), [(Mode.HANG, (1, 0)), (Mode.MUTE, (0, 1))])
async def test_what_hangs_arrives_when_it_is_over_and_a_mute_proxy_keeps_answers_alone(
    proxy: Proxy, client: Client, mode: Mode, held: tuple[int, int]
) -> None:
    proxy.set(mode)
    answer = asyncio.create_task(client.says(b"late"))
    await proxy.sees(lambda: (proxy.held_requests, proxy.held_answers) == held)
    assert not answer.done()

    proxy.set(Mode.PASS)

    assert await answer == b"<late"


async def test_a_slow_proxy_is_late_and_right(proxy: Proxy, client: Client) -> None:
    proxy.set(Mode.SLOW, delay_ms=1)

    assert await client.says(b"well") == b"<well"

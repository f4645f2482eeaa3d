"""What the service cannot bound by itself, the proxies do."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress

import pytest
from httpx import AsyncClient, ConnectError, ReadError

from tests.kit import BASE, problem, until
from tests.proxies.conftest import Connect
from tests.proxies.running import SERVICE, HAProxy, Proxy
from tests.wirekit import status_of

HEAD = f"POST {BASE}/login HTTP/1.1\r\nHost: {SERVICE}\r\nContent-Type: application/json\r\n"
HEADER_SECONDS, BODY_SECONDS = 10, 30  # as shipped
LATE = 5.0  # seconds; how much later than that a busy machine may be
UNDER_WAY = 100  # of one address
CONNECTIONS = 500  # of one address, where the proxy can count those that ask nothing
MIB = 1 << 20

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connected(proxy: Proxy, address: str = "127.0.0.7") -> Streams:
    """A connection, with its TLS."""
    context = ssl.create_default_context(cafile=proxy.certified.authority)
    return await asyncio.open_connection(
        "127.0.0.1", proxy.ports[SERVICE], ssl=context, server_hostname=SERVICE, local_addr=(address, 0)
    )


async def sent(proxy: Proxy, text: str, address: str = "127.0.0.7") -> Streams:
    reader, writer = await connected(proxy, address)
    writer.write(text.encode())
    await writer.drain()
    return reader, writer


async def said_to(streams: Streams) -> bytes:
    """An answer, or nothing where the connection is closed without one."""
    try:
        return await streams[0].read(65_536)
    except ConnectionError:
        return b""
    finally:
        streams[1].transport.abort()


async def seconds_until_told(streams: Streams) -> tuple[float, bytes]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    said = await said_to(streams)
    return loop.time() - began, said


async def drip(streams: Streams, piece: bytes) -> None:
    """A piece a second, for as long as it is taken."""
    with suppress(ConnectionError):
        while True:
            streams[1].write(piece)
            await streams[1].drain()
            await asyncio.sleep(1)


async def test_who_does_not_end_what_he_says_is_cut_off_in_time(proxy: Proxy, client: AsyncClient) -> None:
    """A header that does not end, however busily it goes on; a body that stops; one that never begins.

    HAProxy says 408, nginx nothing.
    """
    silent = await sent(proxy, "")
    stalled = await sent(proxy, HEAD)
    dripping = await sent(proxy, HEAD)
    half_a_body = await sent(proxy, HEAD + 'Content-Length: 1000\r\n\r\n{"username"')
    no_body = await sent(proxy, HEAD + "Content-Length: 1000\r\n\r\n")
    dripped = asyncio.create_task(drip(dripping, b"X-More: 1\r\n"))

    ends = await asyncio.gather(
        *(seconds_until_told(each) for each in (silent, stalled, dripping, half_a_body, no_body))
    )
    dripped.cancel()

    for seconds, said in ends[:3]:
        assert HEADER_SECONDS - 1 <= seconds < HEADER_SECONDS + LATE
        assert not said or status_of(said) == 408
    for seconds, said in ends[3:]:
        assert BODY_SECONDS - 1 <= seconds < BODY_SECONDS + LATE
        assert status_of(said) == 408 if isinstance(proxy, HAProxy) else not said
    assert (await client.get("/health/live")).status_code == 200


@pytest.mark.parametrize("line", ["Authorization: Bearer {}", "Cookie: a={}", "X-Long: {}"])
async def test_a_header_has_a_size(proxy: Proxy, line: str) -> None:
    """A token of 10 kB is one; 40 kB are too much, and the service does not get to see them."""
    text = f"GET {BASE}/me HTTP/1.1\r\nHost: {SERVICE}\r\nConnection: close\r\n{line}\r\n\r\n"

    served = await said_to(await sent(proxy, text.format("x" * 10_000)))
    refused = await said_to(await sent(proxy, text.format("x" * 40_000)))

    assert status_of(served) == 401
    assert b"x-request-id" in served.lower()
    assert status_of(refused) in {400, 431}
    assert b"x-request-id" not in refused.lower()


async def test_a_body_has_a_size(proxy: Proxy, client: AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100_000

    json = {"Content-Type": "application/json"}
    long = await client.post("/login", content=b"x" * (MIB + 1), headers=json)
    of_unknown_length = await client.post("/login", content=pieces(), headers=json)
    as_long_as_may_be = await client.post("/login", content=b" " * (MIB - 2) + b"{}", headers=json)
    bulky = f"POST {BASE}/users/import HTTP/1.1\r\nHost: {SERVICE}\r\nContent-Length: {128 * MIB + 1}\r\n\r\n"
    reader, writer = await sent(proxy, bulky)
    too_bulky = await reader.readuntil(b"\r\n")
    writer.transport.abort()

    assert long.status_code == of_unknown_length.status_code == status_of(too_bulky) == 413
    problem(as_long_as_may_be, 422, "validation_failed")


async def test_one_address_has_not_all_places_of_imports(proxy: Proxy, connect: Connect) -> None:
    """An import may take an hour, and a replica bears some few at a time; nginx bounds neither."""
    refusal = 429 if isinstance(proxy, HAProxy) else 401
    begun = f"POST {BASE}/users/import HTTP/1.1\r\nHost: {SERVICE}\r\nContent-Type: application/x-ndjson\r\n"
    held = await sent(proxy, begun + "Content-Length: 1000\r\n\r\n{", "127.0.0.53")
    mine, another = connect(address="127.0.0.53"), connect(address="127.0.0.54")

    async def is_refused() -> bool:
        return (await mine.post("/users/import", content=b"{}")).status_code == refusal

    await until(is_refused)
    assert (await another.post("/users/import", content=b"{}")).status_code == 401
    held[1].transport.abort()


async def test_one_address_has_so_many_requests_under_way_and_others_do_not_notice(
    proxy: Proxy, connect: Connect
) -> None:
    begun = HEAD + 'Content-Length: 1000\r\n\r\n{"username"'
    with ExitStack() as stack:
        # the readers, too: asyncio closes what nobody can read of any more
        held = [await sent(proxy, begun, "127.0.0.51") for _ in range(UNDER_WAY)]
        for _, writer in held:
            stack.callback(writer.transport.abort)

        mine, another = connect(address="127.0.0.51"), connect(address="127.0.0.52")
        await until(lambda: answered(mine, 429))  # all of them have arrived
        assert await answered(another, 200)

    await until(lambda: answered(mine, 200))


async def answered(client: AsyncClient, status: int) -> bool:
    return (await client.get("/health/live")).status_code == status


@pytest.mark.parametrize("kind", [HAProxy], scope="session")
async def test_one_address_has_so_many_connections_also_without_a_request(proxy: Proxy, connect: Connect) -> None:
    """Only HAProxy: nginx counts those alone that have asked for something, and gives the rest 10 s."""
    address = "127.0.0.61"
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(
                socket.create_connection(("127.0.0.1", proxy.ports[SERVICE]), source_address=(address, 0))
            )
        await until(lambda: cut_off(connect(address=address)))
        assert await answered(connect(address="127.0.0.62"), 200)


async def cut_off(client: AsyncClient) -> bool:
    try:
        await client.get("/health/live")
    except (ConnectError, ReadError):
        return True
    return False

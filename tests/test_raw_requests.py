"""Bytes that two readers might read as different requests, and other things no client sends, against a real worker.

Behind a proxy one connection carries many people's requests: what is one request to the proxy has to be one to us, and
an answer has to be that of its request. Each try is followed by a good request on the same connection: either the
connection ends with a refusal, or both are answered, in their order, and nothing else is.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.settings import Settings
from tests.kit import BASE
from tests.servers import Servers
from tests.wirekit import PATIENCE, Answer, Server, answers_in

PATH = f"{BASE}/health/live".encode()
POST = b"POST %s/login HTTP/1.1\r\nHost: x\r\nX-Request-ID: first\r\nContent-Type: application/json\r\n" % BASE.encode()
GET = b"GET %s HTTP/1.1\r\nHost: x\r\nX-Request-ID: first\r\n" % PATH
HIDDEN = b"GET %s HTTP/1.1\r\nHost: x\r\nX-Request-ID: hidden\r\n\r\n" % PATH
NEXT = b"GET %s HTTP/1.1\r\nHost: x\r\nX-Request-ID: next\r\nConnection: close\r\n\r\n" % PATH
SIZE = len(HIDDEN)
NONE = b"0\r\n\r\n"  # the last chunk
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
OLD = POST.replace(b"/1.1", b"/1.0")


def target(line: bytes) -> bytes:
    return line + b" HTTP/1.1\r\nHost: x\r\nX-Request-ID: first\r\n\r\n"


# Refused: one answer at most, and the connection ends.
REFUSED: dict[str, bytes] = {
    "a length and chunks": POST + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % SIZE + NONE + HIDDEN,
    "chunks and a length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + NONE + HIDDEN,
    "an unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n" + NONE + HIDDEN,
    "the coding of nothing": POST + b"Transfer-Encoding: identity\r\n\r\n" + HIDDEN,
    "chunks that are not last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n" + NONE + HIDDEN,
    "chunks with a parameter": POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n" + NONE + HIDDEN,
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n" + NONE + HIDDEN,
    "a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + NONE + HIDDEN,
    "quoted chunks": POST + b'Transfer-Encoding: "chunked"\r\n\r\n' + NONE + HIDDEN,
    "folded chunks": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + NONE + HIDDEN,
    "chunks behind a bare CR": POST + b"X: x\rTransfer-Encoding: chunked\r\n\r\n" + NONE + HIDDEN,
    "chunks in HTTP/1.0": OLD + b"Transfer-Encoding: chunked\r\n\r\n" + NONE + HIDDEN,
    "chunks and a length in HTTP/1.0": OLD + b"Transfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n" + NONE + HIDDEN,
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % SIZE + HIDDEN,
    "a list of lengths": POST + b"Content-Length: 0, %d\r\n\r\n" % SIZE + HIDDEN,
    "the same length in a list": POST + b"Content-Length: 2, 2\r\n\r\n{}" + HIDDEN,
    "a length with a plus": POST + b"Content-Length: +%d\r\n\r\n" % SIZE + HIDDEN,
    "a negative length": POST + b"Content-Length: -1\r\n\r\n" + HIDDEN,
    "a hexadecimal length": POST + b"Content-Length: 0x2\r\n\r\n{}" + HIDDEN,
    "a fractional length": POST + b"Content-Length: 2.0\r\n\r\n{}" + HIDDEN,
    "a length with a space in it": POST + b"Content-Length: 1 0\r\n\r\n{}" + HIDDEN,
    "a length of nothing": POST + b"Content-Length: \r\n\r\n" + HIDDEN,
    "a length of 2^64": POST + b"Content-Length: 18446744073709551616\r\n\r\n" + HIDDEN,
    "a folded length": POST + b"Content-Length:\r\n %d\r\n\r\n" % SIZE + HIDDEN,
    "a length before a space": POST + b"Content-Length : %d\r\n\r\n" % SIZE + HIDDEN,
    "a chunk of 2^68": CHUNKED + b"FFFFFFFFFFFFFFFFF\r\n" + HIDDEN,
    "a negative chunk": CHUNKED + b"-2\r\n{}\r\n" + NONE + HIDDEN,
    "a chunk with a plus": CHUNKED + b"+2\r\n{}\r\n" + NONE + HIDDEN,
    "a chunk of 0x2": CHUNKED + b"0x2\r\n{}\r\n" + NONE + HIDDEN,
    "a chunk that ends at LF": CHUNKED + b"2\n{}\n0\n\n" + HIDDEN,
    "a chunk longer than it says": CHUNKED + b"2\r\n{}XX" + NONE + HIDDEN,
    "a chunk shorter than it says": CHUNKED + b"1\r\n{}\r\n" + NONE + HIDDEN,
    "a chunk without a size": CHUNKED + b"\r\n{}\r\n" + NONE + HIDDEN,
    "a chunk extension with LF": CHUNKED + b"2;a\nxx\r\n{}\r\n" + NONE + HIDDEN,
    "a chunk extension of 70 kB": CHUNKED + b"2;" + b"a" * 70_000 + b"\r\n{}\r\n" + NONE,
    "20,000 trailers": CHUNKED + b"2\r\n{}\r\n0\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    "a folded header": GET + b"X: a\r\n b\r\n\r\n",
    "a space before the first header": b"GET %s HTTP/1.1\r\n X: y\r\nHost: x\r\n\r\n" % PATH,
    "a space before the method": b" " + GET + b"\r\n",
    "a control character in the method": target(b"GE\x01T " + PATH),
    "NUL in the path": target(b"GET /m\0e"),
    "a control character in the path": target(b"GET /m\x01e"),
    "DEL in the path": target(b"GET /m\x7fe"),
    "a tab in the path": target(b"GET /m\te"),
    "a space in the path": target(b"GET /m e"),
    "bytes that are no UTF-8 in the path": target(b"GET /\xff"),
    "no path": target(b"GET "),
    "a path of 100 kB": target(b"GET /" + b"a" * 100_000),
    "NUL in a header": GET + b"X: a\0b\r\n\r\n",
    "a control character in a header": GET + b"X: a\x01b\r\n\r\n",
    "a control character in a header's name": GET + b"X\x01: a\r\n\r\n",
    "a header without a name": GET + b": a\r\n\r\n",
    "a header without a colon": GET + b"nothing\r\n\r\n",
    "101 headers": GET + b"".join(b"X-%d: a\r\n" % number for number in range(101)) + b"\r\n",
    "HTTP/0.9": b"GET %s\r\n" % PATH,
    "HTTP/1.2": GET.replace(b"/1.1", b"/1.2") + b"\r\n",
    "HTTP/2.0": GET.replace(b"/1.1", b"/2.0") + b"\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "every byte": bytes(range(256)) * 10,
}

# Read as one request, and what it is answered by.
READ: dict[str, tuple[int, bytes]] = {
    "a body of GET": (200, GET + b"Content-Length: %d\r\n\r\n" % SIZE + HIDDEN),
    "chunks of GET": (200, GET + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (SIZE, HIDDEN) + NONE),
    "the same length twice": (422, POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}"),
    "a length with zeros": (422, POST + b"Content-Length: 0002\r\n\r\n{}"),
    "chunks in capitals": (422, POST + b"Transfer-Encoding: CHUNKED\r\n\r\n2\r\n{}\r\n" + NONE),
    "chunks between tabs": (422, POST + b"Transfer-Encoding:\tchunked\t\r\n\r\n2\r\n{}\r\n" + NONE),
    "chunks twice": (422, POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n" + NONE),
    "a chunk extension": (422, CHUNKED + b"2;a=b\r\n{}\r\n0;x\r\n\r\n"),
    "trailers": (422, CHUNKED + b"2\r\n{}\r\n0\r\nX-Request-ID: hidden\r\nContent-Length: 5\r\n\r\n"),
    "another host in the target": (401, target(b"GET http://evil.example%s/me" % BASE.encode())),
    "another scheme": (404, target(b"GET ftp://evil.example/")),
    "an asterisk": (404, target(b"GET *")),
    "an asterisk of OPTIONS": (404, target(b"OPTIONS *")),
    "CONNECT": (404, target(b"CONNECT evil.example:443")),
    "CONNECT to a path": (405, target(b"CONNECT " + PATH)),
    "TRACE": (405, target(b"TRACE " + PATH)),
    "an unknown method": (405, target(b"BREW " + PATH)),
    "a method in small letters": (405, target(b"get " + PATH)),
    "a method of 9 kB": (405, target(b"A" * 9000 + b" " + PATH)),
    "a path without a slash": (404, target(b"GET me")),
    "dots": (404, target(b"GET %s/../../../etc/passwd" % BASE.encode())),
    "half a percent sign": (404, target(b"GET /%zz%1")),
    "a fragment": (200, target(b"GET %s#x" % PATH)),
    "empty lines first": (200, b"\r\n\r\n" + GET + b"\r\n"),
    "100 kB of a header": (431, GET + b"X: " + b"a" * 100_000 + b"\r\n\r\n"),
    "95 headers": (200, GET + b"".join(b"X-%d: a\r\n" % number for number in range(95)) + b"\r\n"),
    "bytes that are no text in a header": (200, GET + b"X: \xff\xfe\r\n\r\n"),
    "HTTP/1.0": (200, GET.replace(b"/1.1", b"/1.0") + b"Connection: keep-alive\r\n\r\n"),
    "an upgrade to HTTP/2": (
        200,
        GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n",
    ),
    "an upgrade to nobody": (200, GET + b"Connection: Upgrade\r\nUpgrade: x\r\n\r\n"),
    "an unknown expectation": (422, POST + b"Expect: the-unexpected\r\nContent-Length: 2\r\n\r\n{}"),
}


@pytest.fixture(scope="module")
async def server(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    directory = tmp_path_factory.mktemp("raw")
    async with Servers(settings, directory, 1) as servers:
        yield Server(servers.clients[0], directory / "replica-0.log")


async def answers(server: Server, *sent: bytes) -> list[Answer]:
    """All that is answered until the connection ends; a refusal may cut off what is still being sent."""
    async with asyncio.timeout(PATIENCE):
        return answers_in(await server.exchange(*sent))


@pytest.mark.parametrize("name", REFUSED)
async def test_what_might_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_read(
    server: Server, name: str
) -> None:
    found = await answers(server, REFUSED[name] + NEXT)

    assert [answer.status for answer in found] in ([400], [414], [431], []), found
    assert {answer.id for answer in found} <= {"first", ""}
    await server.is_well()


@pytest.mark.parametrize("name", READ)
async def test_what_can_be_read_is_one_request_and_the_next_is_the_next(server: Server, name: str) -> None:
    status, sent = READ[name]

    found = await answers(server, sent + NEXT)

    assert [(answer.status, answer.id) for answer in found] == [(status, "first"), (200, "next")]
    await server.is_well()


async def test_requests_in_a_row_are_answered_in_their_order(server: Server) -> None:
    paths = {"health/live": 200, "me": 401, "nothing": 404, "verify": 401, "preferences": 401} | {"users": 401}
    asked = list(paths.items()) * 10
    row = [
        f"GET {BASE}/{path} HTTP/1.1\r\nHost: x\r\nX-Request-ID: n{number}\r\n\r\n".encode()
        for number, (path, _) in enumerate(asked)
    ]

    found = await answers(server, b"".join(row) + NEXT)

    expected = [(status, f"n{number}") for number, (_, status) in enumerate(asked)]
    assert [(answer.status, answer.id) for answer in found] == [*expected, (200, "next")]


async def test_a_body_of_an_absurd_length_is_not_waited_for_before_others_are_answered(server: Server) -> None:
    reader, writer = await server.connect()
    writer.write(CHUNKED + b"8000000000000000\r\n" + HIDDEN)
    await writer.drain()

    await server.is_well()

    writer.close()
    assert await reader.read() == b""


async def test_whoever_sends_headers_byte_by_byte_keeps_nobody_waiting(server: Server) -> None:
    slow = [await server.connect() for _ in range(50)]
    for number, byte in enumerate(GET + b"\r\n"):
        for _, writer in slow:
            writer.write(bytes([byte]))
        if number % 20 == 0:
            await server.is_well()

    async with asyncio.timeout(PATIENCE):
        heads = [await reader.readuntil(b"\r\n\r\n") for reader, _ in slow]
    for _, writer in slow:
        writer.close()
    assert all(head.startswith(b"HTTP/1.1 200 ") for head in heads)


async def test_connections_that_end_at_any_byte_harm_nobody(server: Server) -> None:
    whole = POST + b"Content-Length: 2\r\n\r\n{}"
    for cut in range(0, len(whole), 7):
        for half in (True, False):
            _, writer = await server.connect()
            writer.write(whole[:cut])
            if half:
                writer.write_eof()
            else:
                writer.transport.abort()
            writer.close()

    await server.is_well()


async def test_who_closes_his_half_gets_his_answer_or_none_and_nobody_elses(server: Server) -> None:
    reader, writer = await server.connect()
    writer.write(GET + b"Connection: close\r\n\r\n")
    writer.write_eof()

    async with asyncio.timeout(PATIENCE):
        found = answers_in(await reader.read())  # Granian takes the end of what is sent for the end of the connection
    writer.close()

    assert {answer.id for answer in found} <= {"first"}
    await server.is_well()


async def test_nothing_of_all_this_was_a_fault_of_ours(server: Server) -> None:
    await server.is_well()

    assert [line for line in server.lines() if line["level"] == "error"] == []

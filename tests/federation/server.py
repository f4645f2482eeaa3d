"""A real HTTP server in the loop of the test, that does what no library would let it do, and counts who asks."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs, parse_qsl

import msgspec

from tests.listener import Listener

REASON = b"Said"  # of the status line; nobody reads it


@dataclass(frozen=True)
class Asked:
    """A request as it came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]  # names in lower case
    content: bytes = field(repr=False)

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.content.decode(), keep_blank_values=True))

    @property
    def cookies(self) -> dict[str, str]:
        pairs = (pair.partition("=") for pair in self.headers.get("cookie", "").split(";"))
        return {name.strip(): value.strip() for name, _, value in pairs}


@dataclass
class Reply:
    """What is answered; a body in pieces is sent piece by piece, without a length, for as long as it goes on."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes | AsyncIterator[bytes] = b""


Handler = Callable[[Asked], Awaitable[Reply]]


def json(value: object, status: int = 200, **headers: str) -> Reply:
    content = msgspec.json.encode(value)
    return Reply(status, {"Content-Type": "application/json", "Cache-Control": "no-store", **headers}, content)


def redirect(to: str) -> Reply:
    return Reply(302, {"Location": to})


async def nothing(_: Asked) -> Reply:
    """Of a server that nobody should ask."""
    return Reply(204)


class Server(Listener):
    """Does one exchange a connection; with TLS if it is given a context.

    Args:
        handler: what answers; an error of its own fails the test that closes the server.
        context: what it has of an authority.
    """

    def __init__(self, handler: Handler = nothing, context: ssl.SSLContext | None = None) -> None:
        super().__init__(context)
        self._handler = handler
        self.errors: list[BaseException] = []
        self.connections = 0
        self.requests: list[Asked] = []

    @property
    def origin(self) -> str:
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}"

    @property
    def counts(self) -> Mapping[str, int]:
        """How often which path was asked for."""
        return Counter(asked.path for asked in self.requests)

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        assert self.errors == []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                asked = await _read(reader)
                self.requests.append(asked)
                await _write(writer, await self._handler(asked))
        except Exception as error:  # noqa: BLE001 - kept for who closes the server
            self.errors.append(error)
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Asked:
    first = await reader.readexactly(1)
    if not first.isalpha():  # somebody speaks TLS
        raise ConnectionResetError
    head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    content = await reader.readexactly(int(headers.get("content-length", "0")))
    path, _, query = target.partition("?")
    found = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
    return Asked(method, path, found, headers, content)


async def _write(writer: asyncio.StreamWriter, reply: Reply) -> None:
    headers = {"Connection": "close", **reply.headers}
    if isinstance(reply.content, bytes):
        headers.setdefault("Content-Length", str(len(reply.content)))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1")
    writer.write(b"HTTP/1.1 %d %b\r\n%b\r\n" % (reply.status, REASON, lines))
    if isinstance(reply.content, bytes):
        writer.write(reply.content)
    else:
        async for piece in reply.content:
            writer.write(piece)
            await writer.drain()
    await writer.drain()
    writer.close()
    await writer.wait_closed()


class Script:
    """Answers whatever the test says."""

    def __init__(self) -> None:
        self.reply = Reply(200, {"Content-Type": "application/json; charset=utf-8"}, b'{"a": 1}')

    async def __call__(self, _: Asked) -> Reply:
        return self.reply


# ---- bodies that go on ----------------------------------------------------------------------------------------------


async def whole(content: bytes) -> AsyncIterator[bytes]:
    """At once, and with no length before it."""
    yield content


async def endless(piece: bytes) -> AsyncIterator[bytes]:
    """As fast as it is read."""
    while True:
        yield piece


async def by_drops(content: bytes, over: asyncio.Event) -> AsyncIterator[bytes]:
    """Its first half byte by byte, and the rest when that is over."""
    for byte in content[: len(content) // 2]:
        yield bytes([byte])
        await asyncio.sleep(0)
    await over.wait()
    yield content[len(content) // 2 :]

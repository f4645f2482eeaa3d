"""A real server, spoken to by bytes, and its answers as they stand on the wire."""

import asyncio
import json
import re
from dataclasses import dataclass
from pathlib import Path

from httpx import AsyncClient

from tests.kit import BASE

JSON = f"POST {BASE}/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CLOSE = "Connection: close\r\n"
PATIENCE = 20.0  # seconds for an answer that a test waits for


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers.get("x-request-id", "")


class Server:
    """A server, spoken to by bytes, and its log."""

    def __init__(self, client: AsyncClient, log: Path) -> None:
        self.client = client
        self.log = log

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.client.base_url.port)

    async def exchange(self, head: str | bytes, *body: bytes) -> bytes:
        """All that is answered until the server closes, whether or not it lets us finish."""
        reader, writer = await self.connect()
        try:
            writer.write(head.encode() if isinstance(head, str) else head)
            for chunk in body:
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            pass
        try:
            return await reader.read()
        finally:
            writer.close()

    async def is_well(self) -> None:
        """The service goes on: a good request is answered, and no other one has been."""
        answer = await self.client.get("/health/live", headers={"X-Request-ID": "well"})
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        assert answer.headers["x-request-id"] == "well"

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def answers_in(stream: bytes) -> list[Answer]:
    """All answers, by the lengths that they give; what is no answer fails."""
    found = []
    while stream:
        head, separator, rest = stream.partition(b"\r\n\r\n")
        status, _, lines = head.partition(b"\r\n")
        match = re.fullmatch(rb"HTTP/1\.[01] (\d{3}) [\w -]*", status)
        assert match, stream
        assert separator
        headers = {name.decode().lower(): value.strip().decode() for name, _, value in map(split, lines.split(b"\r\n"))}
        length = int(headers.get("content-length", 0))
        assert len(rest) >= length, stream
        found.append(Answer(int(match[1]), headers, rest[:length]))
        stream = rest[length:]
    return found


def split(line: bytes) -> tuple[bytes, bytes, bytes]:
    return line.partition(b":")


def status_of(answer: bytes) -> int:
    match = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
    assert match, answer
    return int(match[1])


def code_of(answer: bytes) -> str:
    body = answer.rpartition(b"\r\n\r\n")[2]
    assert b"content-type: application/problem+json" in answer
    return str(json.loads(body)["code"])

"""HTTP/1.1, just enough: a connection for every request, so that the kernel gives it to any worker of the replica."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.settings import BASE

PATIENCE_SECONDS = 6.0  # a change may wait 1.1 s for its deletion, a statement 5 s; who gives up knows nothing


class NoAnswer(Exception):
    """The connection was refused, broke, or nothing came in time; the request may be served all the same."""


@dataclass
class Answer:
    status: int
    body: Any = field(default_factory=dict)


async def ask(
    port: int,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: object = None,
    timeout_seconds: float = PATIENCE_SECONDS,
) -> Answer:
    """One request.

    Raises:
        NoAnswer: whatever happened instead.
    """
    content = b"" if body is None else json.dumps(body).encode()
    lines = {"Host": "localhost", "Connection": "close", **(headers or {})}
    if content:
        lines |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"{method} {BASE}{path} HTTP/1.1\r\n{head}\r\n".encode() + content)
            return _read(await reader.read(-1))
    except (OSError, TimeoutError, ValueError) as error:
        raise NoAnswer(repr(error)) from error
    finally:
        if writer is not None:
            writer.transport.abort()


def _read(raw: bytes) -> Answer:
    """Raises ValueError for an answer that was cut off."""
    head, separator, content = raw.partition(b"\r\n\r\n")
    if not separator:
        raise ValueError(raw)
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    if len(content) < int(fields.get(b"content-length", b"0")):
        raise ValueError(raw)
    return Answer(int(head[9:12]), json.loads(content) if content.strip() else {})

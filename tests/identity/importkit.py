"""What the tests of imports do over and over."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from httpx import AsyncClient, Response

from tests.kit import SignedIn, new_name

NDJSON = {"Content-Type": "application/x-ndjson"}


def ndjson(*lines: object) -> bytes:
    """A line each; bytes as they are."""
    return b"".join((each if isinstance(each, bytes) else msgspec.json.encode(each)) + b"\n" for each in lines)


async def in_pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def send(session: SignedIn, body: Any, *, at: AsyncClient | None = None) -> Response:
    return await session.ask("POST", "/users/import", at=at, content=body, headers=NDJSON, timeout=60)


def report(answer: Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return [msgspec.json.decode(line) for line in answer.content.splitlines()]


async def take(session: SignedIn, *lines: object, at: AsyncClient | None = None) -> list[dict[str, Any]]:
    """Import these lines; the report."""
    return report(await send(session, ndjson(*lines), at=at))


async def code(session: SignedIn, line: object) -> Any:
    """The error that this line is."""
    (found,) = await take(session, line)
    assert found["status"] == "error", found
    assert found["message"]
    return found["code"]


async def shown(admin: SignedIn, user_id: int) -> dict[str, Any]:
    found: dict[str, Any] = (await admin.ask("GET", f"/users/{user_id}")).json()
    return found


def new_line(**fields: object) -> dict[str, object]:
    return {"username": new_name(), **fields}

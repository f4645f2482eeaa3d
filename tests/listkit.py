"""Lists of administration, asked for."""

from typing import Any

from httpx import Response

from tests.kit import SignedIn


async def listed(path: str, admin: SignedIn, **query: object) -> Response:
    return await admin.ask("GET", path, params={name: str(value) for name, value in query.items()})


async def page(path: str, admin: SignedIn, **query: object) -> dict[str, Any]:
    answer = await listed(path, admin, **query)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body

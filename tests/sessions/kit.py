"""The list of everybody's sessions, asked for."""

from typing import Any

from httpx import Response

from tests.kit import SignedIn


async def listed(admin: SignedIn, **query: object) -> Response:
    return await admin.ask("GET", "/sessions", params={name: str(value) for name, value in query.items()})


async def page(admin: SignedIn, **query: object) -> dict[str, Any]:
    answer = await listed(admin, **query)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def ids(admin: SignedIn, **query: object) -> list[str]:
    """Of all who fit, which are on one page."""
    body = await page(admin, **query)
    assert body["total"] == len(body["items"])
    return [item["id"] for item in body["items"]]

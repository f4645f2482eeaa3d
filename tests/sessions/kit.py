"""The list of everybody's sessions, asked for."""

from functools import partial

from tests import listkit
from tests.kit import SignedIn

listed, page = partial(listkit.listed, "/sessions"), partial(listkit.page, "/sessions")


async def ids(admin: SignedIn, **query: object) -> list[str]:
    """Of all who fit, which are on one page."""
    body = await page(admin, **query)
    assert body["total"] == len(body["items"])
    return [item["id"] for item in body["items"]]

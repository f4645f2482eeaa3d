"""The list of users, asked for, and users on it."""

from functools import partial
from typing import Any

from app.parts import Parts
from tests import listkit

SORTS = ["username", "email", "created_at", "last_login"]

listed, page = partial(listkit.listed, "/users"), partial(listkit.page, "/users")


def names(body: dict[str, Any]) -> list[str]:
    return [item["username"] for item in body["items"]]


async def add(parts: Parts, username: str, **columns: object) -> int:
    """A user with these columns, as no route could make one."""
    given = {"username": username, **columns}
    marks = ", ".join(f"${number + 1}" for number in range(len(given)))
    row = await parts.db.fetchrow(
        f"INSERT INTO users ({', '.join(given)}) VALUES ({marks}) RETURNING id", *given.values()
    )
    assert row is not None
    user_id: int = row["id"]
    return user_id

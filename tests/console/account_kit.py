"""Somebody's own account, asked about beside its pages."""

import html
from typing import Any

from httpx import AsyncClient, Response

from app.parts import Parts
from tests.console.kit import ACCESS
from tests.console.visitor import Visitor
from tests.identity import factorkit
from tests.kit import SignedIn

ACCOUNT = "/console/account"


def session_of(visitor: Visitor, client: AsyncClient) -> SignedIn:
    """The visitor's session, for a client of the API."""
    session = SignedIn(client, {"access_token": visitor.cookies[ACCESS]})
    session.body |= {"session_id": session.claims["sid"], "user": {"id": int(session.claims["sub"])}}
    return session


async def signed_in_long_ago(visitor: Visitor, client: AsyncClient, parts: Parts) -> None:
    await factorkit.long_ago(parts, session_of(visitor, client))


async def went(visitor: Visitor, answer: Response, to: str) -> str:
    """What the page says that a form has led to."""
    assert (answer.status_code, answer.headers.get("location")) == (303, to), text_of(answer)
    return text_of(await visitor.get(to))


def text_of(answer: Response) -> str:
    """The page as it is read; a tag is what it was."""
    return html.unescape(answer.text)


def asks_who(answer: Response, then: str) -> None:
    """The way leads over the page that asks who one is."""
    assert (answer.status_code, answer.headers.get("location")) == (303, f"/console/confirm?next={then}")


def missing(answer: Response) -> None:
    """A page that says that there is none."""
    assert answer.status_code == 404, answer.text
    assert "There is no such page" in answer.text, answer.text


async def me(visitor: Visitor, client: AsyncClient) -> dict[str, Any]:
    answer = await session_of(visitor, client).ask("GET", "/me")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found

"""What tests do over and over: make people, sign them in, ask as them; by HTTP alone, but for a look at locks."""

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from httpx import AsyncClient, Response

from app.parts import Parts

BASE = "/api/auth/v2"

_hosts = itertools.count(1)


def new_ip() -> str:
    """An address that no other test uses, so that no test is refused for what another one did."""
    number = next(_hosts)
    return f"100.{64 + (number >> 16) % 64}.{(number >> 8) & 255}.{number & 255}"


def new_name(prefix: str = "user") -> str:
    return f"{prefix}-{secrets.token_hex(5)}"


def new_password() -> str:
    return f"{secrets.token_urlsafe(12)}-Zebra"


def from_ip(ip: str | None = None) -> dict[str, str]:
    return {"X-Forwarded-For": ip or new_ip()}


@dataclass
class Person:
    id: int
    username: str
    password: str
    email: str | None = None


@dataclass
class SignedIn:
    """A session as its client holds it."""

    client: AsyncClient
    body: dict[str, Any]

    @property
    def access(self) -> str:
        return str(self.body["access_token"])

    @property
    def refresh_token(self) -> str:
        return str(self.body["refresh_token"])

    @property
    def claims(self) -> dict[str, Any]:
        """What the access token says."""
        said: dict[str, Any] = jwt.decode(self.access, options={"verify_signature": False})
        return said

    @property
    def id(self) -> str:
        return str(self.body["session_id"])

    @property
    def user_id(self) -> int:
        return int(self.body["user"]["id"])

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access}"}

    async def ask(self, method: str, path: str, *, at: AsyncClient | None = None, **kwargs: Any) -> Response:
        headers = {**self.bearer, **kwargs.pop("headers", {})}
        return await (at or self.client).request(method, path, headers=headers, **kwargs)

    async def refreshed(self, at: AsyncClient | None = None) -> "SignedIn":
        answer = await (at or self.client).post(
            "/refresh", json={"refresh_token": self.refresh_token}, headers=from_ip()
        )
        assert answer.status_code == 200, answer.text
        return SignedIn(self.client, answer.json())


async def register(client: AsyncClient, **fields: Any) -> Person:
    username, password = fields.pop("username", new_name()), fields.pop("password", new_password())
    body = {"username": username, "password": password, **fields}
    answer = await client.post("/register", json=body, headers=from_ip())
    assert answer.status_code == 201, answer.text
    return Person(answer.json()["id"], username, password, fields.get("email"))


async def log_in(client: AsyncClient, person: Person, **fields: Any) -> SignedIn:
    headers = from_ip(fields.pop("ip", None))
    body = {"username": person.username, "password": person.password, **fields}
    answer = await client.post("/login", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return SignedIn(client, answer.json())


def problem(answer: Response, status: int, code: str) -> dict[str, Any]:
    """The problem that this answer has to be."""
    assert answer.status_code == status, f"{answer.status_code}: {answer.text}"
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["code"] == code, body
    assert body["status"] == status
    assert {"type", "title", "detail", "request_id"} <= set(body)
    assert body["request_id"] == answer.headers["x-request-id"]
    return body


async def blocked_on_a_lock(parts: Parts) -> None:
    """Returns once somebody waits for a lock in this database."""
    query = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with asyncio.timeout(10):
        while not await parts.db.fetch(query):
            await asyncio.sleep(0.01)


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Returns once it is so; the bound is for a test that fails."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if isinstance(found, Awaitable):
                found = await found
            if found:
                return
            await asyncio.sleep(0.01)


def before_call(
    patch: pytest.MonkeyPatch, owner: object, name: str, number: int, deed: Callable[[], Awaitable[None]]
) -> list[int]:
    """Have a deed done before this call of a function, counted from 1; the list counts the calls."""
    function, calls = getattr(owner, name), list[int]()

    async def called(*args: Any) -> Any:
        calls.append(len(calls) + 1)
        if len(calls) == number:
            await deed()
        return await function(*args)

    patch.setattr(owner, name, called)
    return calls

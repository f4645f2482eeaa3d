"""Another service as the tests make it: a client that asks about tokens."""

from dataclasses import dataclass
from typing import Any

from httpx import AsyncClient, BasicAuth, Response

from app.parts import Parts
from tests.kit import new_name

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class Service:
    """Asks by HTTP Basic, at one of several replicas."""

    at: AsyncClient
    id: str
    secret: str

    @property
    def basic(self) -> BasicAuth:
        return BasicAuth(self.id, self.secret)

    @property
    def form(self) -> dict[str, str]:
        return {"client_id": self.id, "client_secret": self.secret}

    async def ask(self, path: str, token: str, *, at: AsyncClient | None = None, **fields: str) -> Response:
        return await (at or self.at).post(path, data={"token": token, **fields}, auth=self.basic)

    async def introspect(self, token: str, *, at: AsyncClient | None = None, **fields: str) -> dict[str, Any]:
        answer = await self.ask("/introspect", token, at=at, **fields)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        body: dict[str, Any] = answer.json()
        return body

    async def revoke(self, token: str, *, at: AsyncClient | None = None, **fields: str) -> None:
        answer = await self.ask("/revoke", token, at=at, **fields)
        assert answer.status_code == 200, answer.text
        assert answer.content == b""


async def registered(at: AsyncClient, parts: Parts) -> Service:
    made = await parts.clients.add(new_name("service"))
    return Service(at, made.client_id, made.client_secret)

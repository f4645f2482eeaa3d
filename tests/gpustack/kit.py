"""What tests of GPUStack's users do over and over, on an application with stores of its own."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from httpx import AsyncClient, Response

from app.gpustack.instance import State
from app.identity.accounts import create_first_admin
from app.parts import Gpustack
from tests.conftest import ADMIN
from tests.gpustack.upstream import PASSWORD, Upstream
from tests.kit import SignedIn, from_ip, log_in, until
from tests.replica import Replica

Begin = Callable[..., Awaitable["Gatehouse"]]


@dataclass
class Gatehouse:
    """An application that has found its GPUStack in order, with ADMIN in it."""

    replica: Replica
    admin: SignedIn

    @classmethod
    async def begun(cls, replica: Replica) -> "Gatehouse":
        await create_first_admin(replica.parts.db, replica.parts.passwords, ADMIN.username, ADMIN.password)
        found = cls(replica, await log_in(replica.client, ADMIN))
        await found.sees(State.OK)
        return found

    @property
    def client(self) -> AsyncClient:
        return self.replica.client

    @property
    def gpustack(self) -> Gpustack:
        assert self.replica.parts.gpustack is not None
        return self.replica.parts.gpustack

    async def sees(self, state: State) -> None:
        await until(lambda: self.gpustack.instance.state is state, 60)

    async def try_login(self, username: str, password: str = PASSWORD, ip: str | None = None) -> Response:
        body = {"username": username, "password": password}
        return await self.client.post("/login", json=body, headers=from_ip(ip))

    async def login(self, username: str, password: str = PASSWORD) -> SignedIn:
        answer = await self.try_login(username, password)
        assert answer.status_code == 200, answer.text
        return SignedIn(self.client, answer.json())

    async def sync(self) -> dict[str, Any]:
        answer = await self.admin.ask("POST", "/providers/gpustack/sync")
        assert answer.status_code == 200, answer.text
        return {name: value for name, value in answer.json().items() if value and name != "duration_ms"}

    async def user(self, user_id: int) -> dict[str, Any]:
        answer = await self.admin.ask("GET", f"/users/{user_id}")
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def events(self, user_id: int) -> list[tuple[str, dict[str, Any]]]:
        rows = await self.replica.parts.db.fetch(
            "SELECT event, details FROM audit_events WHERE user_id = $1 ORDER BY at, id", user_id
        )
        return [(row["event"], msgspec.json.decode(row["details"])) for row in rows]


def settings_of(upstream: Upstream, **others: Any) -> dict[str, Any]:
    """No list is read but when a test asks for it."""
    return {
        "gpustack_url": upstream.url,
        "gpustack_api_key": upstream.key,
        "gpustack_sync_minutes": 0,
        "rate_limit_login": None,
        **others,
    }

"""The outermost ring: bodies that stall, answers that begin before their body was read."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from httpx import AsyncClient
from litestar import asgi
from litestar.types import Receive, Scope, Send

from app import body
from app.errors import ClientGone
from app.main import at_the_edge, create_app
from app.settings import Settings
from tests.kit import BASE, Person, SignedIn, problem
from tests.replica import Replica, http

JSON = {"Content-Type": "application/json"}


async def stalled() -> AsyncIterator[bytes]:
    """A body whose client falls silent."""
    yield b"{"
    await asyncio.Event().wait()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "MAX_STALL_SECONDS", 0.05)


@pytest.mark.usefixtures("impatient")
async def test_bodies_that_stall_end_their_connections(client: AsyncClient) -> None:
    answers = await asyncio.gather(*(client.post("/login", content=stalled(), headers=JSON) for _ in range(3)))

    for answer in answers:
        problem(answer, 408, "request_timeout")
        assert answer.headers["connection"] == "close"


@pytest.mark.usefixtures("impatient")
async def test_a_body_that_trickles_for_ever_ends_its_connection(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "MAX_BODY_SECONDS", 0.1)

    async def trickle() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.001)  # that is what it is about

    answer = await client.post("/login", content=trickle(), headers=JSON)

    problem(answer, 408, "request_timeout")


@pytest.mark.usefixtures("impatient")
async def test_an_answer_ends_although_its_body_stalls_meanwhile(client: AsyncClient) -> None:
    problem(await client.request("GET", "/me", content=stalled()), 401, "not_authenticated")


async def test_an_answer_does_not_wait_for_ever_for_a_body_that_nobody_reads(
    client: AsyncClient, session: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "MAX_DRAIN_SECONDS", 0.01)

    refused = await client.request("GET", "/me", content=stalled())
    answered = await session.ask("GET", "/me", content=stalled())

    problem(refused, 401, "not_authenticated")
    assert answered.json()["id"] == session.user_id


async def test_a_body_that_is_read_after_the_answer_has_begun_is_read_whole(settings: Settings) -> None:
    @asgi("/echo", exclude_from_auth=True, copy_scope=False)
    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        more = True
        while more:
            message = await receive()
            assert message["type"] == "http.request"
            more = message["more_body"]
            await send({"type": "http.response.body", "body": message["body"], "more_body": more})

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(10):
            yield b"%d," % number

    async with http(at_the_edge(create_app(settings, route_handlers=[echo]))) as client:
        answer = await client.post("https://auth.example.test/echo", content=pieces())

    assert answer.text == "0,1,2,3,4,5,6,7,8,9,"


async def test_bodies_that_are_under_way_have_a_bound_together(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "MAX_HELD_BYTES", 1000)
    halfway, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b" " * 900
        halfway.set()
        await go_on.wait()
        yield b"{}"

    first = asyncio.create_task(client.post("/refresh", content=slow(), headers=JSON))
    await halfway.wait()
    problem(await client.post("/refresh", content=b" " * 200 + b"{}", headers=JSON), 503, "overloaded")
    go_on.set()

    problem(await first, 422, "validation_failed")
    problem(await client.post("/refresh", content=b" " * 990 + b"{}", headers=JSON), 422, "validation_failed")


async def test_who_has_gone_is_not_worked_for() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()
    messages = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        await begun.wait()
        return messages.pop(0)

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(ClientGone):
        await body.while_connected(receive, work())

    assert ended.is_set()


async def test_who_stays_has_his_answer() -> None:
    async def receive() -> Any:
        await asyncio.Event().wait()

    async def work() -> str:
        return "done"

    assert await body.while_connected(receive, work()) == "done"


async def test_a_login_whose_client_has_gone_is_counted_as_that(shared: Replica, ada: Person) -> None:
    sent = json.dumps({"username": ada.username, "password": "not-the-Password-9"}).encode()
    messages = [{"type": "http.request", "body": sent, "more_body": False}, {"type": "http.disconnect"}]
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(sent))]
    path = f"{BASE}/login"
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b""}
    answers: list[Any] = []

    def counted() -> float:
        reason = {"reason": "client_gone"}
        return shared.parts.metrics.registry.get_sample_value("auth_login_failure_total", reason) or 0.0

    before = counted()

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        answers.append(message)

    async with shared.parts.db.transaction() as tx:  # which its first look waits for
        await tx.execute("LOCK TABLE users")
        await shared.edge({**scope, "headers": headers}, receive, send)  # type: ignore[arg-type]

    assert answers[0]["status"] == 499
    assert counted() == before + 1

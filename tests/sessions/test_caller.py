"""What a request costs: with a warm cache one shared round trip, no SQL, no signature check."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from httpx import AsyncClient, Response
from litestar import get

from app import logs
from app.cli.embedded import Valkey
from app.parts import Parts
from app.sessions import authenticator
from app.sessions.caller import Caller, OptionalCaller, requires
from app.sessions.structs import SessionEntry
from app.sessions.tokens import AccessTokens, Claims
from app.settings import Settings
from tests.kit import Person, SignedIn, log_in, problem, register
from tests.replica import Start, serving


async def commands(parts: Parts) -> dict[str, int]:
    """How often each command ran in Valkey, by its own count."""
    async with parts.entries.links.use() as link:
        stats = await link.client.info("commandstats")
    return {name.removeprefix("cmdstat_"): int(each["calls"]) for name, each in stats.items()}


class Spy:
    """Counts what requests ask the pool for, and the signatures that are checked."""

    def __init__(self, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
        self.connections = 0
        self.signatures = 0
        acquire, decode = parts.db.connection, AccessTokens.verify

        @asynccontextmanager
        async def counted() -> AsyncIterator[object]:
            self.connections += bool(logs.request_id.get())  # what runs beside requests has none
            async with acquire() as connection:
                yield connection

        async def verified(tokens: AccessTokens, token: str) -> Claims:
            self.signatures += 1
            return await decode(tokens, token)

        monkeypatch.setattr(parts.db, "connection", counted)
        monkeypatch.setattr(AccessTokens, "verify", verified)


async def ask(session: SignedIn, times: int) -> list[Response]:
    """So many requests at once, `/me` and `/verify` in turn."""
    return await asyncio.gather(*(session.ask("GET", ("/me", "/verify")[n % 2]) for n in range(times)))


async def test_a_warm_request_asks_valkey_once_together_with_all_others(
    client: AsyncClient, ada: Person, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = [await log_in(client, person) for person in (ada, await register(client), await register(client))]
    for session in sessions:
        await ask(session, 2)
    spy = Spy(parts, monkeypatch)
    costs = []
    for _ in range(3):  # the best counts: an entry may just have reached the end of its life
        before, connections = (await commands(parts))["mget"], spy.connections
        answers = await asyncio.gather(*(ask(session, 30) for session in sessions))
        assert {answer.status_code for each in answers for answer in each} == {200}
        costs.append((spy.connections - connections, (await commands(parts))["mget"] - before))

    assert spy.signatures == 0
    connections, lookups = min(costs)
    assert connections == 0
    assert lookups <= 3  # 90 requests: those that came while one MGET was under way share the next


async def test_a_token_is_verified_once_by_a_process(
    session: SignedIn, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(parts, monkeypatch)

    for _ in range(5):
        await session.ask("GET", "/me")

    assert spy.signatures == 1


async def test_only_so_many_tokens_are_remembered(
    session: SignedIn, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authenticator, "REMEMBERED_TOKENS", len(parts.authenticator._known))

    assert (await session.ask("GET", "/me")).status_code == 200

    assert session.access in parts.authenticator._known
    assert len(parts.authenticator._known) == authenticator.REMEMBERED_TOKENS


async def put(parts: Parts, key: str, value: bytes) -> None:
    async with parts.entries.links.use() as link:
        await link.client.set(link.key(key), value)


async def test_an_entry_that_is_not_what_it_should_be_is_a_miss(
    session: SignedIn, admin: SignedIn, parts: Parts
) -> None:
    """Garbage, another type, another user's entry, an entry behind: each is looked up anew, and mended."""
    session_key, user_key = f"s:{session.id}", f"u:{session.user_id}"
    others = msgspec.msgpack.encode(SessionEntry(admin.user_id, 5, 0, ["pwd"]))
    await admin.ask("GET", "/me")
    async with parts.entries.links.use() as link:
        admins = await link.client.get(link.key(f"u:{admin.user_id}"))
    for key, value in (
        (session_key, b"=garbage"),
        (session_key, b"no mark"),
        (session_key, b""),
        (session_key, b"=" + others),
        (user_key, b"=garbage"),
        (user_key, admins),
        ("r:table", b"=999999"),
    ):
        await put(parts, key, value)

        answer = await session.ask("GET", "/me")

        assert answer.status_code == 200, (key, value, answer.text)
        assert answer.json()["id"] == session.user_id
        assert answer.json()["is_admin"] is False


async def test_a_key_of_another_type_gives_way(session: SignedIn, parts: Parts) -> None:
    for key in (f"s:{session.id}", f"u:{session.user_id}", "r:table"):
        async with parts.entries.links.use() as link:
            await link.client.delete(link.key(key))
            await link.client.lpush(link.key(key), "one", "two")  # type: ignore[misc]

        assert (await session.ask("GET", "/me")).status_code == 200

        async with parts.entries.links.use() as link:
            assert await link.client.type(link.key(key)) == b"string"


async def test_a_dead_sessions_token_is_refused_whatever_its_entry_lacks(session: SignedIn, parts: Parts) -> None:
    again = await session.refreshed()
    assert (await again.ask("GET", "/me")).status_code == 200
    await parts.db.execute("UPDATE sessions SET generation = 0 WHERE id = $1", session.id)  # an older dump came back
    async with parts.entries.links.use() as link:
        await link.client.delete(link.key(f"s:{session.id}"))

    problem(await again.ask("GET", "/me"), 401, "session_revoked")
    assert (await session.ask("GET", "/me")).status_code == 200


async def test_a_token_of_another_user_for_a_live_session_is_refused(
    client: AsyncClient, session: SignedIn, parts: Parts
) -> None:
    other = await log_in(client, await register(client))
    await parts.db.execute("UPDATE sessions SET user_id = $2 WHERE id = $1", session.id, other.user_id)

    problem(await session.ask("GET", "/me"), 401, "session_revoked")


@get("/mine", summary="Mine")
async def mine(caller: Caller) -> dict[str, int]:
    return {"user_id": caller.user_id}


@get("/perhaps", exclude_from_auth=True, summary="Perhaps")
async def perhaps(optional_caller: OptionalCaller) -> dict[str, int | None]:
    return {"user_id": optional_caller.user_id if optional_caller else None}


@get("/orders", guards=[requires("users:read")], summary="Orders")
async def orders(caller: Caller) -> dict[str, bool]:
    return {"may": caller.may("users:read")}


async def test_an_applications_own_routes_know_their_caller(
    settings: Settings, session: SignedIn, admin: SignedIn
) -> None:
    async with serving(settings, [mine, perhaps, orders]) as replica:
        client = replica.client
        client.base_url = "https://auth.example.test"
        assert (await session.ask("GET", "/mine", at=client)).json() == {"user_id": session.user_id}
        problem(await client.get("/mine"), 401, "not_authenticated")
        assert (await client.get("/perhaps")).json() == {"user_id": None}
        assert (await session.ask("GET", "/perhaps", at=client)).json() == {"user_id": session.user_id}
        problem(await client.get("/perhaps", headers={"Authorization": "Bearer x.y.z"}), 401, "invalid_token")
        problem(await session.ask("GET", "/orders", at=client), 403, "forbidden")
        assert (await admin.ask("GET", "/orders", at=client)).json() == {"may": True}


async def test_who_has_to_change_the_password_is_no_caller_of_an_application(
    settings: Settings, session: SignedIn, parts: Parts
) -> None:
    await parts.db.execute("UPDATE users SET must_change_password = true WHERE id = $1", session.user_id)
    await parts.entries.forget(f"u:{session.user_id}")
    async with serving(settings, [mine, perhaps]) as replica:
        client = replica.client
        client.base_url = "https://auth.example.test"
        for path in ("/mine", "/perhaps"):
            problem(await session.ask("GET", path, at=client), 403, "password_change_required")


async def test_without_valkey_postgresql_answers_and_nobody_is_logged_out(start: Start, own_valkey: Valkey) -> None:
    client = (await start()).client
    ada = await register(client)
    session = await log_in(client, ada)

    own_valkey.stop()

    assert (await session.ask("GET", "/me")).status_code == 200
    assert (await session.refreshed()).id == session.id
    assert (await log_in(client, ada)).user_id == ada.id
    assert (await session.ask("POST", "/logout")).status_code == 204
    problem(await session.ask("GET", "/me"), 401, "session_revoked")

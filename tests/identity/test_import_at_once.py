"""Imports and whatever else is done to the same people at the same moment."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import pytest
from httpx import AsyncClient, ReadError, RemoteProtocolError

from app.database import DatabaseUnavailable
from app.identity import imports, queries
from app.identity.import_batch import Batch
from app.parts import Parts
from app.sessions.structs import user_key
from tests.conftest import ADMIN, Twins
from tests.identity.importkit import ndjson, new_line, report, send, shown, take
from tests.identity.kit import person
from tests.kit import Person, SignedIn, blocked_on_a_lock, log_in, new_name, new_password, problem, until

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


async def test_of_fifty_imports_of_one_file_over_two_replicas_one_makes_each_user(
    admin: SignedIn, replicas: list[AsyncClient], parts: Parts
) -> None:
    lines = [new_line(email=f"{new_name()}@example.org") for _ in range(10)]
    orders = (lines, lines[::-1])

    reports = await asyncio.gather(
        *(take(admin, *orders[number // 2 % 2], at=replicas[number % 2]) for number in range(50))
    )

    statuses = Counter(each["status"] for found in reports for each in found)
    assert statuses == {"created": 10, "skipped": 490}
    names = [str(line["username"]) for line in lines]
    assert len(await parts.db.fetch("SELECT FROM users WHERE username = ANY($1)", names)) == 10
    rows = await parts.db.fetch(
        "SELECT FROM audit_events e JOIN users u ON u.id = e.user_id WHERE username = ANY($1)", names
    )
    assert len(rows) == 10


async def test_two_imports_of_a_long_file_make_every_user_once(admin: SignedIn, replicas: list[AsyncClient]) -> None:
    lines = [new_line(full_name="Ada") for _ in range(700)]

    here, there = await asyncio.gather(*(take(admin, *lines, at=at) for at in replicas))

    assert all({a["status"], b["status"]} == {"created", "skipped"} for a, b in zip(here, there, strict=True))
    assert [each["id"] for each in here] == [each["id"] for each in there]


async def test_what_was_imported_before_its_client_went_stays(
    admin: SignedIn, replicas: list[AsyncClient], parts: Parts
) -> None:
    lines = [new_line() for _ in range(300)]

    async def there() -> bool:
        name = lines[0]["username"]
        return bool(await parts.db.fetch("SELECT FROM users WHERE username = $1", name))

    async def cut_off() -> AsyncIterator[bytes]:
        yield ndjson(*lines[:260])
        await until(there)
        raise ConnectionError

    with pytest.raises((ConnectionError, ReadError, RemoteProtocolError)):
        await send(admin, cut_off(), at=replicas[0])
    said = await take(admin, *lines)

    assert Counter(each["status"] for each in said) == {"skipped": 250, "created": 50}


async def test_who_is_made_at_the_same_moment_is_changed(admin: SignedIn, parts: Parts) -> None:
    line = new_line(full_name="Ada")
    async with parts.db.transaction() as tx:
        user_id = await queries.add(tx, username=str(line["username"]), email=None, full_name=None, password_hash=None)
        taking = asyncio.create_task(take(admin, line))
        await blocked_on_a_lock(parts)

    assert await taking == [{"line": 1, "status": "updated", "id": user_id}]
    assert user_id is not None
    assert (await shown(admin, user_id))["full_name"] == "Ada"


async def test_who_is_made_at_every_moment_is_told_to_be_imported_again(
    admin: SignedIn, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "TRIES", 1)
    line = new_line()
    async with parts.db.transaction() as tx:
        await queries.add(tx, username=str(line["username"]), email=None, full_name=None, password_hash=None)
        taking = asyncio.create_task(take(admin, line))
        await blocked_on_a_lock(parts)

    (said,) = await taking
    assert (said["status"], said["code"]) == ("error", "conflict")


async def test_who_is_deleted_at_the_same_moment_is_made_with_his_password(
    client: AsyncClient, admin: SignedIn, parts: Parts, ada: Person
) -> None:
    password = new_password()
    async with parts.db.transaction() as tx:
        await queries.delete(tx, ada.id)
        taking = asyncio.create_task(take(admin, {"username": ada.username, "password": password}))
        await blocked_on_a_lock(parts)

    (said,) = await taking
    assert said["status"] == "created"
    assert said["id"] != ada.id
    await log_in(client, Person(said["id"], ada.username, password))


async def test_an_address_that_is_taken_at_the_same_moment_is_taken(
    admin: SignedIn, parts: Parts, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "PAUSE", 0.0)
    address = f"{new_name()}@example.org"
    async with parts.db.transaction() as tx:
        await queries.add(tx, username=new_name(), email=address, full_name=None, password_hash=None)
        taking = asyncio.create_task(take(admin, {"username": ada.username, "email": address}, new_line()))
        await blocked_on_a_lock(parts)

    said = await taking
    assert [each.get("code") for each in said] == ["email_taken", None]


async def test_a_batch_that_has_lost_a_deadlock_is_tried_again(
    admin: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "PAUSE", 0.0)
    write, losses = Batch.write, 2

    async def lose(batch: Batch, *args: object) -> object:
        nonlocal losses
        losses -= 1
        if losses >= 0:
            raise asyncpg.DeadlockDetectedError
        return await write(batch, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Batch, "write", lose)
    assert [each["status"] for each in await take(admin, new_line())] == ["created"]

    losses = 3
    problem(await send(admin, ndjson(new_line())), 503, "unavailable")


async def test_while_postgresql_is_away_nothing_is_imported(
    admin: SignedIn, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = new_line()

    async def away(*_: object) -> None:
        raise DatabaseUnavailable

    with monkeypatch.context() as patch:
        patch.setattr("app.identity.bulk_queries.known", away)
        problem(await send(admin, ndjson(line)), 503, "unavailable")

    assert [each["status"] for each in report(await send(admin, ndjson(line)))] == ["created"]


async def test_imports_of_a_process_take_turns_beyond_a_few(
    admin: SignedIn, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts.imports, "_room", asyncio.Semaphore(1))
    go_on, line = asyncio.Event(), new_line()
    other = await person(admin)

    async def slow() -> AsyncIterator[bytes]:
        yield b"\n"
        await go_on.wait()
        yield ndjson(line)

    first = asyncio.create_task(send(admin, slow()))
    second = asyncio.create_task(take(admin, line, {"username": other.username}))
    done, _ = await asyncio.wait((second,), timeout=0.1)
    assert not done
    go_on.set()

    assert [each["status"] for each in report(await first)] == ["created"]
    assert [each["status"] for each in await second] == ["skipped"] * 2


async def test_of_two_administrators_whom_an_import_and_a_request_take_away_one_stays(twins: Twins) -> None:
    """Fifty of either, half by imports, wait until the first of them may go on."""
    root = await log_in(twins.here, ADMIN)
    ada = await person(root, is_admin=True)
    other = await log_in(twins.there, ada)
    down = {"username": ada.username, "is_active": False}

    async def take_away(number: int) -> int:
        if number % 2:
            return (await other.ask("PATCH", f"/users/{root.user_id}", json={"is_active": False})).status_code
        return (await send(root, ndjson(down))).status_code

    async with twins.parts.db.transaction() as tx:
        await queries.hold_admins(tx)
        asked = asyncio.gather(*(take_away(number) for number in range(50)))
        async with asyncio.timeout(20):
            while await tx.fetchval(WAITING) < 1 + twins.parts.settings.database_pool_size:
                await tx.execute("SELECT pg_stat_clear_snapshot()")
                await asyncio.sleep(0.01)
    assert set(await asyncio.shield(asked)) <= {200, 401, 409}

    rows = await twins.parts.db.fetch("SELECT id FROM users WHERE is_active")
    assert len(rows) == 1


async def test_what_is_skipped_is_vouched_for(admin: SignedIn, parts: Parts, ada: Person) -> None:
    """Somebody else has just made the change, and may not have carried it to Valkey yet."""
    async with parts.db.transaction() as tx:
        await parts.entries.outbox.announce(tx, [user_key(ada.id)])

    (said,) = await take(admin, {"username": ada.username})

    assert said["status"] == "skipped"
    assert not await parts.db.fetch("SELECT FROM cache_outbox WHERE key = $1", user_key(ada.id))

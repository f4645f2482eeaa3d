"""The connections that lists are read on: few, read-only, and replaced when they break."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from httpx import AsyncClient
from sqlalchemy import column, func, insert, literal, select, table

from app import database, listing
from app.database import DatabaseUnavailable
from app.keys.cursors import Cursors
from app.listing import Lists
from app.parts import Parts
from app.statements import Statement
from tests.kit import SignedIn
from tests.replica import settings_for

MADE = insert(table("permissions", column("name"))).values(name="x:y").returning(column("name")).cte()


ONE = Statement(select(literal(1)))
A_WHILE = Statement(select(func.pg_sleep(0.05)))  # seconds


@pytest.fixture
async def lists(postgres_url: str) -> AsyncIterator[Lists]:
    lists = Lists(settings_for(postgres_url, ""), Cursors("secret"))
    await lists.start()
    yield lists
    await lists.stop()


async def test_lists_read_and_cannot_write(lists: Lists, parts: Parts) -> None:
    async with lists.reading() as snapshot:
        name = await snapshot.value(Statement(select(func.current_setting("application_name"))))

    assert name == "gatehouse lists"
    with pytest.raises(DatabaseUnavailable):
        async with lists.reading() as snapshot:
            await snapshot.value(Statement(select(MADE)))


async def test_a_database_that_is_away_is_unavailable() -> None:
    lists = Lists(settings_for("postgresql://127.0.0.1:1/nowhere", ""), Cursors("secret"))
    for _ in range(2):  # not started yet, and started in vain
        with pytest.raises(DatabaseUnavailable):
            async with lists.reading():
                pytest.fail("there is nothing to read")
        await lists.start()
    await lists.stop()
    await lists.stop()


async def test_a_connection_that_breaks_is_unavailable_and_replaced(lists: Lists) -> None:
    with pytest.raises(DatabaseUnavailable):
        async with lists.reading() as snapshot:
            await snapshot.value(Statement(select(func.pg_terminate_backend(func.pg_backend_pid()))))

    async with lists.reading() as snapshot:
        assert await snapshot.value(ONE) == 1


async def test_a_connection_that_broke_while_nobody_used_it_is_replaced(lists: Lists, parts: Parts) -> None:
    async with lists.reading() as snapshot:
        pid = await snapshot.value(Statement(select(func.pg_backend_pid())))
    await parts.db.execute("SELECT pg_terminate_backend($1, 5000)", pid)  # ms; it waits for the end

    async with lists.reading() as snapshot:
        assert await snapshot.value(ONE) == 1


async def test_a_slow_list_is_given_up(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "STATEMENT_TIMEOUT", 0.1)
    lists = Lists(settings_for(postgres_url, ""), Cursors("secret"))
    await lists.start()
    with pytest.raises(DatabaseUnavailable):
        async with lists.reading() as snapshot:
            await snapshot.value(Statement(select(func.pg_sleep(5))))
    await lists.stop()


async def test_who_finds_every_connection_taken_waits_a_while(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "ACQUIRE_TIMEOUT", 0.1)
    lists = Lists(settings_for(postgres_url, ""), Cursors("secret"))
    await lists.start()
    async with lists.reading(), lists.reading():
        with pytest.raises(DatabaseUnavailable):
            async with lists.reading():
                pytest.fail("there is no third connection")
    await lists.stop()


async def test_one_list_is_read_after_the_other(lists: Lists, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "TURN_SECONDS", 60.0)
    at_once: list[int] = []
    reading = 0

    async def read() -> None:
        nonlocal reading
        async with lists.turn(), lists.reading() as snapshot:
            reading += 1
            at_once.append(reading)
            await snapshot.value(A_WHILE)
            reading -= 1

    await asyncio.gather(*(read() for _ in range(5)))

    assert at_once == [1] * 5


async def test_nobody_waits_long_for_a_slow_list(lists: Lists, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "TURN_SECONDS", 0.01)
    async with lists.turn(), lists.turn(), lists.reading() as beside:
        assert await beside.value(ONE) == 1

    monkeypatch.setattr(listing, "TURN_SECONDS", 60.0)
    async with lists.turn():  # whoever went on without a turn has taken none away, and given none back
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1), lists.turn():
                pytest.fail("it is the other one's turn")


async def test_a_fault_of_ours_is_no_outage(lists: Lists) -> None:
    with pytest.raises(asyncpg.UndefinedColumnError):
        async with lists.reading() as snapshot:
            await snapshot.value(Statement(select(column("no_such_column")).select_from(table("users"))))


async def test_fifty_lists_at_once_share_two_connections(replicas: list[AsyncClient], admin: SignedIn) -> None:
    answers = await asyncio.gather(
        *(admin.ask("GET", "/users", at=replicas[number % 2], params={"page_size": "5"}) for number in range(50))
    )

    assert {answer.status_code for answer in answers} == {200}

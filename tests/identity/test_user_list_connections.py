"""The connections that lists are read on: few, read-only, and replaced when they break."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app import listing
from app.database import DatabaseUnavailable
from app.keys.cursors import Cursors
from app.listing import Lists
from app.parts import Parts
from tests.kit import SignedIn


@pytest.fixture
async def lists(postgres_url: str) -> AsyncIterator[Lists]:
    lists = Lists(postgres_url, Cursors("secret"))
    await lists.start()
    yield lists
    await lists.stop()


async def test_lists_read_and_cannot_write(lists: Lists, parts: Parts) -> None:
    async with lists.reading() as connection:
        name = (await connection.execute(text("SHOW application_name"))).scalar_one()

    assert name == "gatehouse lists"
    with pytest.raises(DatabaseUnavailable):
        async with lists.reading() as connection:
            await connection.execute(text("INSERT INTO permissions (name) VALUES ('x:y')"))


async def test_a_database_that_is_away_is_unavailable() -> None:
    lists = Lists("postgresql://127.0.0.1:1/nowhere", Cursors("secret"))
    for _ in range(2):  # not started yet, and started in vain
        with pytest.raises(DatabaseUnavailable):
            async with lists.reading():
                pytest.fail("there is nothing to read")
        await lists.start()
    await lists.stop()
    await lists.stop()


async def test_a_connection_that_breaks_is_unavailable_and_replaced(lists: Lists) -> None:
    with pytest.raises(DatabaseUnavailable):
        async with lists.reading() as connection:
            await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    async with lists.reading() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1


async def test_a_connection_that_broke_while_nobody_used_it_is_replaced(lists: Lists, parts: Parts) -> None:
    async with lists.reading() as connection:
        pid = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
    await parts.db.execute("SELECT pg_terminate_backend($1)", pid)

    async with lists.reading() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1


async def test_a_slow_list_is_given_up(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "STATEMENT_TIMEOUT", 0.1)
    lists = Lists(postgres_url, Cursors("secret"))
    await lists.start()
    with pytest.raises(DatabaseUnavailable):
        async with lists.reading() as connection:
            await connection.execute(text("SELECT pg_sleep(5)"))
    await lists.stop()


async def test_who_finds_every_connection_taken_waits_a_while(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "ACQUIRE_TIMEOUT", 0.1)
    lists = Lists(postgres_url, Cursors("secret"))
    await lists.start()
    async with lists.reading(), lists.reading():
        with pytest.raises(DatabaseUnavailable):
            async with lists.reading():
                pytest.fail("there is no third connection")
    await lists.stop()


async def test_a_fault_of_ours_is_no_outage(lists: Lists) -> None:
    with pytest.raises(asyncpg.UndefinedColumnError) as raised:
        async with lists.reading() as connection:
            await connection.execute(text("SELECT no_such_column FROM users"))

    assert isinstance(raised.value.__cause__, DBAPIError)


async def test_fifty_lists_at_once_share_two_connections(replicas: list[AsyncClient], admin: SignedIn) -> None:
    answers = await asyncio.gather(
        *(admin.ask("GET", "/users", at=replicas[number % 2], params={"page_size": "5"}) for number in range(50))
    )

    assert {answer.status_code for answer in answers} == {200}

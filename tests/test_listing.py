"""Lists, whatever is on them: few connections, read-only, taken in turns, and replaced when they break."""

import asyncio
from collections.abc import AsyncIterator
from unittest.mock import AsyncMock

import asyncpg
import pytest
from httpx import AsyncClient
from sqlalchemy import BigInteger, column, false, func, insert, literal, select, table, union_all

from app import database, listing
from app.database import DatabaseUnavailable
from app.errors import AppError, UseCursor, ValidationFailed
from app.identity import listing as user_listing
from app.identity.entry import People
from app.identity.listing import Said, UserFilter, UserList
from app.identity.rights import RoleTable
from app.keys.cursors import Cursors
from app.listing import Asked, Lists
from app.parts import Parts
from app.sessions.filters import SessionFilter
from app.sessions.listing import SessionDirectory
from app.statements import Statement
from app.uuid7 import uuid7
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


async def test_of_what_the_planner_knows_to_be_none_it_sees_one(lists: Lists) -> None:
    users = select(column("id", BigInteger)).select_from(table("users"))
    both, half = (Statement(select(union_all(users, rest).subquery())) for rest in (users, users.where(false())))

    async with lists.reading() as snapshot:
        seen = await snapshot.estimate(Statement(users))
        assert await snapshot.estimates(both) == (seen, seen)
        assert await snapshot.estimates(half) == (seen, 1)


async def test_sizes_are_of_the_order_and_of_the_list(lists: Lists) -> None:
    searched = user_listing._listing(
        Said(search="part", is_active=True, is_admin=False, role="each"), "username", behind=False
    )
    values = {**user_listing._patterns("many"), "role": "admin"}
    everybody = Statement(select(column("id", BigInteger)).select_from(table("users")))

    async with lists.reading() as snapshot:
        sizes = await snapshot.estimates(searched.sizes, values)
        assert sizes == (await snapshot.estimate(everybody), await snapshot.estimate(searched.estimated, values))


@pytest.mark.parametrize(
    ("asked", "refused"), [(Asked(201, 50, None), UseCursor), (Asked(1, 50, "bm9uZSBvZiBpdHM"), ValidationFailed)]
)
async def test_what_is_refused_is_not_looked_up(parts: Parts, asked: Asked, refused: type[AppError]) -> None:
    away = Lists(settings_for("postgresql://127.0.0.1:1/nowhere", ""), Cursors("secret"))
    users = UserList(away, People(parts.entries, RoleTable(parts.db)))
    sessions = SessionDirectory(away, parts.sessions, parts.census)

    with pytest.raises(refused):
        await users.page(UserFilter(None, None, None, None), "-created_at", asked)
    with pytest.raises(refused):
        await sessions.page(SessionFilter(), "-created_at", asked, uuid7(), active=True)
    with pytest.raises(ValidationFailed):
        await sessions.page(SessionFilter(device="\n"), "-created_at", Asked(1, 50, None), uuid7(), active=True)


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


async def test_a_turn_that_was_let_go_is_the_next_ones(lists: Lists) -> None:
    async with lists.turn() as let_go:
        await let_go()
        async with asyncio.timeout(60), lists.turn():
            assert lists._turn.locked()
        assert not lists._turn.locked()


async def test_who_went_on_without_a_turn_has_none_to_let_go(lists: Lists, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "TURN_SECONDS", 0.01)
    async with lists.turn(), lists.turn() as let_go:
        await let_go()
        assert lists._turn.locked()


@pytest.mark.parametrize(("far_beyond", "times"), [(10**9, 0), (0, 1)])
async def test_who_collects_very_many_lets_his_turn_go(
    lists: Lists, parts: Parts, monkeypatch: pytest.MonkeyPatch, far_beyond: int, times: int
) -> None:
    monkeypatch.setattr(listing, "CHEAPER", 0)  # so nothing is walked
    monkeypatch.setattr(listing, "FAR_BEYOND", far_beyond)
    searched = user_listing._listing(Said("part", None, None, None), "username", behind=False)
    begin = lists.begin(searched.order, Asked(1, 50, None), b"")
    read = AsyncMock(return_value=[])
    let_go = AsyncMock(side_effect=read.assert_not_called)

    async with lists.reading() as snapshot:
        monkeypatch.setattr(snapshot, "rows", read)  # which finds nobody
        monkeypatch.setattr(snapshot, "value", AsyncMock(return_value=0))
        await lists.page(snapshot, searched, begin, user_listing._patterns("nobody"), let_go)

    assert let_go.await_count == times
    read.assert_awaited()


async def test_a_fault_of_ours_is_no_outage(lists: Lists) -> None:
    with pytest.raises(asyncpg.UndefinedColumnError):
        async with lists.reading() as snapshot:
            await snapshot.value(Statement(select(column("no_such_column")).select_from(table("users"))))


async def test_fifty_lists_at_once_share_two_connections(replicas: list[AsyncClient], admin: SignedIn) -> None:
    answers = await asyncio.gather(
        *(admin.ask("GET", "/users", at=replicas[number % 2], params={"page_size": "5"}) for number in range(50))
    )

    assert {answer.status_code for answer in answers} == {200}

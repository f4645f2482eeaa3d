"""The figures over all sessions: exact while they are few, and else counted now and then by one for all."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.database import Database
from app.errors import Unavailable
from app.sessions import census, census_queries
from app.sessions.census import Analytics, Census
from app.uuid7 import uuid7
from db import locks

OLD = "UPDATE session_census SET counted_at = counted_at - interval '1 hour'"


@pytest.fixture
async def db(own_database: str) -> AsyncIterator[Database]:
    """With one user in it."""
    db = Database(own_database, 8)
    await db.start()
    await db.execute("INSERT INTO users (username) VALUES ('ada')")
    yield db
    await db.stop()


@pytest.fixture
async def counter(db: Database) -> AsyncIterator[Census]:
    census = Census(db)
    yield census
    await census.stop()


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few there are."""
    monkeypatch.setattr(census, "EXACT_SESSIONS", -1)


async def add(db: Database, *, days_ago: float = 0, agent: str | None = None, revoked: bool = False) -> None:
    await db.execute(
        """
        INSERT INTO sessions (id, user_id, created_at, expires_at, amr, user_agent, revoked_at)
        VALUES ($1, (SELECT min(id) FROM users), now() - make_interval(secs => 86400 * $2), now() + interval '1 day',
                '{pwd}', $3, CASE WHEN $4 THEN now() END)
        """,
        uuid7(),
        days_ago,
        agent,
        revoked,
    )


async def counted_by(db: Database, counter: Census, sessions: int) -> Analytics:
    """The figures, once they say so many."""
    async with asyncio.timeout(10):
        while (found := await counter.figures()).active_sessions != sessions:
            await asyncio.sleep(0.01)
    return found


async def test_without_a_session_there_is_nothing_to_count(counter: Census) -> None:
    found = await counter.figures()

    assert (found.active_sessions, found.active_users, found.created_last_24h) == (0, 0, 0)
    assert found.by_device == dict.fromkeys(("Bot", "Tablet", "Mobile", "Desktop", "Other"), 0)
    assert len(found.by_day) == 30
    assert set(found.by_day.values()) == {0}


async def test_each_day_counts_those_that_began_on_it_ended_or_not(db: Database, counter: Census) -> None:
    for days in (0, 1, 1, 29, 30, 31):
        await add(db, days_ago=days)
    await add(db, days_ago=1, revoked=True)

    found = await counter.figures()

    today = datetime.now(UTC).date()
    dates = [str(today - timedelta(days=back)) for back in range(29, -1, -1)]
    assert list(found.by_day) == dates
    assert [found.by_day[day] for day in (dates[0], dates[28], dates[29])] == [1, 3, 1]
    assert (found.active_sessions, found.active_users) == (6, 1)


async def test_a_few_are_counted_at_every_look(db: Database, counter: Census) -> None:
    for number in range(1, 4):
        await add(db)
        assert (await counter.figures()).active_sessions == number


async def test_many_are_counted_again_once_that_is_too_old(db: Database, counter: Census, many: None) -> None:
    await add(db, agent="curl/8")
    first = await counter.figures()
    await add(db)

    assert await counter.figures() == first
    assert (first.active_sessions, first.by_device["Bot"]) == (1, 1)
    await db.execute(OLD)
    again = await counter.figures()
    assert again.active_sessions == 2
    assert again.as_of > first.as_of


async def test_what_takes_its_time_to_count_nobody_waits_for(
    db: Database, counter: Census, many: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(census, "PROMPT_MS", -1)
    await counter.figures()
    await add(db)
    await db.execute(OLD)

    async with db.transaction() as tx:  # somebody counts, and does not come to an end
        await tx.execute("SELECT pg_advisory_xact_lock($1)", locks.CENSUS)
        assert [(await counter.figures()).active_sessions for _ in range(3)] == [0, 0, 0]

    assert (await counted_by(db, counter, 1)).active_users == 1


async def test_of_fifty_who_look_at_once_one_counts_for_all(
    db: Database, counter: Census, many: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = 0
    count = census_queries.count

    async def counting(*arguments: Any) -> Any:
        nonlocal counts
        counts += 1
        return await count(*arguments)

    monkeypatch.setattr(census_queries, "count", counting)
    other = Census(db)

    found = await asyncio.gather(*((counter, other)[number % 2].figures() for number in range(50)))

    await other.stop()
    assert counts == 1
    assert len({each.as_of for each in found}) == 1


async def test_the_first_of_all_is_waited_for_no_longer_than_a_statement(
    db: Database, counter: Census, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(census, "STATEMENT_TIMEOUT", 0.05)
    async with db.transaction() as tx:
        await tx.execute("SELECT pg_advisory_xact_lock($1)", locks.CENSUS)
        with pytest.raises(Unavailable):
            await counter.figures()

    monkeypatch.undo()
    assert (await counter.figures()).active_sessions == 0


async def test_a_count_that_fails_leaves_the_last_one(db: Database, counter: Census, many: None) -> None:
    first = await counter.figures()
    await db.execute(OLD)
    await db.execute("ALTER TABLE session_census ADD CHECK (counted_at < now() - interval '1 minute')")

    assert await counter.figures() == first

"""The role that runs the service can add to the audit, and blank who was deleted: nothing else, whatever it says."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from app.audit import erasures
from app.database import Database
from app.maintenance import queries
from db import grants
from tests.conftest import SERVICE, by_the_service
from tests.kit import new_name

MONTH = "audit_events_202001"
ROW = (
    "INSERT INTO audit_events (event, user_id, actor_id, ip_address, user_agent, details)"
    """ VALUES ('logout', $1, $2, '192.0.2.1', 'firefox', '{"a": 1}')"""
)


@pytest.fixture
async def service(own_database: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Speaks as whoever has broken into the service does."""
    connection = await asyncpg.connect(by_the_service(own_database))
    yield connection
    await connection.close()


@pytest.fixture
async def person(owner: Database) -> int:
    """Somebody, who has an event, and is in one that somebody else made."""
    row = await owner.fetchrow("INSERT INTO users (username) VALUES ($1) RETURNING id", new_name())
    assert row is not None
    await owner.execute(ROW, row["id"], row["id"])
    return int(row["id"])


async def events(owner: Database) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await owner.fetch("SELECT * FROM audit_events ORDER BY id")]


FORBIDDEN = [
    "UPDATE audit_events SET event = 'logout'",
    "UPDATE audit_events SET ip_address = NULL",
    "DELETE FROM audit_events",
    "TRUNCATE audit_events",
    "ALTER TABLE audit_events ADD COLUMN more text",
    "ALTER TABLE audit_events DISABLE TRIGGER ALL",
    f"ALTER TABLE audit_events DETACH PARTITION {MONTH}",
    "CREATE TRIGGER t BEFORE INSERT ON audit_events EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE RULE r AS ON INSERT TO audit_events DO INSTEAD NOTHING",
    "DROP TABLE audit_events",
    f"DROP TABLE {MONTH}",
    f"UPDATE {MONTH} SET event = 'logout'",
    f"DELETE FROM {MONTH}",
    f"TRUNCATE {MONTH}",
    f"INSERT INTO {MONTH} (event, at) VALUES ('logout', '2020-01-02')",
    "DELETE FROM audit_events_default",
    "INSERT INTO audit_events (event, at) VALUES ('logout', now() - interval '1 year')",
    "INSERT INTO audit_events (id, event) VALUES (1, 'logout')",
    "SELECT setval('audit_events_id_seq', 1)",
    "ALTER SEQUENCE audit_events_id_seq RESTART",
    "UPDATE audit_retention SET days = 1",
    "DELETE FROM audit_retention",
    "CREATE OR REPLACE FUNCTION audit_delete_old(integer, integer) RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE TABLE erasures_too (user_id bigint)",
    "UPDATE schema_history SET oldest_release = '0.0.1'",
    "SET ROLE gatehouse",
]


async def test_it_can_change_no_event_and_no_table_of_them(
    owner: Database, person: int, service: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await owner.execute("SELECT audit_add_month('2020-01-01')")
    before = await events(owner)

    for statement in FORBIDDEN:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await service.execute(statement)

    assert await events(owner) == before != []


async def test_it_blanks_nobody_who_is_there_and_nobody_who_was_not_deleted(
    owner: Database, db: Database, person: int
) -> None:
    before = await events(owner)

    await db.execute("SELECT audit_blank($1, false, 0, 10)", person)
    await db.execute("INSERT INTO erasures (user_id) VALUES ($1)", person)
    assert await erasures.blank(db, person, 5.0)
    await db.execute("SELECT audit_blank($1, true, 0, 10)", 10**9)

    assert await events(owner) == before


async def test_who_was_deleted_is_blanked_and_nothing_else(owner: Database, db: Database, person: int) -> None:
    for about, by in ((person, 10**9), (10**9, person), (10**9, 10**9)):
        await owner.execute(ROW, about, by)
    own, to_him, by_him, others = await owner.fetch("SELECT * FROM audit_events ORDER BY id")
    await db.execute("DELETE FROM users WHERE id = $1", person)
    await db.execute("INSERT INTO erasures (user_id) VALUES ($1)", person)

    assert await erasures.blank(db, person, 5.0)

    nothing = {"ip_address": None, "user_agent": None}
    expected = [{**own, **nothing, "details": "{}"}, {**to_him, "details": "{}"}, {**by_him, **nothing}, dict(others)]
    assert [dict(row) for row in await owner.fetch("SELECT * FROM audit_events ORDER BY id")] == expected


async def test_it_drops_no_month_and_deletes_no_event_before_its_time(owner: Database, db: Database) -> None:
    now = datetime.now(UTC)
    recent = (now - timedelta(days=200)).date().replace(day=1)
    async with owner.transaction() as tx:
        for month in (recent, date(2020, 1, 1)):
            assert await queries.add_month(tx, month)
    for days in (100, 399, 401):
        await owner.execute(
            "INSERT INTO audit_events (event, at) VALUES ('logout', now() - make_interval(days => $1))", days
        )

    async with db.transaction() as tx:
        assert set(await queries.old_months(tx, 1)) >= {recent, date(2020, 1, 1)}
        assert not await queries.drop_month(tx, recent)
        assert await queries.drop_month(tx, date(2020, 1, 1))
        assert not await queries.drop_month(tx, date(2020, 1, 1))
        assert await queries.delete_old_events(tx, 1, 10) == 1
    assert len(await events(owner)) == 2
    async with owner.transaction() as tx:
        assert await queries.drop_month(tx, recent)
        assert await queries.delete_old_events(tx, 1, 10) == 2


async def test_it_drops_no_month_by_the_name_of_one_before_christ(
    owner: Database, service: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    recent = (datetime.now(UTC) - timedelta(days=200)).date().replace(day=1)
    assert await owner.fetchrow("SELECT audit_add_month($1)", recent)
    await owner.execute("INSERT INTO audit_events (event, at) VALUES ('logout', $1::date + interval '9 days')", recent)

    assert await service.fetchval(f"SELECT audit_drop_month('{recent} BC')") is False

    assert len(await events(owner)) == 1


async def test_it_lays_out_the_year_to_come_and_no_other(db: Database) -> None:
    this = datetime.now(UTC).date().replace(day=1)
    async with db.transaction() as tx:
        assert not await queries.add_month(tx, this - timedelta(days=1))
        assert not await queries.add_month(tx, this + timedelta(days=400))
        assert await queries.add_month(tx, this + timedelta(days=40))
        assert not await queries.add_month(tx, this + timedelta(days=40))


async def test_functions_mean_the_tables_that_they_were_made_for(
    owner: Database, person: int, service: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Whatever tables of the same names their caller has."""
    before = await events(owner)
    await service.execute("CREATE TEMP TABLE erasures AS SELECT $1::bigint AS user_id".replace("$1", str(person)))
    await service.execute("CREATE TEMP TABLE users (id bigint)")
    await service.execute("SET search_path = pg_temp, public")

    assert await service.fetchval("SELECT audit_blank($1, false, 0, 10)", person) is None

    assert await events(owner) == before


# ---- granting -----------------------------------------------------------------------------------------------------


async def test_many_grants_at_once_are_one(own_database: str, service: "asyncpg.Connection[asyncpg.Record]") -> None:
    assert await asyncio.gather(*(grants.grant(own_database, SERVICE, 400) for _ in range(10))) == [[SERVICE]] * 10
    assert await grants.held(service) == (SERVICE, 400)


async def test_who_migrates_grants_anew_and_says_how_long_events_are_kept(
    own_database: str, owner: Database, service: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await owner.execute(f"REVOKE ALL ON users FROM {SERVICE}")
    await owner.execute(f"GRANT ALL ON audit_events_default TO {SERVICE}")

    assert await grants.grant(own_database, None, 90) == [SERVICE]

    assert await grants.held(service) == (SERVICE, 90)
    assert await service.fetchval("SELECT count(*) FROM users") == 0
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await service.execute("DELETE FROM audit_events_default")


async def test_who_owns_nothing_grants_nothing(own_database: str, owner: Database) -> None:
    assert await grants.grant(by_the_service(own_database), None, 1) == []

    (kept,) = await owner.fetch("SELECT days FROM audit_retention")
    assert kept["days"] == 400


async def test_where_one_role_does_all_it_is_held_to_nothing(own_database: str, owner: Database) -> None:
    connection = await asyncpg.connect(own_database)
    await connection.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {SERVICE}")

    assert await grants.grant(own_database, None, 1) == []

    assert await grants.held(connection) is None
    await connection.close()
    (kept,) = await owner.fetch("SELECT days FROM audit_retention")
    assert kept["days"] == 400

"""The clean-up: what it deletes, what it leaves, and that nobody waits for it."""

import asyncio
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import asyncpg
import msgspec
import pytest
from httpx import AsyncClient

from app.database import Database, DatabaseUnavailable, Transaction
from app.maintenance import queries, service
from app.maintenance.service import Deleted, Maintenance, clean_up, clean_up_on_schedule
from app.sessions import queries as session_queries
from app.settings import Settings
from tests.cli.conftest import environment_for
from tests.cli.kit import gatehouse
from tests.conftest import ADMIN, Twins
from tests.kit import SignedIn, log_in, problem, until
from tests.replica import settings_for

NOTHING = Deleted(
    sessions=0, audit_events=0, audit_partitions=0, signing_keys=0, one_time_tokens=0, sign_ins=0, factors=0
)


# ---- what these tests do over and over ----------------------------------------------------------------------------


@pytest.fixture
def own_settings(own_database: str, valkey_url: str) -> Settings:
    """The default retention: 30 days for sessions, 400 for the audit; nobody else looks at this database."""
    return settings_for(own_database, valkey_url)


@pytest.fixture
async def db(own_settings: Settings) -> AsyncIterator[Database]:
    database = Database(own_settings.database_url, 2)
    await database.start()
    yield database
    await database.stop()


@pytest.fixture
async def root(twins: Twins) -> SignedIn:
    """The administrator of both."""
    return await log_in(twins.here, ADMIN)


async def add_sessions(db: Database, number: int, *, revoked_days_ago: int | None, expired_days_ago: int = -1) -> None:
    await db.execute(
        """
        WITH somebody AS (
            INSERT INTO users (username) SELECT 'user-' || gen_random_uuid() RETURNING id
        )
        INSERT INTO sessions (id, user_id, expires_at, revoked_at, amr)
        SELECT gen_random_uuid(), id, now() - make_interval(days => $2), now() - make_interval(days => $3), '{pwd}'
        FROM somebody, generate_series(1, $1::integer)
        """,
        number,
        expired_days_ago,
        revoked_days_ago,
    )


async def add_events(db: Database, number: int, *, days_ago: int) -> None:
    await db.execute(
        """
        INSERT INTO audit_events (event, at) SELECT 'logout', now() - make_interval(days => $2)
        FROM generate_series(1, $1::integer)
        """,
        number,
        days_ago,
    )


def deleted(**counts: int) -> Deleted:
    """These, and nothing else."""
    return msgspec.structs.replace(NOTHING, **counts)


async def events(db: Database) -> list[str]:
    return [row["event"] for row in await db.fetch("SELECT event FROM audit_events ORDER BY id")]


async def count(db: Database, table: str) -> int:
    row = await db.fetchrow(f"SELECT count(*) AS rows FROM {table}")
    assert row is not None
    rows: int = row["rows"]
    return rows


async def partitions(db: Database) -> list[str]:
    rows = await db.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'audit_events'::regclass"
    )
    return sorted(row["name"].removeprefix("audit_events_") for row in rows)


def month(ahead: int) -> str:
    now = datetime.now(UTC)
    number = now.year * 12 + now.month - 1 + ahead
    return f"{number // 12}{number % 12 + 1:02}"


async def add_month(db: Database, first_day: str) -> None:
    async with db.transaction() as tx:
        assert await queries.add_month(tx, date.fromisoformat(first_day))


async def cleanups(db: Database) -> list[tuple[int | None, dict[str, int]]]:
    rows = await db.fetch("SELECT actor_id, details FROM audit_events WHERE event = 'cleanup.ran' ORDER BY id")
    return [(row["actor_id"], msgspec.json.decode(row["details"])["deleted"]) for row in rows]


# ---- what is deleted ----------------------------------------------------------------------------------------------


async def test_ended_sessions_are_deleted_after_their_retention(db: Database, own_settings: Settings) -> None:
    await add_sessions(db, 1, revoked_days_ago=31, expired_days_ago=-1)
    await add_sessions(db, 1, revoked_days_ago=None, expired_days_ago=31)
    await add_sessions(db, 1, revoked_days_ago=29)
    await add_sessions(db, 1, revoked_days_ago=None, expired_days_ago=29)
    await add_sessions(db, 1, revoked_days_ago=None)

    report = await clean_up(db, own_settings, None, None)

    assert report.deleted == deleted(sessions=2)
    assert await count(db, "sessions") == 3


async def test_many_are_deleted_batch_by_batch(
    db: Database, own_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "BATCH", 100)
    await add_sessions(db, 200, revoked_days_ago=31)
    await add_events(db, 250, days_ago=401)

    report = await clean_up(db, own_settings, None, None)

    assert (report.deleted.sessions, report.deleted.audit_events) == (200, 250)
    assert (await count(db, "sessions"), await count(db, "audit_events")) == (0, 1)


async def test_old_events_are_deleted_with_their_month_or_one_by_one(db: Database, own_settings: Settings) -> None:
    await add_month(db, "2020-01-01")
    await add_month(db, "2020-02-01")
    await db.execute("INSERT INTO audit_events (event, at) VALUES ('logout', '2020-01-31T23:59:59Z')")
    await add_events(db, 3, days_ago=401)
    await add_events(db, 2, days_ago=399)

    report = await clean_up(db, own_settings, None, None)

    assert report.deleted == deleted(audit_events=3, audit_partitions=2)
    assert await events(db) == ["logout", "logout", "cleanup.ran"]
    assert not {"202001", "202002"} & set(await partitions(db))


async def test_a_month_stays_until_its_last_day_is_old(db: Database, own_settings: Settings) -> None:
    begins = (datetime.now(UTC) - timedelta(days=400)).replace(day=1)
    await add_month(db, f"{begins:%Y-%m}-01")

    report = await clean_up(db, own_settings, None, None)

    assert report.deleted == NOTHING
    assert f"{begins:%Y%m}" in await partitions(db)


async def test_retention_is_a_setting(db: Database, own_settings: Settings) -> None:
    await add_sessions(db, 1, revoked_days_ago=1)
    await add_events(db, 1, days_ago=2)

    report = await clean_up(db, replace(own_settings, session_retention_days=0, audit_retention_days=1), None, None)

    assert (report.deleted.sessions, report.deleted.audit_events) == (1, 1)


async def test_changes_that_are_on_their_way_are_left_alone(db: Database, own_settings: Settings) -> None:
    await db.execute("INSERT INTO cache_outbox (key, created_at) VALUES ('u:1', now() - interval '1 year')")

    await clean_up(db, own_settings, None, None)

    assert await count(db, "cache_outbox") == 1


# ---- signing keys -------------------------------------------------------------------------------------------------


async def add_key(db: Database, kid: str, algorithm: str, signing_days_ago: float) -> None:
    await db.execute(
        """
        INSERT INTO signing_keys (kid, algorithm, public_jwk, private_key, signing_from)
        VALUES ($1, $2, '{}', '', now() - make_interval(secs => $3))
        """,
        kid,
        algorithm,
        86400 * signing_days_ago,
    )


async def keys(db: Database) -> list[str]:
    return [row["kid"] for row in await db.fetch("SELECT kid FROM signing_keys ORDER BY kid")]


async def test_a_key_goes_once_its_last_token_has_expired(db: Database, own_settings: Settings) -> None:
    await add_key(db, "a", "ES256", 9)
    await add_key(db, "b", "ES256", 1)
    await add_key(db, "c", "ES256", 0.01)

    report = await clean_up(db, own_settings, None, None)

    assert report.deleted == deleted(signing_keys=1)
    assert await keys(db) == ["b", "c"]


async def test_the_key_that_signs_stays_where_the_algorithm_was_changed_back(
    db: Database, own_settings: Settings
) -> None:
    await add_key(db, "a", "ES256", 9)
    await add_key(db, "b", "EdDSA", 8)

    report = await clean_up(db, own_settings, None, None)

    assert report.deleted.signing_keys == 0
    assert await keys(db) == ["a", "b"]


# ---- months to come -----------------------------------------------------------------------------------------------


async def test_months_are_laid_out_ahead(db: Database, own_settings: Settings) -> None:
    await clean_up(db, own_settings, None, None)
    await clean_up(db, own_settings, None, None)

    assert await partitions(db) == [month(0), month(1), month(2), "default"]
    assert await count(db, f"audit_events_{month(0)}") == 2  # both clean-ups themselves


async def test_a_month_that_has_begun_in_the_default_partition_stays_there(
    db: Database, own_settings: Settings
) -> None:
    await add_events(db, 1, days_ago=0)

    report = await clean_up(db, own_settings, None, None)

    assert report.deleted == NOTHING
    assert await partitions(db) == [month(1), month(2), "default"]
    assert await count(db, "audit_events_default") == 2


async def test_a_login_does_not_wait_for_partitions(twins: Twins, root: SignedIn) -> None:
    """Somebody reads the audit at length; the clean-up gives up on its partitions, and the login goes on."""
    await add_month(twins.parts.db, "2020-01-01")
    async with twins.parts.db.transaction() as tx:
        await tx.execute("LOCK TABLE audit_events IN ROW SHARE MODE")
        await tx.execute("SELECT FROM audit_events")

        cleaning = asyncio.create_task(root.ask("POST", "/cleanup"))
        await asyncio.sleep(0.1)
        started = asyncio.get_running_loop().time()
        await log_in(twins.there, ADMIN)
        waited = asyncio.get_running_loop().time() - started
        answer = await cleaning

    assert waited < 2.0
    assert answer.status_code == 200
    assert answer.json()["deleted"]["audit_partitions"] == 0
    again = await root.ask("POST", "/cleanup")
    assert again.json()["deleted"]["audit_partitions"] == 1


# ---- who asks -----------------------------------------------------------------------------------------------------


async def test_somebody_asks_and_is_told_and_recorded(twins: Twins, root: SignedIn) -> None:
    await add_sessions(twins.parts.db, 2, revoked_days_ago=31)

    answer = await root.ask("POST", "/cleanup")

    assert answer.status_code == 200
    assert answer.json()["deleted"] == {
        "sessions": 2,
        "audit_events": 0,
        "audit_partitions": 0,
        "signing_keys": 0,
        "one_time_tokens": 0,
        "sign_ins": 0,
        "factors": 0,
    }
    assert answer.json()["duration_ms"] >= 0
    assert await cleanups(twins.parts.db) == [(root.user_id, answer.json()["deleted"])]


async def test_the_clean_up_is_not_for_everybody(session: SignedIn, client: AsyncClient) -> None:
    problem(await session.ask("POST", "/cleanup"), 403, "forbidden")
    problem(await client.post("/cleanup"), 401, "not_authenticated")


async def test_of_fifty_who_ask_nothing_is_counted_twice(
    twins: Twins, root: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "BATCH", 10)
    await add_sessions(twins.parts.db, 95, revoked_days_ago=31)
    await add_events(twins.parts.db, 55, days_ago=401)
    await add_month(twins.parts.db, "2020-01-01")

    answers = await asyncio.gather(
        *(root.ask("POST", "/cleanup", at=(twins.here, twins.there)[number % 2]) for number in range(50))
    )

    assert {answer.status_code for answer in answers} == {200}
    for name, total in (("sessions", 95), ("audit_events", 55), ("audit_partitions", 1)):
        assert sum(answer.json()["deleted"][name] for answer in answers) == total
    assert len(await cleanups(twins.parts.db)) == 50


# ---- the schedule -------------------------------------------------------------------------------------------------


async def test_the_schedule_records_only_what_it_has_deleted(db: Database, own_settings: Settings) -> None:
    idle = await clean_up_on_schedule(db, own_settings)
    await add_sessions(db, 1, revoked_days_ago=31)
    busy = await clean_up_on_schedule(db, own_settings)

    assert idle is not None
    assert busy is not None
    assert (idle.deleted, busy.deleted) == (NOTHING, deleted(sessions=1))
    assert await cleanups(db) == [(None, msgspec.to_builtins(busy.deleted))]


async def test_the_schedule_leaves_it_to_whoever_is_at_it(db: Database, own_settings: Settings) -> None:
    async with db.transaction() as tx:
        assert await queries.try_turn(tx)

        assert await clean_up_on_schedule(db, own_settings) is None

    assert await clean_up_on_schedule(db, own_settings) is not None


async def test_who_asks_waits_for_whoever_is_at_it(
    db: Database, own_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with db.transaction() as tx:
        assert await queries.try_turn(tx)
        asked = asyncio.create_task(clean_up(db, own_settings, None, None))
        await asyncio.sleep(0.2)
        assert not asked.done()
    assert (await asked).deleted == NOTHING

    monkeypatch.setattr(service, "TURN_SECONDS", 0.1)
    async with db.transaction() as tx:
        assert await queries.try_turn(tx)
        with pytest.raises(DatabaseUnavailable):
            await clean_up(db, own_settings, None, None)


async def test_the_schedule_goes_on_whatever_happens(
    db: Database, own_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "FIRST_RUN", 0.02)
    monkeypatch.setattr(service, "INTERVAL", 0.02)
    runs = asyncio.Queue[str]()

    async def run(*_: object) -> None:
        await runs.put("ran")
        if runs.qsize() == 1:
            raise DatabaseUnavailable
        if runs.qsize() == 2:
            raise asyncpg.DeadlockDetectedError

    monkeypatch.setattr(service, "clean_up_on_schedule", run)
    maintenance = Maintenance(db, own_settings)
    maintenance.start()
    async with asyncio.timeout(5):
        while runs.qsize() < 4:
            await asyncio.sleep(0.01)
    await maintenance.stop()

    stopped_at = runs.qsize()
    await asyncio.sleep(0.1)
    assert runs.qsize() == stopped_at


async def test_what_never_started_can_be_stopped(db: Database, own_settings: Settings) -> None:
    await Maintenance(db, own_settings).stop()


# ---- replicas, and their ends -------------------------------------------------------------------------------------


async def test_of_two_that_are_on_schedule_together_one_goes_on_alone(
    db: Database, own_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two batches of the first the second begins; the first leaves, and says what it has done."""
    monkeypatch.setattr(service, "BATCH", 10)
    await add_sessions(db, 95, revoked_days_ago=31)
    delete = session_queries.delete_ended
    at_work, free = asyncio.Event(), asyncio.Event()

    async def slowly(tx: Transaction, retention_days: int, most: int) -> int:
        if at_work.is_set():
            await free.wait()
        at_work.set()
        return await delete(tx, retention_days, most)

    monkeypatch.setattr(session_queries, "delete_ended", slowly)
    runs = [asyncio.create_task(clean_up_on_schedule(db, own_settings)) for _ in range(2)]
    done, going = await asyncio.wait(runs, return_when=asyncio.FIRST_COMPLETED)
    free.set()
    reports = [await run for run in (*done, *going)]

    assert len(going) == 1
    assert sum(report.deleted.sessions for report in reports if report) == 95
    assert await count(db, "sessions") == 0
    assert sum(told["sessions"] for _, told in await cleanups(db)) == 95


async def test_what_was_killed_half_way_is_gone_on_with(
    tmp_path: Path, db: Database, own_settings: Settings, valkey_url: str
) -> None:
    """It is killed in its second batch, where it waits for a session that somebody holds."""
    await add_sessions(db, 3 * service.BATCH, revoked_days_ago=31)
    await db.execute("UPDATE sessions SET revoked_at = revoked_at + make_interval(secs => random())")
    environment = environment_for(own_settings.database_url, valkey_url)
    holder = await asyncpg.connect(own_settings.database_url)
    await holder.execute("BEGIN")
    ended = "SELECT id FROM sessions ORDER BY COALESCE(revoked_at, expires_at) OFFSET $1 LIMIT 1"
    await holder.execute(f"SELECT FROM sessions WHERE id = ({ended}) FOR UPDATE", service.BATCH + 100)

    with gatehouse("cleanup", cwd=tmp_path, environment=environment) as killed:
        await until(lambda: db.fetch("SELECT FROM pg_locks WHERE NOT granted"))
        assert await clean_up_on_schedule(db, own_settings) is None
        killed.signal(signal.SIGKILL)
        await asyncio.to_thread(killed.ends)
    assert await count(db, "sessions") == 2 * service.BATCH
    await holder.close()

    report = await clean_up(db, own_settings, None, None)

    assert report.deleted == deleted(sessions=2 * service.BATCH)
    assert await count(db, "sessions") == 0

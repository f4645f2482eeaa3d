"""Who cleans up: somebody who asks, the schedule, several at once; and that nobody waits for it."""

import asyncio
import signal
from pathlib import Path

import asyncpg
import msgspec
import pytest
from httpx import AsyncClient

from app.database import Database, DatabaseUnavailable, Transaction
from app.maintenance import queries, service
from app.maintenance.service import Maintenance, clean_up, clean_up_on_schedule
from app.sessions import queries as session_queries
from app.settings import Settings
from tests.cli.conftest import environment_for
from tests.cli.kit import gatehouse
from tests.conftest import ADMIN, Twins
from tests.kit import SignedIn, log_in, problem, until
from tests.maintenance.kit import (
    NOTHING,
    add_events,
    add_month,
    add_sessions,
    cleanups,
    count,
    deleted,
)


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


async def test_the_last_batch_looks_at_no_session_that_is_kept(db: Database) -> None:
    """What is over are two ranges of indexes: of three million sessions that are kept, none is looked at."""
    async with db.transaction() as tx:
        await tx.execute("SET LOCAL enable_seqscan = off")
        plan = [row[0].strip() for row in await tx.fetch(f"EXPLAIN {session_queries.DELETE_ENDED}", 30, 1000)]

    assert any(row.startswith("Index Cond: (revoked_at <") for row in plan)
    assert any(row.startswith("Index Cond: (expires_at <") for row in plan)


async def test_a_batch_is_of_revoked_and_expired_ones_together(db: Database) -> None:
    await add_sessions(db, 2, revoked_days_ago=31)
    await add_sessions(db, 2, revoked_days_ago=None, expired_days_ago=31)
    await add_sessions(db, 1, revoked_days_ago=29, expired_days_ago=31)

    async with db.transaction() as tx:
        deleted = [await session_queries.delete_ended(tx, 30, 3) for _ in range(3)]

    assert deleted == [3, 1, 0]


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

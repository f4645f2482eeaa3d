"""What happens is counted exactly once, whatever order it is committed in and however many count."""

import asyncio
import random
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from app.audit import queries, rollup
from app.audit.rollup import RollUp
from app.database import Database, DatabaseUnavailable, Transaction
from tests.kit import until

INSERT = "INSERT INTO audit_events (event) VALUES ($1)"
TRUTH = "SELECT event, count(*) FROM audit_events GROUP BY event"
COUNTED = "SELECT event, sum(count)::bigint FROM activity_counts GROUP BY event"


async def numbers(db: Database, query: str) -> dict[str, int]:
    return dict(await db.fetch(query))  # type: ignore[arg-type] # pairs, which records are


async def counted(db: Database) -> dict[str, int]:
    return await numbers(db, COUNTED)


async def add(owner: Database, number: int, event: str = "logout", at: str = "now()") -> None:
    await owner.execute(
        f"INSERT INTO audit_events (event, at) SELECT $1, {at} FROM generate_series(1, $2::int)", event, number
    )


# ---- each once ----------------------------------------------------------------------------------------------------


async def test_what_happened_is_counted_when_somebody_asks(db: Database, roll_up: RollUp) -> None:
    await db.execute(INSERT, "logout")
    await roll_up.catch_up()
    await db.execute(INSERT, "logout")
    await roll_up.catch_up()
    await roll_up.catch_up()

    assert await counted(db) == {"logout": 2}


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
async def test_an_event_that_is_committed_after_a_later_one_is_counted_once(
    own_database: str, db: Database, roll_up: RollUp, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    looks = []
    writers = queries.writers

    async def look(database: Database) -> set[str]:
        looks.append(await writers(database))
        return looks[-1]

    monkeypatch.setattr(queries, "writers", look)
    late = await asyncpg.connect(own_database)
    await late.execute("BEGIN")
    await late.execute(INSERT, "late")
    await db.execute(INSERT, "early")

    counting = asyncio.create_task(roll_up.count_on_schedule())
    await until(lambda: len(looks) > 2)
    assert await counted(db) == {}
    await late.execute(end)
    await late.close()
    await counting

    assert await counted(db) == ({"early": 1, "late": 1} if end == "COMMIT" else {"early": 1})


async def test_nobody_waits_for_a_writer_without_end(
    own_database: str, db: Database, roll_up: RollUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollup, "READER_SECONDS", 0.05)
    late = await asyncpg.connect(own_database)
    await late.execute("BEGIN")
    await late.execute(INSERT, "late")

    await roll_up.catch_up()

    progress = await queries.progress(db)
    assert (progress.folded, progress.as_of, progress.last) == (0, None, 1)
    await late.execute("COMMIT")
    await late.close()
    await roll_up.catch_up()
    assert await counted(db) == {"late": 1}


async def test_nobody_waits_for_the_schedule_either(
    own_database: str, db: Database, roll_up: RollUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollup, "READER_SECONDS", 0.05)
    monkeypatch.setattr(rollup, "WRITERS_SECONDS", 60.0)
    late = await asyncpg.connect(own_database)
    await late.execute("BEGIN")
    await late.execute(INSERT, "late")
    counting = asyncio.create_task(roll_up.count_on_schedule())
    await until(roll_up._one.locked)

    await roll_up.catch_up()

    assert not counting.done()
    await late.execute("COMMIT")
    await late.close()
    await counting
    assert await counted(db) == {"late": 1}


async def test_ids_are_given_out_one_by_one(db: Database) -> None:
    """A session that took several at once would use the last of them long after it is over."""
    (sequence,) = await db.fetch("SELECT seqcache FROM pg_sequence WHERE seqrelid = 'audit_events_id_seq'::regclass")

    assert sequence["seqcache"] == 1


async def test_whatever_writes_events_is_seen_before_it_takes_an_id(own_database: str, db: Database) -> None:
    """Of the kinds of statements that there are: one row, several, in a WITH that was prepared long ago."""
    writer = await asyncpg.connect(own_database)
    again = await writer.prepare("WITH w AS (INSERT INTO audit_events (event) VALUES ('c') RETURNING id) SELECT FROM w")
    for _ in range(7):  # from the sixth time on by a plan of old
        await again.fetch()
    for write in (
        lambda: writer.execute(INSERT, "a"),
        lambda: writer.execute("INSERT INTO audit_events (event) SELECT 'b' FROM generate_series(1, 3)"),
        again.fetch,
    ):
        await writer.execute("BEGIN")
        assert await queries.writers(db) == set()
        await write()
        assert len(await queries.writers(db)) == 1
        await writer.execute("COMMIT")
    await writer.close()


async def test_of_many_who_write_and_many_who_count_nothing_is_lost_or_counted_twice(
    own_database: str, owner: Database, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollup, "BATCH", 7)
    elsewhere = Database(own_database, 3)
    await elsewhere.start()
    counters = [RollUp(db), RollUp(elsewhere)]
    writing = True

    async def write(seed: int) -> None:
        chance = random.Random(seed)
        connection = await asyncpg.connect(own_database)
        for _ in range(30):
            await connection.execute("BEGIN")
            for _ in range(chance.randrange(1, 4)):
                await connection.execute(INSERT, f"event-{seed}")
                await asyncio.sleep(0.005 * chance.random())
            await connection.execute(chance.choice(["COMMIT", "COMMIT", "ROLLBACK"]))
        await connection.close()

    async def count(number: int) -> None:
        while writing:
            await counters[number % 2].catch_up()
            found, truth = await counted(db), await numbers(owner, TRUTH)
            assert all(number <= truth[event] for event, number in found.items())

    counting = [asyncio.create_task(count(number)) for number in range(50)]
    await asyncio.gather(*(write(seed) for seed in range(8)))
    writing = False
    await asyncio.gather(*counting)
    await counters[0].catch_up()
    await elsewhere.stop()

    assert await counted(db) == await numbers(owner, TRUTH)


async def test_what_was_there_before_is_counted_batch_by_batch(
    owner: Database, db: Database, roll_up: RollUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollup, "BATCH", 10)
    monkeypatch.setattr(queries, "SLOTS_A_STATEMENT", 3)
    await owner.execute(
        "INSERT INTO audit_events (event, at) SELECT 'logout', now() - n * interval '10 minutes'"
        " FROM generate_series(1, 95) n"
    )

    await roll_up.count_on_schedule()

    progress = await queries.progress(db)
    assert (progress.folded, progress.last) == (95, 95)
    assert await counted(db) == {"logout": 95}
    slots = {
        row["minutes"]: row["slots"]
        for row in await db.fetch("SELECT minutes, count(*) AS slots FROM activity_slots GROUP BY 1")
    }
    assert slots[15] == len(await db.fetch("SELECT FROM activity_counts")) > 60
    assert 16 <= slots[60] <= 17
    assert 1 <= slots[1440] <= 2


async def test_until_all_is_counted_there_is_no_time_up_to_which_it_is(
    owner: Database, db: Database, roll_up: RollUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who asks meanwhile is not kept waiting for it."""
    monkeypatch.setattr(rollup, "BATCH", 1)
    await add(owner, 3)
    fold = queries.fold

    async def slowly(tx: Transaction, after: int, upto: int) -> None:
        await fold(tx, after, upto)
        await asyncio.sleep(0.06)

    monkeypatch.setattr(queries, "fold", slowly)
    monkeypatch.setattr(rollup, "READER_SECONDS", 0.05)

    for number in (1, 2, 3):
        await roll_up.catch_up()
        progress = await queries.progress(db)
        assert (progress.folded, progress.as_of is None) == (number, number < 3)


# ---- who counts ---------------------------------------------------------------------------------------------------


async def test_the_schedule_leaves_it_to_whoever_is_at_it(db: Database, roll_up: RollUp) -> None:
    await db.execute(INSERT, "logout")
    async with db.transaction() as tx:
        assert await queries.try_turn(tx)
        await roll_up.count_on_schedule()
        assert await counted(db) == {}

    await roll_up.count_on_schedule()

    assert await counted(db) == {"logout": 1}


async def test_who_asks_waits_for_whoever_is_at_it(db: Database, roll_up: RollUp) -> None:
    await db.execute(INSERT, "logout")
    async with db.transaction() as tx:
        assert await queries.try_turn(tx)
        asking = asyncio.create_task(roll_up.catch_up())
        await asyncio.sleep(0.05)
        assert not asking.done()
    await asking

    assert await counted(db) == {"logout": 1}


async def test_what_was_counted_a_moment_ago_is_left_alone_by_the_schedule(db: Database, roll_up: RollUp) -> None:
    await db.execute(INSERT, "logout")
    await roll_up.count_on_schedule()
    await db.execute(INSERT, "logout")
    await roll_up.count_on_schedule()

    assert await counted(db) == {"logout": 1}
    await db.execute("UPDATE activity_progress SET as_of = as_of - interval '1 hour'")
    await roll_up.count_on_schedule()
    assert await counted(db) == {"logout": 2}


async def test_the_schedule_goes_on_whatever_happens(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollup, "INTERVAL", 0.01)
    runs: list[str] = []

    async def run() -> None:
        runs.append("ran")
        if len(runs) == 1:
            raise DatabaseUnavailable
        if len(runs) == 2:
            raise asyncpg.DeadlockDetectedError

    roll_up = RollUp(db)
    monkeypatch.setattr(roll_up, "count_on_schedule", run)  # and not of those that serve other tests
    roll_up.start()
    await until(lambda: len(runs) > 3)
    await roll_up.stop()

    stopped_at = len(runs)
    await asyncio.sleep(0.05)
    assert len(runs) == stopped_at


# ---- how long it is kept ------------------------------------------------------------------------------------------


async def test_what_was_counted_is_forgotten_with_the_events(owner: Database, db: Database, roll_up: RollUp) -> None:
    for days in (401, 399):
        await add(owner, 1, at=f"now() - interval '{days} days'")
    await roll_up.catch_up()

    async with db.transaction() as tx:
        gone = await queries.delete_old_counts(tx, 400, 10), await queries.delete_old_slots(tx, 400, 10)

    assert gone == (1, 3)
    (left,) = await db.fetch("SELECT slot FROM activity_counts")
    assert timedelta(days=398) < datetime.now(UTC) - left["slot"] < timedelta(days=400)

"""Statements that read the audit, and that count it in quarters of an hour. Time is PostgreSQL's."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import asyncpg
from msgspec import Struct

from app.audit.bitmaps import BITS, bitmap
from app.audit.events import Event
from app.database import Database, Transaction
from db import locks

LAST = 2**63 - 1  # the highest id there can be
QUARTER, HOUR, DAY = 15, 60, 1440  # minutes of a slot
SLOT = f"interval '{QUARTER} minutes'"  # divides every time zone's hours
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # at which slots of all lengths begin
ORIGIN = f"timestamptz '{EPOCH.isoformat()}'"


# ---- reading ------------------------------------------------------------------------------------------------------


class Wanted(Struct, frozen=True, kw_only=True):
    """Which events; what is None makes no difference. `first` and `last` are the ends of a network, or one address."""

    user_id: int | None
    event: Event | None
    first: str | None
    last: str | None
    since: datetime | None
    until: datetime | None


async def plan_anew(tx: Transaction) -> None:
    """Let the statements of this transaction be planned for their values: `logout` is rarer than `token.refreshed`."""
    await tx.execute("SET LOCAL plan_cache_mode = force_custom_plan")


async def regions(tx: Transaction, since: datetime | None, until: datetime | None) -> list[tuple[int, int]]:
    """Where among the ids events of this time may be, highest first; each from above its first number to its second.

    Ids rise with time but for moments, so a page is looked for by id. What has been counted (`fold`) is bounded by the
    ids that its quarter hours had; what has not been yet may be of any time.
    """
    if since is None and until is None:
        return [(0, LAST)]
    row = await tx.fetchrow(
        f"""
        SELECT folded,
               (SELECT min(first_id) FROM activity_slots
                WHERE minutes = {QUARTER} AND slot >= date_bin({SLOT}, $1, {ORIGIN})) AS first,
               (SELECT max(last_id) FROM activity_slots WHERE minutes = {QUARTER} AND slot < $2) AS last
        FROM activity_progress
        """,  # noqa: S608 - constants
        since,
        until,
    )
    assert row is not None  # noqa: S101 - the migration has made it
    folded: int = row["folded"]
    low = 0 if since is None else folded if row["first"] is None else row["first"] - 1
    high = folded if until is None else row["last"] or 0
    return [(low, LAST)] if until is None else [(folded, LAST), (low, high)]


async def page(tx: Transaction, wanted: Wanted, low: int, high: int, most: int) -> list[asyncpg.Record]:
    """The newest of the events that are wanted with an id above the one and up to the other.

    Of a network each month is asked by itself: whether its events are looked for by address, or met on the way through
    all, depends on how many it has there, which a plan for all months together does not heed.
    """
    values: list[object] = [low, high, most]

    def number(value: object) -> str:
        values.append(value)
        return f"${len(values)}"

    conditions = [
        condition.format(number(value))
        for condition, value in (
            ("user_id = {}", wanted.user_id),
            ("event = {}", wanted.event),
            ("at >= {}", wanted.since),
            ("at < {}", wanted.until),
            ("ip_address = {}" if wanted.first == wanted.last else "ip_address >= {}", wanted.first),
            ("ip_address <= {}", None if wanted.first == wanted.last else wanted.last),
        )
        if value is not None
    ]
    spans: list[tuple[str, ...]] = [()]
    if wanted.first != wanted.last:
        ends = [number(at) for at in await _months(tx)]
        between = [(f"at >= {begins}", f"at < {end}") for begins, end in pairwise(ends)]
        spans = [(f"at < {ends[0]}",), *between, (f"at >= {ends[-1]}",)] if ends else spans
    parts = (
        f"""
        (SELECT id, at, event, user_id, actor_id, session_id, host(ip_address) AS ip_address, user_agent, request_id,
                details
         FROM audit_events WHERE {" AND ".join(["id > $1", "id <= $2", *conditions, *span])}
         ORDER BY id DESC LIMIT $3)
        """  # noqa: S608 - conditions are ours
        for span in spans
    )
    query = f"SELECT * FROM ({' UNION ALL '.join(parts)}) AS parts ORDER BY id DESC LIMIT $3"  # noqa: S608 - ours
    return await tx.fetch(query, *values)


async def _months(tx: Transaction) -> list[datetime]:
    """Where the audit's partitions begin and end."""
    rows = await tx.fetch(
        """
        SELECT DISTINCT (to_date(right(c.relname, 6), 'YYYYMM') + n * interval '1 month') AT TIME ZONE 'UTC' AS at
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid, generate_series(0, 1) AS n
        WHERE i.inhparent = 'audit_events'::regclass AND c.relname ~ '^audit_events_[0-9]{6}$' ORDER BY 1
        """
    )
    return [row["at"] for row in rows]


# ---- counting -----------------------------------------------------------------------------------------------------

# What shows that a user and his session are active.
ACTIVE = (Event.LOGIN_SUCCEEDED, Event.TOKEN_REFRESHED)


class Progress(Struct, frozen=True):
    """How far the audit has been counted, and how far it goes. Read in this order: an id comes before its time."""

    folded: int  # every event up to this id
    as_of: datetime | None  # every event up to this time, if anything has been counted to its end yet
    now: datetime
    last: int  # id that was given out at `now`, or a moment later


async def progress(db: Database | Transaction) -> Progress:
    row = await db.fetchrow(
        """
        SELECT p.folded, p.as_of, statement_timestamp() AS now,
               CASE WHEN s.is_called THEN s.last_value ELSE 0 END AS last
        FROM activity_progress p, audit_events_id_seq s
        """
    )
    assert row is not None  # noqa: S101 - the migration has made it
    return Progress(*row)


async def writers(db: Database) -> set[str]:
    """The transactions that may yet commit an event whose id they have: INSERT locks the table before it takes one."""
    rows = await db.fetch(
        """
        SELECT virtualtransaction FROM pg_locks
        WHERE locktype = 'relation' AND relation = 'audit_events'::regclass AND mode = 'RowExclusiveLock' AND granted
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        """
    )
    return {row["virtualtransaction"] for row in rows}


async def try_turn(tx: Transaction) -> bool:
    """Be the only one who counts until the transaction ends, if nobody else is at it."""
    free: bool = await tx.fetchval("SELECT pg_try_advisory_xact_lock($1)", locks.ACTIVITY)
    return free


SLOTS_A_STATEMENT = 50  # of up to 32 KiB each

FOLD = f"""
    WITH batch AS MATERIALIZED (
        SELECT id, date_bin({SLOT}, at, {ORIGIN}) AS slot, event,
               CASE WHEN event = '{Event.LOGIN_FAILED}' THEN coalesce(details->>'reason', '') ELSE '' END AS reason,
               CASE WHEN event = ANY ($3) THEN hashint8extended(user_id, 0) & {BITS - 1} END AS user_bit,
               CASE WHEN event = ANY ($3) THEN uuid_hash_extended(session_id, 0) & {BITS - 1} END AS session_bit
        FROM audit_events WHERE id > $1 AND id <= $2
    ), counted AS (
        INSERT INTO activity_counts AS c (slot, event, reason, count)
        SELECT slot, event, reason, count(*) FROM batch GROUP BY slot, event, reason
        ON CONFLICT (slot, event, reason) DO UPDATE SET count = c.count + excluded.count
    )
    SELECT slot, min(id) AS first_id, max(id) AS last_id,
           array_agg(DISTINCT user_bit) FILTER (WHERE user_bit IS NOT NULL) AS users,
           array_agg(DISTINCT session_bit) FILTER (WHERE session_bit IS NOT NULL) AS sessions
    FROM batch GROUP BY slot
"""  # noqa: S608 - constants


class _Slot:
    """What a batch of events adds to a slot."""

    def __init__(self) -> None:
        self.first_id, self.last_id = LAST, 0
        self.users: set[int] = set()
        self.sessions: set[int] = set()

    def add(self, row: asyncpg.Record) -> None:
        self.first_id, self.last_id = min(self.first_id, row["first_id"]), max(self.last_id, row["last_id"])
        self.users.update(row["users"] or ())
        self.sessions.update(row["sessions"] or ())


async def fold(tx: Transaction, after: int, until: int) -> None:
    """Count the events with an id above the one and up to the other, all of which are decided, and counted nowhere."""
    slots: defaultdict[tuple[int, datetime], _Slot] = defaultdict(_Slot)
    for row in await tx.fetch(FOLD, after, until, ACTIVE):
        begins: datetime = row["slot"]
        hour = begins.replace(minute=0)
        for key in ((QUARTER, begins), (HOUR, hour), (DAY, hour.replace(hour=0))):
            slots[key].add(row)
    changed = list(slots.items())
    for start in range(0, len(changed), SLOTS_A_STATEMENT):
        some = changed[start : start + SLOTS_A_STATEMENT]
        await tx.execute(
            """
            INSERT INTO activity_slots AS s (minutes, slot, first_id, last_id, users, sessions)
            SELECT * FROM unnest($1::int[], $2::timestamptz[], $3::bigint[], $4::bigint[], $5::varbit[], $6::varbit[])
            ON CONFLICT (minutes, slot) DO UPDATE
            SET first_id = least(s.first_id, excluded.first_id), last_id = greatest(s.last_id, excluded.last_id),
                users = coalesce(s.users | excluded.users, s.users, excluded.users),
                sessions = coalesce(s.sessions | excluded.sessions, s.sessions, excluded.sessions)
            """,
            [minutes for (minutes, _), _ in some],
            [begins for (_, begins), _ in some],
            [slot.first_id for _, slot in some],
            [slot.last_id for _, slot in some],
            [bitmap(slot.users) if slot.users else None for _, slot in some],
            [bitmap(slot.sessions) if slot.sessions else None for _, slot in some],
        )


async def note_progress(tx: Transaction, folded: int, as_of: datetime | None) -> None:
    """Everything up to this id is counted; with `as_of` everything up to that time as well."""
    await tx.execute("UPDATE activity_progress SET folded = $1, as_of = greatest(as_of, $2)", folded, as_of)


async def delete_old_slots(tx: Transaction, retention_days: int, most: int) -> int:
    return await _delete_old(tx, "activity_slots", retention_days, most)


async def delete_old_counts(tx: Transaction, retention_days: int, most: int) -> int:
    return await _delete_old(tx, "activity_counts", retention_days, most)


async def _delete_old(tx: Transaction, table: str, retention_days: int, most: int) -> int:
    done = await tx.execute(
        f"""
        DELETE FROM {table} WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM {table} WHERE slot < now() - make_interval(days => $1) ORDER BY slot LIMIT $2
        ))
        """,  # noqa: S608 - names of ours
        retention_days,
        most,
    )
    return int(done.rpartition(" ")[2])


# ---- what was counted ---------------------------------------------------------------------------------------------


async def counts(tx: Transaction, bounds: Sequence[datetime]) -> list[asyncpg.Record]:
    """How often what happened between each two of these times (`point` counts them from 0)."""
    return await tx.fetch(
        """
        SELECT width_bucket(slot, $1::timestamptz[]) - 1 AS point, event, reason, sum(count)::bigint AS count
        FROM activity_counts WHERE slot >= $2 AND slot < $3 GROUP BY 1, 2, 3
        """,
        bounds,
        bounds[0],
        bounds[-1],
    )


async def active(tx: Transaction, bounds: Sequence[datetime]) -> list[asyncpg.Record]:
    """How many bits users and sessions have set between each two of these times."""
    return await tx.fetch(
        """
        SELECT p.point, coalesce(bit_count(bit_or(s.users)), 0) AS users,
               coalesce(bit_count(bit_or(s.sessions)), 0) AS sessions
        FROM unnest($1::int[], $2::int[], $3::timestamptz[], $4::timestamptz[]) AS p (point, minutes, begins, ends)
        JOIN activity_slots s ON s.minutes = p.minutes AND s.slot >= p.begins AND s.slot < p.ends
        GROUP BY p.point
        """,
        *zip(*covered(bounds), strict=True),
    )


def covered(bounds: Sequence[datetime]) -> Iterator[tuple[int, int, datetime, datetime]]:
    """The time between each two of these, put together of slots: of so many minutes, from one time to another."""
    for point, (begins, ends) in enumerate(pairwise(bounds)):
        for minutes, first, last in _cover(begins, ends, QUARTER, HOUR, DAY):
            yield point, minutes, first, last


def _cover(begins: datetime, ends: datetime, minutes: int, *longer: int) -> Iterator[tuple[int, datetime, datetime]]:
    """As many of the longest slots as there is room for, and shorter ones before and behind them."""
    step = timedelta(minutes=longer[0] if longer else minutes)
    first, last = begins + (EPOCH - begins) % step, ends - (ends - EPOCH) % step
    if not longer or first >= last:
        yield minutes, begins, ends
        return
    if begins < first:
        yield minutes, begins, first
    yield from _cover(first, last, *longer)
    if last < ends:
        yield minutes, last, ends

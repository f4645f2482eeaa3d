"""Which sessions are listed: by age, by factor, by device however many there are, and in which order."""

import secrets
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import InstrumentedAttribute

from app import listing
from app.database import Database
from app.keys.cursors import Cursors
from app.listing import Lists
from app.parts import Parts
from app.sessions import filters
from app.sessions.amr import FACTORS, STANDING_OUT
from app.sessions.models import Session as SessionRow
from app.statements import NOTHING, Statement
from app.uuid7 import uuid7
from tests.kit import Person, SignedIn, problem
from tests.replica import settings_for
from tests.sessions.kit import ids, page

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
WAYS = [["pwd"], ["pwd", "otp", "mfa"], ["pop", "user", "mfa"], ["fed"], ["pwd", "offline"]]


async def add(parts: Parts, who: Person, **columns: Any) -> str:
    """A session of his, as its row says."""
    row = {"id": uuid7(), "user_id": who.id, "amr": ["pwd"], **columns}
    row.setdefault("expires_at", datetime.now(UTC) + timedelta(days=1))
    places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    await parts.db.execute(f"INSERT INTO sessions ({', '.join(row)}) VALUES ({places})", *row.values())
    return str(row["id"])


# ---- age ----------------------------------------------------------------------------------------------------------


async def test_sessions_are_found_by_age(admin: SignedIn, parts: Parts, ada: Person) -> None:
    old, noon, new = [await add(parts, ada, created_at=NOON + timedelta(hours=hours)) for hours in (-1, 0, 1)]
    about = {"user_id": ada.id, "sort": "created_at"}

    assert await ids(admin, **about) == [old, noon, new]
    assert await ids(admin, **about, created_before="2026-01-05T12:00:00Z") == [old]
    assert await ids(admin, **about, created_after="2026-01-05T12:00:00Z") == [noon, new]
    assert await ids(admin, **about, created_after="2026-01-05T13:00:00+01:00") == [noon, new]
    assert await ids(admin, **about, created_after=NOON.isoformat(), created_before="2026-01-05T12:00:00.000001Z") == [
        noon
    ]
    assert await ids(admin, **about, created_before="0001-01-01T00:00:00Z") == []
    assert await ids(admin, **about, created_before="9999-12-31T23:59:59Z") == [old, noon, new]


@pytest.mark.parametrize("sort", ["created_at", "expires_at"])
async def test_age_is_told_of_live_expired_and_revoked_ones_alike_however_long_each_was_to_last(
    admin: SignedIn, parts: Parts, ada: Person, sort: str
) -> None:
    now = datetime.now(UTC)
    at = {hours: now - timedelta(hours=hours) for hours in range(8)}
    live = [await add(parts, ada, created_at=at[began], expires_at=now + timedelta(days=began)) for began in (6, 4, 2)]
    ended = [
        await add(parts, ada, created_at=at[7], expires_at=at[3]),
        await add(parts, ada, created_at=at[5], expires_at=at[2]),
        await add(parts, ada, created_at=at[3], expires_at=at[1]),
        await add(parts, ada, created_at=at[1], expires_at=now + timedelta(days=9), revoked_at=at[0]),
    ]
    about = {"user_id": ada.id, "sort": sort, "created_after": at[5].isoformat(), "created_before": at[1].isoformat()}

    assert sorted(await ids(admin, **about)) == sorted(live[1:])
    assert await ids(admin, **about, active="false") == ended[1:3]


# ---- factors ------------------------------------------------------------------------------------------------------


async def test_sessions_are_found_by_how_the_user_showed_who_he_is(admin: SignedIn, parts: Parts, ada: Person) -> None:
    made = [await add(parts, ada, amr=ways, created_at=NOON + timedelta(hours=n)) for n, ways in enumerate(WAYS)]

    for factor in FACTORS:
        fitting = [made[number] for number, ways in enumerate(WAYS) if factor in ways]
        assert await ids(admin, user_id=ada.id, sort="created_at", factor=factor) == fitting
    assert {factor for ways in WAYS for factor in ways} == set(FACTORS)


@pytest.mark.parametrize("collected", [listing.MOST_COLLECTED, 0])
@pytest.mark.parametrize("sort", ["created_at", "-created_at"])
async def test_what_was_revoked_and_what_expired_is_one_list_in_order(
    admin: SignedIn, parts: Parts, ada: Person, monkeypatch: pytest.MonkeyPatch, sort: str, collected: int
) -> None:
    """Where many have ended each are read by themselves."""
    monkeypatch.setattr(listing, "MOST_COLLECTED", collected)
    now = datetime.now(UTC)
    for number, ways in enumerate(WAYS * 4):
        began = now - timedelta(days=9, hours=number)
        if number % 2:
            await add(parts, ada, created_at=began, expires_at=now, amr=ways)
        else:
            await add(parts, ada, created_at=began, expires_at=now + timedelta(days=1), revoked_at=now, amr=ways)
    about = {"user_id": ada.id, "active": "false", "sort": sort, "factor": "mfa"}

    body = await page(admin, **about)
    first = await page(admin, **about, page_size=1)
    rest = await page(admin, **about, cursor=first["next_cursor"])
    one_by_one = [item for n in range(1, 10) for item in (await page(admin, **about, page_size=1, page=n))["items"]]

    began_at = [item["created_at"] for item in body["items"]]
    assert (len(began_at), body["total"], body["total_exact"]) == (8, 8, True)
    assert {tuple(item["amr"]) for item in body["items"]} == {("pwd", "otp", "mfa"), ("pop", "user", "mfa")}
    assert began_at == sorted(began_at, reverse=sort.startswith("-"))
    assert first["items"] + rest["items"] == body["items"]
    assert one_by_one == body["items"]


# ---- devices ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [filters.MOST_NAMES, 1])
async def test_a_device_is_found_by_a_part_of_either_name_however_many_there_are(
    admin: SignedIn, parts: Parts, ada: Person, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    word = secrets.token_hex(5)
    by_name = await add(parts, ada, device_name=f"Ada's {word}%")
    by_agent = await add(parts, ada, device_name="laptop", user_agent=f"Browser-{word}_1\\0")
    by_both = await add(parts, ada, device_name=word, user_agent=word)
    monkeypatch.setattr(filters, "MOST_NAMES", most)

    assert await ids(admin, device=word.upper()) == [by_both, by_agent, by_name]
    assert await ids(admin, device=f"{word}%") == [by_name]
    assert await ids(admin, device=f"{word}_1\\") == [by_agent]
    assert await ids(admin, device=f"{word}__") == []


# ---- order --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sort", ["created_at", "-created_at", "expires_at", "-expires_at"])
async def test_what_was_revoked_and_what_has_expired_are_one_list_in_order(
    admin: SignedIn, parts: Parts, ada: Person, sort: str
) -> None:
    """However long each was to last."""
    now = datetime.now(UTC)
    for number in range(8):
        began = now - timedelta(days=9 - number)
        ended = now - timedelta(minutes=1)
        if number % 2:
            await add(parts, ada, created_at=began, expires_at=now + timedelta(days=number), revoked_at=ended)
        else:
            await add(parts, ada, created_at=began, expires_at=ended + timedelta(seconds=number))
    await add(parts, ada, created_at=now - timedelta(days=400))
    about = {"user_id": ada.id, "active": "false", "sort": sort}

    whole = (await page(admin, **about))["items"]
    walked: list[Any] = []
    cursor: dict[str, str] = {}
    while len(walked) < 8:
        body = await page(admin, **about, page_size=3, **cursor)
        assert (body["total"], body["total_exact"]) == (8, True)
        walked += body["items"]
        cursor = {"cursor": body["next_cursor"]}

    values = [item[sort.removeprefix("-")] for item in whole]
    assert len(whole) == 8
    assert walked == whole
    assert values == sorted(values, reverse=sort.startswith("-"))
    assert len(await ids(admin, user_id=ada.id)) == 1


async def test_by_last_accessed_only_one_users_sessions_are_sorted(admin: SignedIn, ada: Person) -> None:
    for sort in ("last_accessed", "-last_accessed"):
        answer = await admin.ask("GET", "/sessions", params={"sort": sort, "ip": "192.0.2.1"})

        (error,) = problem(answer, 422, "validation_failed")["errors"]
        assert error["field"] == "sort"
        assert "user_id" in error["message"]
        assert await ids(admin, sort=sort, user_id=ada.id) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("created_before", "yesterday"),
        ("created_before", "2026-01-05T12:00:00"),
        ("created_before", "2026-01-05"),
        ("created_before", "1767614400"),
        ("created_after", "0001-01-01T00:00:00+14:00"),
        ("created_after", ""),
        ("factor", "hwk"),
        ("factor", ""),
    ],
)
async def test_what_does_not_fit_is_named(admin: SignedIn, name: str, value: str) -> None:
    answer = await admin.ask("GET", "/sessions", params={name: value})

    assert problem(answer, 422, "validation_failed")["errors"][0]["field"] == name


# ---- plans --------------------------------------------------------------------------------------------------------


# A minute from one to the next; half of them have expired, and a third was revoked.
CROWD = """
    INSERT INTO sessions (id, user_id, created_at, expires_at, amr, ip_address, device_name, user_agent, revoked_at)
    SELECT gen_random_uuid(), 1 + n % 1000, now() - n * interval '1 minute', now() + (10000 - n) * interval '1 minute',
           CASE n % 1000 WHEN 0 THEN '{fed}' ELSE '{pwd}' END::text[], inet '10.0.0.0' + n, 'device ' || n % 1000,
           'agent ' || n % 1000, CASE n % 3 WHEN 0 THEN now() END
    FROM generate_series(1, 20000) n
"""


@pytest.fixture
async def crowded(own_database: str, owner: Database) -> AsyncIterator[Lists]:
    await owner.execute("INSERT INTO users (username) SELECT 'user-' || n FROM generate_series(1, 1000) n")
    await owner.execute(CROWD)
    await owner.execute("ANALYZE sessions")
    lists = Lists(settings_for(own_database, ""), Cursors("secret"))
    await lists.start()
    yield lists
    await lists.stop()


async def planned(lists: Lists, statement: Select[Any], values: Mapping[str, object] = NOTHING) -> str:
    written = Statement(statement)
    async with lists.reading() as snapshot:
        return str(
            await snapshot._transaction.fetchval(f"EXPLAIN (FORMAT JSON) {written.words}", *written.values(values))
        )


@pytest.mark.parametrize(
    ("said", "index"),
    [
        ({"user_id": 7}, "sessions_user_id"),
        ({"ip": "10.0.7.0/28"}, "sessions_ip_address_expires_at_idx"),
        ({"device": "device 77"}, "sessions_device_name_idx"),
        ({"device": "agent 77"}, "sessions_user_agent_idx"),
        ({"created_before": datetime.now(UTC) - timedelta(minutes=19_900)}, "sessions_created_at_idx"),
        ({"factor": "fed"}, "sessions_fed_created_at_idx"),
        ({"factor": "user"}, "sessions_amr_idx"),
    ],
)
async def test_what_few_sessions_have_is_looked_for_by_its_own_index(
    crowded: Lists, said: dict[str, Any], index: str
) -> None:
    async with crowded.reading() as snapshot:
        meant = await filters.meant(snapshot, filters.said(filters.SessionFilter(**said)))
    plan = await planned(
        crowded, select(SessionRow.id).where(filters.LIVE, *filters.conditions(meant.words)), meant.values
    )

    assert f'"Index Name": "{index}' in plan
    assert "Seq Scan" not in plan


@pytest.mark.parametrize("column", [SessionRow.created_at, SessionRow.expires_at])
@pytest.mark.parametrize("which", [filters.LIVE, filters.EXPIRED, filters.REVOKED])
async def test_each_order_is_that_of_an_index(
    crowded: Lists, which: ColumnElement[bool], column: InstrumentedAttribute[datetime]
) -> None:
    plan = await planned(crowded, select(SessionRow.id).where(which).order_by(column, SessionRow.id).limit(50))

    assert f"{column.key}_idx" in plan
    assert '"Node Type": "Sort"' not in plan  # but `Incremental Sort`, of those that began at the same moment


@pytest.mark.parametrize("seconds", [1.4, 1.6])
async def test_lifetimes_are_rounded_outwards(crowded: Lists, owner: Database, seconds: float) -> None:
    await owner.execute("UPDATE sessions SET expires_at = created_at + make_interval(secs => $1)", seconds)

    async with crowded.reading() as snapshot:
        values = (await filters.meant(snapshot, filters.said(filters.SessionFilter()))).values

    assert values["shortest"] <= timedelta(seconds=seconds) <= values["longest"]  # type: ignore[operator]


async def test_those_that_stand_out_by_a_factor_are_in_order_in_an_index(crowded: Lists) -> None:
    states = ((filters.LIVE, ""), (filters.EXPIRED, ""), (filters.REVOKED, "revoked_"))
    for factor, (which, state) in product(STANDING_OUT, states):
        rows = select(SessionRow.id).where(which, filters.CONDITIONS["factor"])
        first = rows.order_by(SessionRow.created_at, SessionRow.id).limit(50)
        plan = await planned(crowded, first, {"factor": [factor]})

        assert f'"Index Name": "sessions_{state}{factor}_created_at_idx"' in plan
        assert '"Node Type": "Sort"' not in plan

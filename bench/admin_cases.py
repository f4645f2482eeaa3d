"""What is asked of the lists by `make bench-admin`, and how deep."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import asyncpg
import msgspec

from app.identity.listing import UserFilter
from app.keys.cursors import Cursors
from app.sessions.filters import SessionFilter
from app.trail.structs import AuditFilter

SIZE = 50  # rows of a page, which is what a page has unless somebody asks for more
REACH = 10_000  # rows that page numbers reach
PLACES_SECONDS = 300.0  # to sort a million rows for the places where pages begin

# Letters that many names begin with, few, and none; and parts of words that many have, few, and none.
WORDS = ("m", "x", "0", "ma", "xa", "0x", "mar", "zen", "qqq", "margaret", "xavier.x", "nobodyis")
USER_SORTS = ("-created_at", "created_at", "username", "-username", "email", "-email", "last_login", "-last_login")
USER_KEYS = {
    "username": 'words COLLATE "C"',  # they begin with it
    "email": "coalesce(email, '') COLLATE \"C\"",
    "created_at": "created_at",
    "last_login": "coalesce(last_login, timestamptz '1970-01-01 00:00:00+00')",
}
SESSION_SORTS = ("-created_at", "created_at", "expires_at", "-expires_at")


@dataclass(frozen=True)
class Case:
    """A request of a list."""

    list: str
    words: str  # what is asked, without the cursor's letters
    path: str


@dataclass(frozen=True)
class Asked:
    """A list, filtered and sorted: as it is asked by HTTP, and the same in SQL."""

    list: str
    query: Mapping[str, str]
    where: str = "true"
    values: Sequence[object] = ()
    sizes: Sequence[int] = field(default=(SIZE,))


def users() -> Iterator[Asked]:
    for sort in USER_SORTS:
        yield Asked("users", {"sort": sort}, sizes=(SIZE, 200))
    for word in WORDS:
        for sort in ("-created_at", "username"):
            yield _search({"search": word, "sort": sort}, word)
    for sort in ("email", "last_login"):
        yield _search({"search": "mar", "sort": sort}, "mar", sizes=(SIZE, 200))
        yield _search({"search": "ma", "sort": sort}, "ma", sizes=(SIZE, 200))
    held = "{}EXISTS (SELECT FROM user_roles r WHERE r.user_id = users.id AND r.role = '{}')"
    filters = {
        ("is_active", "true"): "is_active",
        ("is_active", "false"): "NOT is_active",
        ("is_admin", "true"): held.format("", "admin"),
        ("is_admin", "false"): held.format("NOT ", "admin"),
        ("role", "staff"): held.format("", "staff"),
        ("role", "editor"): held.format("", "editor"),
        ("role", "clerk"): held.format("", "clerk"),
        ("role", "nobodys"): held.format("", "nobodys"),
    }
    for (name, value), where in filters.items():
        for sort in ("-created_at", "email"):
            yield Asked("users", {name: value, "sort": sort}, where)
    yield _search({"search": "mar", "is_active": "false"}, "mar", filters["is_active", "false"])
    yield _search({"search": "ber", "role": "editor", "is_active": "true"}, "ber", filters["role", "editor"])
    yield _search({"search": "m", "role": "clerk"}, "m", filters["role", "clerk"])
    yield _search({"search": "m", "role": "staff", "sort": "username"}, "m", filters["role", "staff"])


def _search(query: Mapping[str, str], word: str, where: str = "true", sizes: Sequence[int] = (SIZE,)) -> Asked:
    if len(word) > 2 and word.isalnum():  # noqa: PLR2004 - three letters: a trigram
        return Asked("users", query, f"words LIKE '%{word}%' AND {where}", sizes=sizes)
    columns = ('lower(username) COLLATE "C"', USER_KEYS["email"], 'lower(full_name) COLLATE "C"')
    begins = " OR ".join(f"{column} LIKE '{word}%'" for column in columns)
    parts = f"words LIKE '%{word}%'" if len(word) > 2 else f"({begins})"  # noqa: PLR2004 - the same
    return Asked("users", query, f"{parts} AND {where}", sizes=sizes)


def sessions(now: datetime, user_id: int) -> Iterator[Asked]:
    for active in ("true", "false"):
        for sort in SESSION_SORTS:
            sizes = (SIZE, 200) if active == "true" else (SIZE,)
            yield _sessions({"sort": sort, "active": active}, "true", sizes=sizes)
        for sort in ("-created_at", "-last_accessed", "expires_at"):
            yield _sessions({"user_id": str(user_id), "sort": sort, "active": active}, "user_id = $1", user_id)
        for network in ("10.1.2.3", "10.1.2.0/24", "10.1.0.0/16", "10.16.0.0/12", "10.0.0.0/8", "192.0.2.0/24"):
            yield _sessions({"ip": network, "active": active}, "ip_address <<= $1::inet", network)
        yield _sessions(
            {"ip": "10.16.0.0/12", "sort": "expires_at", "active": active}, "ip_address <<= $1", "10.16.0.0/12"
        )
        for hours, side, word in ((1, ">=", "after"), (24, ">=", "after"), (480, "<", "before"), (1000, "<", "before")):
            at = now - timedelta(hours=hours)
            query = {f"created_{word}": at.isoformat(), "active": active}
            yield _sessions(query, f"created_at {side} $1", at)
        for factor in ("pwd", "otp", "pop", "fed", "offline"):
            yield _sessions({"factor": factor, "active": active}, f"amr @> ARRAY['{factor}']")
        yield _sessions({"factor": "offline", "sort": "expires_at", "active": active}, "amr @> ARRAY['offline']")
        for device in ("firefox", "chrome/142", "iphone", "laptop 7", "laptop 77", "nothing"):
            part = f"%{device}%"
            yield _sessions({"device": device, "active": active}, "(device_name ILIKE $1 OR user_agent ILIKE $1)", part)
        at = now - timedelta(days=10)
        yield _sessions(
            {"factor": "otp", "ip": "10.0.0.0/8", "created_after": at.isoformat(), "active": active},
            "amr @> ARRAY['otp'] AND ip_address <<= '10.0.0.0/8' AND created_at >= $1",
            at,
        )


def _sessions(query: Mapping[str, str], where: str, *values: object, sizes: Sequence[int] = (SIZE,)) -> Asked:
    live = "revoked_at IS NULL AND expires_at > now()"
    state = live if query["active"] == "true" else f"NOT ({live})"
    return Asked("sessions", query, f"{state} AND {where}", values, sizes)


def audit(now: datetime, user_id: int) -> Iterator[Asked]:
    since, until = now - timedelta(days=60), now - timedelta(days=59)
    filters: Sequence[Mapping[str, str]] = (
        {},
        {"user_id": str(user_id)},
        {"event": "token.refreshed"},
        {"event": "rate_limited"},
        {"event": "user.deleted"},
        {"event": "mfa.enabled"},
        {"ip": "10.0.0.7"},
        {"ip": "10.7.7.0/24"},
        {"ip": "10.7.0.0/16"},
        {"ip": "10.0.0.0/8"},
        {"ip": "192.0.2.0/24"},
        {"since": since.isoformat()},
        {"until": until.isoformat()},
        {"since": since.isoformat(), "until": until.isoformat()},
        {"event": "login.failed", "ip": "10.7.0.0/16"},
        {"event": "user.deleted", "since": since.isoformat(), "until": until.isoformat()},
        {"ip": "10.7.7.0/24", "since": since.isoformat(), "until": until.isoformat()},
        {"user_id": str(user_id), "event": "logout"},
    )
    for query in filters:
        yield Asked("audit", query, sizes=(SIZE, 200) if len(query) < 2 else (SIZE,))  # noqa: PLR2004 - one word


def others(now: datetime, user_id: int) -> Iterator[Case]:
    """What has no pages, or shows one user."""
    for path in (
        f"/users/{user_id}",
        f"/users/{user_id}/credentials",
        f"/sessions/{user_id}",
        "/roles",
        "/permissions",
        "/me/sessions",
        "/me/activity",
    ):
        yield Case("others", path.replace(str(user_id), "ID"), path)
    month, half = now - timedelta(days=30), now - timedelta(days=180)
    for words, query in {
        "24 hours": {},
        "30 days, UTC": {"bucket": "day", "since": month.isoformat()},
        "30 days, Kathmandu": {"bucket": "day", "tz": "Asia/Kathmandu", "since": month.isoformat()},
        "12 weeks": {"bucket": "week"},
        "six months": {"bucket": "month", "since": half.isoformat()},
    }.items():
        yield Case("analytics", words, f"/analytics?{urlencode(query)}")


async def at_depths(connection: "asyncpg.Connection[asyncpg.Record]", cursors: Cursors, asked: Asked) -> Iterator[Case]:
    """Its pages: the first, the tenth, the last that has a number; and by cursor to its end."""
    query = dict(asked.query)
    if asked.list == "audit":
        return iter(await _audit_depths(connection, cursors, asked))
    sort = query.get("sort", "-created_at")
    places = await _places(connection, asked, sort)
    total = places.pop("total")
    filtered = not set(query) <= {"sort", "active"}  # of these there are many: they are asked at fewer depths
    if filtered:
        places.pop("cursor, half", None)
    cases = []
    for size in asked.sizes:
        begun = {**query, "page_size": str(size)}
        numbers = {1: "page 1", 10: "page 10", min(total, REACH) // size: "the last page"}
        for number, depth in numbers.items():
            if number == 10 and filtered:  # noqa: PLR2004 - the tenth
                continue
            if number == 1 or 0 < size * (number - 1) < total:
                cases.append(_case(asked.list, {**begun, "page": str(number)}, query, size, depth))
        for depth, place in places.items():
            cursor = cursors.seal(_about(asked.list, query, sort), (2, *place, total, total <= REACH))
            cases.append(_case(asked.list, {**begun, "cursor": cursor}, query, size, depth))
    return iter(cases)


def _case(name: str, query: Mapping[str, str], shown: Mapping[str, str], size: int, depth: str) -> Case:
    words = " ".join(f"{key}={_short(value)}" for key, value in shown.items())
    return Case(name, f"{words}, {f'{size} rows, ' * (size != SIZE)}{depth}", f"/{name}?{urlencode(query)}")


def _short(value: str) -> str:
    """A time by its day and hour."""
    return value[:13] if value[10:11] == "T" else value


async def _places(connection: "asyncpg.Connection[asyncpg.Record]", asked: Asked, sort: str) -> dict[str, Any]:
    """How many rows there are, and which one is the last before each depth."""
    name = sort.removeprefix("-")
    key = USER_KEYS[name] if asked.list == "users" else name
    downwards = "DESC" if name != sort else "ASC"
    rows = await connection.fetch(
        f"""
        SELECT key, id, n, total FROM (
            SELECT key, id, row_number() OVER (ORDER BY key {downwards}, id {downwards}) AS n, count(*) OVER () AS total
            FROM (SELECT {key} AS key, id FROM {asked.list} WHERE {asked.where}) AS found
        ) AS numbered
        WHERE n IN (total / 4, total / 2, total - {SIZE // 2}) ORDER BY n
        """,  # noqa: S608 - our own words
        *asked.values,
        timeout=PLACES_SECONDS,
    )
    if not rows:
        return {"total": 0}
    total = rows[0]["total"]
    depths = {total // 4: "cursor, a quarter", total // 2: "cursor, half", total - 25: "cursor, end"}
    return {"total": total, **{depths[row["n"]]: (row["key"], row["id"]) for row in rows}}


def _about(name: str, query: Mapping[str, str], sort: str) -> bytes:
    """What the service says of the list in a cursor."""
    if name == "users":
        said = {word: query.get(word) for word in UserFilter.__struct_fields__}
        return msgspec.json.encode(("users", sort, msgspec.convert(said, UserFilter, strict=False)))
    said = {word: value for word, value in query.items() if word in SessionFilter.__struct_fields__}
    wanted = msgspec.convert(said, SessionFilter, strict=False)
    return msgspec.json.encode(("sessions", sort, wanted, query["active"] == "true"))


async def _audit_depths(connection: "asyncpg.Connection[asyncpg.Record]", cursors: Cursors, asked: Asked) -> list[Case]:
    """By id: a quarter of all events, not of those that are meant."""
    last: int = await connection.fetchval("SELECT max(id) FROM audit_events")
    said = {word: asked.query.get(word) for word in AuditFilter.__struct_fields__}
    about = msgspec.json.encode(("audit", msgspec.convert(said, AuditFilter, strict=False)))
    cases = []
    for size in asked.sizes:
        query = {**asked.query, "page_size": str(size)}
        cases.append(_case("audit", query, asked.query, size, "first page"))
        for depth, place in (("a quarter", last * 3 // 4), ("half", last // 2), ("end", min(last, 1000))):
            sealed = {**query, "cursor": cursors.seal(about, (place,))}
            cases.append(_case("audit", sealed, asked.query, size, f"cursor, {depth}"))
    return cases


async def everything(
    connection: "asyncpg.Connection[asyncpg.Record]", cursors: Cursors, only: Sequence[str]
) -> list[Case]:
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    user_id: int = await connection.fetchval("SELECT user_id FROM sessions ORDER BY id DESC LIMIT 1")
    one: int = await connection.fetchval("SELECT max(user_id) FROM audit_events WHERE user_id < 1000")
    lists = {"users": users(), "sessions": sessions(now, user_id), "audit": audit(now, one)}
    cases: list[Case] = []
    for name, wanted in lists.items():
        for asked in wanted if not only or name in only else ():
            cases += await at_depths(connection, cursors, asked)
    return cases + [case for case in others(now, user_id) if not only or case.list in only]

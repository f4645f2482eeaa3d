"""The list of more users than are counted: totals, and the ways in which a page is found."""

from datetime import UTC, datetime
from itertools import product
from typing import Any
from unittest.mock import AsyncMock

import pytest

from app.database import Database
from app.identity import listing
from app.identity.accounts import create_first_admin
from app.listing import PLANNING
from app.statements import Listing
from tests.conftest import ADMIN
from tests.identity.listkit import SORTS, names, page
from tests.kit import SignedIn, log_in
from tests.replica import Start

MANY = 10_050
KEYS = {
    "username": 'lower(username) COLLATE "C"',
    "email": "coalesce(email, '') COLLATE \"C\"",
    "created_at": "created_at",
    "last_login": "last_login NULLS FIRST",
}
BOUNDS = {"stretch": 1000, "offset": 0, "most": 51}  # rows


@pytest.fixture
async def many(start: Start) -> SignedIn:
    """An administrator of more users than are counted."""
    replica = await start()
    db = replica.parts.db
    await create_first_admin(db, replica.parts.passwords, ADMIN.username, ADMIN.password)
    await db.execute(
        """
        INSERT INTO users (username, created_at)
        SELECT 'many-' || n, now() - make_interval(secs => n / 10) FROM generate_series(1, $1::integer) AS n
        """,
        MANY - 1,
    )
    await db.execute("ANALYZE users")
    return await log_in(replica.client, ADMIN)


async def test_beyond_ten_thousand_the_total_is_an_estimate_and_a_cursor_goes_on(many: SignedIn) -> None:
    last = await page(many, page=50, page_size=200)
    beyond = await page(many, page_size=200, cursor=last["next_cursor"])
    few = await page(many, search="many-1000", page_size=1)

    assert not last["total_exact"]
    assert last["total"] == pytest.approx(MANY, rel=0.05)
    assert (len(beyond["items"]), beyond["page"], beyond["next_cursor"]) == (MANY - 10_000, 51, None)
    assert beyond["total"] == last["total"]
    assert (few["total"], few["total_exact"]) == (11, True)  # 1000, and 10000 to 10009


@pytest.mark.parametrize("about", [{"search": "many"}, {"search": "m", "sort": "username"}])
async def test_a_page_that_goes_beyond_ten_thousand_has_counted_them(
    many: SignedIn, monkeypatch: pytest.MonkeyPatch, about: dict[str, str]
) -> None:
    monkeypatch.setattr(Listing, "count", property(lambda _: pytest.fail("they are counted once more")))

    last = await page(many, **about, page=200, page_size=50)

    assert len(last["items"]) == 50
    assert not last["total_exact"]
    assert last["total"] == pytest.approx(MANY, rel=0.05)


@pytest.mark.parametrize(
    ("about", "where"),
    [
        ({"is_active": "true"}, "is_active"),
        ({"search": "many"}, "words LIKE '%many%'"),
        ({"search": "ma"}, "username LIKE 'ma%' OR email LIKE 'ma%' OR full_name LIKE 'Ma%'"),
    ],
)
@pytest.mark.parametrize("sort", ["created_at", "-created_at"])
async def test_whoever_fits_often_is_found_on_the_way_through_the_order(
    many: SignedIn, owner: Database, about: dict[str, str], where: str, sort: str
) -> None:
    """By number and by cursor, and by which of his names it may be."""
    await owner.execute("UPDATE users SET username = 'a-' || username WHERE id % 7 < 3")
    await owner.execute("UPDATE users SET email = 'ma-' || id || '@example.org' WHERE id % 7 = 0")
    await owner.execute("UPDATE users SET full_name = 'Ma' || id WHERE id % 7 = 1")
    await owner.execute("ANALYZE users")
    way = "DESC" if sort == "-created_at" else "ASC"
    rows = await owner.fetch(f"SELECT username FROM users WHERE {where} ORDER BY created_at {way}, id {way}")
    whole = [row["username"] for row in rows]

    first = await page(many, **about, sort=sort, page_size=200)
    second = await page(many, **about, sort=sort, page_size=200, cursor=first["next_cursor"])
    third = await page(many, **about, sort=sort, page_size=150, cursor=second["next_cursor"])
    far = await page(many, **about, sort=sort, page_size=200, page=20)

    assert names(first) + names(second) + names(third) == whole[:550]
    assert names(far) == whole[3800:4000]


@pytest.mark.parametrize("holding", ["each", "those"])
async def test_holders_of_a_role_are_the_same_however_they_are_looked_for(
    many: SignedIn, owner: Database, monkeypatch: pytest.MonkeyPatch, holding: str
) -> None:
    monkeypatch.setattr(listing, "_holding", AsyncMock(return_value=holding))
    await owner.execute("INSERT INTO roles (name) VALUES ('tenth')")
    await owner.execute("INSERT INTO user_roles (user_id, role) SELECT id, 'tenth' FROM users WHERE id % 10 = 0")

    for sort, search in product(SORTS, ["", "many-1"]):
        about = {"role": "tenth", "is_admin": "false", "sort": sort, "search": search, "page_size": 40}
        fitting = f"SELECT username FROM users WHERE id % 10 = 0 AND username LIKE $1 ORDER BY {KEYS[sort]}, id"
        whole = [row["username"] for row in await owner.fetch(fitting, f"{search}%")]
        last = len(whole) // 40

        first = await page(many, **about)
        second = await page(many, **about, cursor=first["next_cursor"])
        far = await page(many, **about, page=last)

        assert names(first) + names(second) == whole[:80], (sort, search)
        assert names(far) == whole[40 * (last - 1) : 40 * last], (sort, search)
        assert (first["total"], first["total_exact"]) == (len(whole), True), (sort, search)


@pytest.fixture
async def roles(many: SignedIn, owner: Database) -> None:
    """What all but a few hold, and what two do."""
    await owner.execute("INSERT INTO roles (name) VALUES ('most'), ('two')")
    await owner.execute("INSERT INTO user_roles (user_id, role) SELECT id, 'most' FROM users WHERE id > 10")
    few = "username ~ '-100[01]$'"
    await owner.execute(f"INSERT INTO user_roles (user_id, role) SELECT id, 'two' FROM users WHERE {few}")
    await owner.execute("ANALYZE user_roles")


@pytest.mark.parametrize(
    ("about", "most", "two"),
    [
        ({"sort": "username"}, "those", "those"),
        ({"search": "many-1", "sort": "username"}, "each", "those"),  # a ninth of all
        ({"search": "ma", "sort": "created_at"}, "those", "those"),
        ({"search": "m", "sort": "username"}, "each", "each"),  # where the planner finds the way
    ],
)
async def test_who_is_rarer_is_looked_for(
    many: SignedIn, roles: None, monkeypatch: pytest.MonkeyPatch, about: dict[str, str], most: str, two: str
) -> None:
    looked: list[object] = []

    def listing_of(said: listing.Said, *args: Any, **kwargs: Any) -> Any:
        looked.append(said.role)
        return made(said, *args, **kwargs)

    made = listing._listing
    monkeypatch.setattr(listing, "_listing", listing_of)

    assert names(await page(many, role="two", **about)) == ["many-1000", "many-1001"]
    assert looked[-1] == two
    first = await page(many, role="most", **about, page_size=1)
    assert looked[-1] == most
    await page(many, role="most", **about, page_size=1, cursor=first["next_cursor"])
    assert looked[-1] == (most if "search" in about else "each")  # all are met on the way


async def test_of_a_role_that_more_hold_than_are_counted_the_total_is_an_estimate(many: SignedIn, roles: None) -> None:
    first = await page(many, role="most", search="m", sort="username", page_size=1)

    assert not first["total_exact"]
    assert first["total"] > 10_001  # which are counted
    assert first["total"] == pytest.approx(MANY, rel=0.05)


@pytest.mark.parametrize(("words", "after"), [("many", ""), ("many", "a row"), ("ma", "")])
async def test_a_search_walks_along_an_index_that_answers_by_itself(
    many: SignedIn, owner: Database, words: str, after: str
) -> None:
    await owner.execute("VACUUM ANALYZE users")
    said = listing.Said("part" if words == "many" else "beginning", is_active=True, is_admin=False, role="each")
    orders: list[tuple[listing.UserSort, str, object]] = [
        ("username", "using users_username_words_idx", "n"),
        ("-email", "Backward using users_address_words_idx", "n"),
        ("-created_at", "Backward using users_created_at_words_idx", datetime.now(UTC)),
        ("last_login", "using users_last_login_words_idx", datetime.now(UTC)),
    ]

    async with owner.transaction() as tx:
        for name, value in PLANNING.items():
            await tx.execute(f"SET LOCAL {name} = '{value}'")
        for sort, way, place in orders:
            walked = listing._listing(said, sort, behind=bool(after)).walked
            values = {**listing._patterns(words), "role": "admin", "after_place": place, "after_key": 1, **BOUNDS}
            rows = await tx.fetch(f"EXPLAIN {walked.words}", *walked.values(values))

            assert f"Index Only Scan {way}" in "\n".join(row[0] for row in rows), sort


async def test_those_who_stand_together_far_down_the_order_are_found_and_counted(many: SignedIn) -> None:
    first = await page(many, search="many-9", sort="created_at", page_size=1)
    second = await page(many, search="many-9", sort="created_at", page_size=1, cursor=first["next_cursor"])

    assert names(first) + names(second) == ["many-9990", "many-9991"]  # ten began at each moment, the oldest last
    assert (first["total"], first["total_exact"]) == (1111, True)  # 9, 90 to 99, 900 to 999, 9000 to 9999
    assert second["total"] == first["total"]

"""The list of users: filters, orders, pages by number and by cursor."""

import base64
import secrets
from datetime import UTC, datetime
from itertools import product
from types import GenericAlias
from typing import Any
from unittest.mock import AsyncMock

import msgspec
import pytest
from httpx import AsyncClient, Response

from app.database import Database
from app.errors import ValidationFailed
from app.identity import listing
from app.identity.accounts import create_first_admin
from app.keys.cursors import Cursors
from app.listing import PLANNING
from app.parts import Parts
from app.statements import Listing
from tests.conftest import ADMIN
from tests.kit import SignedIn, log_in, new_name, problem
from tests.replica import Start

MANY = 10_050
PLACE = GenericAlias(tuple, (int, str, int))
SORTS = ["username", "email", "created_at", "last_login"]
KEYS = {
    "username": 'lower(username) COLLATE "C"',
    "email": "coalesce(email, '') COLLATE \"C\"",
    "created_at": "created_at",
    "last_login": "last_login NULLS FIRST",
}
BOUNDS = {"stretch": 1000, "offset": 0, "most": 51}  # rows


# ---- what these tests do over and over ----------------------------------------------------------------------------


async def listed(admin: SignedIn, **query: object) -> Response:
    params = {name: str(value) for name, value in query.items()}
    return await admin.ask("GET", "/users", params=params)


async def page(admin: SignedIn, **query: object) -> dict[str, Any]:
    answer = await listed(admin, **query)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def names(body: dict[str, Any]) -> list[str]:
    return [item["username"] for item in body["items"]]


async def add(parts: Parts, username: str, **columns: object) -> int:
    """A user with these columns, as no route could make one."""
    given = {"username": username, **columns}
    marks = ", ".join(f"${number + 1}" for number in range(len(given)))
    row = await parts.db.fetchrow(
        f"INSERT INTO users ({', '.join(given)}) VALUES ({marks}) RETURNING id", *given.values()
    )
    assert row is not None
    user_id: int = row["id"]
    return user_id


@pytest.fixture(scope="module")
async def crowd(parts: Parts) -> str:
    """Seven people, known by a word: two of them alike in every order, some without address or login."""
    word = f"crowd{secrets.token_hex(4)}"
    moment = "(timestamptz '2026-01-05 09:30:00.123456Z')"
    for number, (email, logged_in) in enumerate(
        [(True, 1), (True, 1), (False, None), (False, None), (True, 3), (True, None), (False, 2)]
    ):
        await parts.db.execute(
            f"""
            INSERT INTO users (username, email, created_at, last_login)
            VALUES ($1, $2, {moment} + make_interval(secs => $3), {moment} + make_interval(secs => $4))
            """,
            f"{word}-{'BaCdEfG'[number]}",
            f"{number}@{word}.example" if email else None,
            number // 2,
            logged_in,
        )
    return word


# ---- what is shown ------------------------------------------------------------------------------------------------


async def test_users_are_listed_newest_first(admin: SignedIn, client: AsyncClient, parts: Parts) -> None:
    first, second = await add(parts, new_name()), await add(parts, new_name())

    body = await page(admin)

    assert [item["id"] for item in body["items"][:2]] == [second, first]
    assert (body["page"], body["page_size"], body["total_exact"]) == (1, 50, True)
    assert set(body) == {"items", "total", "total_exact", "page", "page_size", "next_cursor"}


async def test_a_user_is_listed_as_he_is_shown_to_himself(admin: SignedIn) -> None:
    body = await page(admin, search="root", is_admin="true")

    me = (await admin.ask("GET", "/me")).json()
    assert [item for item in body["items"] if item["id"] == admin.user_id] == [me]


async def test_what_the_roles_allow_is_of_the_moment(admin: SignedIn, parts: Parts) -> None:
    role, username = f"r{secrets.token_hex(4)}", new_name()
    user_id = await add(parts, username)
    async with parts.db.transaction() as tx:
        await tx.execute("INSERT INTO roles (name) VALUES ($1)", role)
        await tx.execute("INSERT INTO role_permissions (role, permission) VALUES ($1, 'audit:read')", role)
        await tx.execute("INSERT INTO user_roles (user_id, role) VALUES ($1, $2)", user_id, role)
        await tx.execute("UPDATE role_table SET number = number + 1")
        changed = await parts.entries.outbox.announce(tx, ["r:table"])
    await parts.entries.outbox.settle(changed)

    body = await page(admin, search=username)

    assert (body["items"][0]["roles"], body["items"][0]["permissions"]) == ([role], ["audit:read"])


# ---- filters ------------------------------------------------------------------------------------------------------


async def test_filters_narrow_the_list(admin: SignedIn, parts: Parts) -> None:
    word = new_name()
    active, inactive = await add(parts, f"{word}-a"), await add(parts, f"{word}-b", is_active=False)
    boss = await add(parts, f"{word}-c")
    await parts.db.execute("INSERT INTO user_roles (user_id, role) VALUES ($1, 'admin')", boss)

    async def ids(**query: object) -> list[int]:
        body = await page(admin, search=word, sort="username", **query)
        assert body["total"] == len(body["items"])
        return [item["id"] for item in body["items"]]

    assert await ids() == [active, inactive, boss]
    assert await ids(is_active="true") == [active, boss]
    assert await ids(is_active="false") == [inactive]
    assert await ids(is_admin="true") == await ids(role="admin") == [boss]
    assert await ids(is_admin="false") == [active, inactive]
    assert await ids(is_admin="true", is_active="false") == await ids(role="no-such-role") == []


async def test_a_search_finds_parts_in_any_case(admin: SignedIn, parts: Parts) -> None:
    word = secrets.token_hex(6)
    by_name = await add(parts, f"x-{word}-y")
    by_email = await add(parts, new_name(), email=f"{word}@example.org")
    by_full_name = await add(parts, new_name(), full_name=f"Ada {word.upper()} King")

    body = await page(admin, search=word.upper()[:11], sort="created_at")

    assert [item["id"] for item in body["items"]] == [by_name, by_email, by_full_name]


@pytest.mark.parametrize("wildcard", ["%", "_", "\\", "/", "'"])
async def test_a_search_takes_wildcards_at_their_word(admin: SignedIn, parts: Parts, wildcard: str) -> None:
    word = secrets.token_hex(6)
    with_it = await add(parts, new_name(), full_name=f"{word}{wildcard}z")
    await add(parts, new_name(), full_name=f"{word}yz")

    body = await page(admin, search=f"{word}{wildcard}z")

    assert [item["id"] for item in body["items"]] == [with_it]


@pytest.mark.parametrize("search", ["z9", "Z", "z9@", "z-", "\u00e9"])
async def test_less_than_three_letters_are_the_beginning_of_something(
    admin: SignedIn, parts: Parts, search: str
) -> None:
    word = secrets.token_hex(6)
    begins = [
        await add(parts, f"{search}{word}"),
        await add(parts, new_name(), email=f"{search.lower()}{word}@example.org"),
        await add(parts, new_name(), full_name=f"{search}{word} King"),
    ]
    await add(parts, f"a{search}{word}", full_name=f"King {search}")

    body = await page(admin, search=search, sort="-created_at", page_size=200)

    assert [item["id"] for item in body["items"] if word in str(item)] == begins[::-1]


@pytest.mark.parametrize("sort", ["username", "-username", "email", "-email"])
async def test_a_letter_in_an_order_by_name_or_address_is_the_beginning_of_that(
    admin: SignedIn, parts: Parts, sort: str
) -> None:
    word, letter = secrets.token_hex(6), secrets.choice("bdfhjklmnopqrstuvwxyz")
    named = [await add(parts, f"{letter}{number}-{word}", email=f"0-{word}-{number}@example.org") for number in "12"]
    addressed = [await add(parts, f"0-{number}-{word}", email=f"{letter}{number}{word}@example.org") for number in "34"]
    await add(parts, f"0-5-{word}", full_name=f"{letter} {word}")
    found = named if sort.endswith("username") else addressed
    pages: list[Any] = [await page(admin, search=letter.upper(), sort=sort, page_size=1)]

    while pages[-1]["next_cursor"]:
        cursor = pages[-1]["next_cursor"]
        pages.append(await page(admin, search=letter.upper(), sort=sort, page_size=1, cursor=cursor))

    ids = [item["id"] for each in pages for item in each["items"] if word in item["username"]]
    assert ids == (found[::-1] if sort.startswith("-") else found)
    assert {each["total"] for each in pages} == {len(pages)}


async def test_letters_that_are_not_ascii_are_looked_for_in_all_names_in_any_order(
    admin: SignedIn, parts: Parts
) -> None:
    wang = await add(parts, new_name(), full_name="王芳")

    body = await page(admin, search="王芳", sort="username")

    assert [item["id"] for item in body["items"]] == [wang]


async def test_an_empty_search_makes_no_difference(admin: SignedIn) -> None:
    everybody, searched = await page(admin, page_size=1), await page(admin, page_size=1, search="")

    assert searched["total"] == everybody["total"]


# ---- orders and pages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sort", SORTS)
async def test_who_has_no_value_is_before_all_others(admin: SignedIn, crowd: str, sort: str) -> None:
    def key(item: dict[str, Any]) -> tuple[bool, str, int]:
        return item[sort] is not None, str(item[sort]).lower(), item["id"]

    items = (await page(admin, search=crowd, sort=sort))["items"]

    assert len(items) == 7
    assert items == sorted(items, key=key)
    assert (await page(admin, search=crowd, sort=f"-{sort}"))["items"] == items[::-1]


@pytest.mark.parametrize("sort", [prefix + sort for sort in SORTS for prefix in ("", "-")])
@pytest.mark.parametrize("page_size", [1, 2, 3])
async def test_pages_and_cursors_walk_through_the_same_list(
    admin: SignedIn, crowd: str, sort: str, page_size: int
) -> None:
    whole = names(await page(admin, search=crowd, sort=sort))
    by_page: list[str] = []
    by_cursor: list[str] = []
    body: dict[str, Any] = {}
    cursor: dict[str, object] = {}

    for number in range(1, -(-7 // page_size) + 1):
        by_page += names(await page(admin, search=crowd, sort=sort, page_size=page_size, page=number))
        body = await page(admin, search=crowd, sort=sort, page_size=page_size, **cursor)
        assert (body["page"], body["total"], body["total_exact"]) == (number, 7, True)
        by_cursor += names(body)
        cursor = {"cursor": body["next_cursor"]}

    assert by_page == by_cursor == whole
    assert body["next_cursor"] is None


async def test_a_cursor_goes_on_from_any_page(admin: SignedIn, crowd: str) -> None:
    second = await page(admin, search=crowd, sort="username", page=2, page_size=2)

    third = await page(admin, search=crowd, sort="username", page_size=3, cursor=second["next_cursor"], page=1)

    assert names(third) == [f"{crowd}-{letter}" for letter in "EfG"]
    assert third["page"] == 3


@pytest.mark.parametrize("sort", ["username", "-username"])
async def test_a_cursor_may_have_the_username_alone(admin: SignedIn, crowd: str, parts: Parts, sort: str) -> None:
    """As those had that the release before made."""
    whole = (await page(admin, search=crowd, sort=sort))["items"]
    about = msgspec.json.encode(("users", sort, listing.UserFilter(crowd, None, None, None)))
    cursor = parts.lists._cursors.seal(about, (2, whole[2]["username"].lower(), whole[2]["id"], 7, True))

    body = await page(admin, search=crowd, sort=sort, cursor=cursor)

    assert body["items"] == whole[3:]


async def test_who_comes_in_between_shifts_nobody(admin: SignedIn, parts: Parts) -> None:
    word = new_name()
    old = [await add(parts, f"{word}-{number}") for number in range(4)]
    first = await page(admin, search=word, page_size=2)

    await add(parts, f"{word}-new")
    second = await page(admin, search=word, page_size=2, cursor=first["next_cursor"])

    assert [item["id"] for item in first["items"] + second["items"]] == old[::-1]


async def test_a_page_beyond_the_end_is_empty(admin: SignedIn, crowd: str) -> None:
    body = await page(admin, search=crowd, page=5, page_size=2)

    assert (body["items"], body["total"], body["next_cursor"]) == ([], 7, None)


# ---- bounds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("page", "0"),
        ("page", "-1"),
        ("page", "one"),
        ("page", "9" * 5000),
        ("page_size", "0"),
        ("page_size", "201"),
        ("sort", "password_hash"),
        ("sort", "--email"),
        ("sort", ""),
        ("is_active", "maybe"),
        ("is_admin", "2"),
        ("role", "A B"),
        ("search", "x" * 256),
        ("search", "a\nb"),
        ("cursor", ""),
        ("cursor", "x" * 4097),
    ],
)
async def test_what_does_not_fit_is_named(admin: SignedIn, name: str, value: str) -> None:
    answer = await listed(admin, **{name: value})

    assert problem(answer, 422, "validation_failed")["errors"][0]["field"] == name


@pytest.mark.parametrize(
    ("number", "page_size"), [(201, 50), (51, 200), (10_001, 1), (2**63, 1), (2**64, 200), (10**100, 7)]
)
async def test_page_numbers_reach_ten_thousand_rows(admin: SignedIn, number: int, page_size: int) -> None:
    problem(await listed(admin, page=number, page_size=page_size), 422, "use_cursor")
    problem(await listed(admin, page=number, page_size=page_size, search="nobody"), 422, "use_cursor")
    assert (await listed(admin, page=10_000 // page_size, page_size=page_size)).status_code == 200


async def test_a_cursor_is_good_for_its_own_list_only(admin: SignedIn, crowd: str) -> None:
    cursor = (await page(admin, search=crowd, sort="username", page_size=2))["next_cursor"]
    sealed = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    sealed[-2] ^= 1
    forged = base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    for query in (
        {"search": crowd, "sort": "-username", "cursor": cursor},
        {"search": crowd, "sort": "username", "is_active": "true", "cursor": cursor},
        {"sort": "username", "cursor": cursor},
        {"search": crowd, "sort": "username", "cursor": forged},
        {"search": crowd, "sort": "username", "cursor": cursor[:-4]},
        {"search": crowd, "sort": "username", "cursor": "x"},
        {"search": crowd, "sort": "username", "cursor": "ä" + cursor},
    ):
        answer = await listed(admin, **query)
        assert problem(answer, 422, "validation_failed")["errors"][0]["field"] == "cursor"


def test_a_cursor_outlives_a_change_of_the_secret_once() -> None:
    place = (3, "ada", 42)
    sealed = Cursors("old secret").seal(b"users", place)

    opened = Cursors("new secret", "old secret").open(b"users", sealed, PLACE)

    assert opened == place
    with pytest.raises(ValidationFailed):
        Cursors("newer secret", "new secret").open(b"users", sealed, PLACE)


def test_a_cursor_of_another_shape_is_none() -> None:
    cursors = Cursors("secret")

    with pytest.raises(ValidationFailed):
        cursors.open(b"users", cursors.seal(b"users", (3, "ada", "not a number")), PLACE)


# ---- many ---------------------------------------------------------------------------------------------------------


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
    monkeypatch.setattr(listing, "_rarer", AsyncMock(return_value=holding))
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
        ({"search": "many-100", "sort": "username"}, "each", "each"),  # of whom the planner expects one
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

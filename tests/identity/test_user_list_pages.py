"""The list of users, page by page: orders, numbers, cursors, and their bounds."""

import base64
import secrets
from types import GenericAlias
from typing import Any

import msgspec
import pytest

from app.errors import ValidationFailed
from app.identity import listing
from app.keys.cursors import Cursors
from app.parts import Parts
from tests.identity.listkit import SORTS, add, listed, names, page
from tests.kit import SignedIn, new_name, problem

PLACE = GenericAlias(tuple, (int, str, int))


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


@pytest.mark.parametrize(("number", "size"), [(5, 2), (200, 50), (50, 200)])
@pytest.mark.parametrize("sort", SORTS)
async def test_a_page_beyond_the_end_is_empty(admin: SignedIn, crowd: str, number: int, size: int, sort: str) -> None:
    body = await page(admin, search=crowd, page=number, page_size=size, sort=sort)

    assert (body["items"], body["next_cursor"]) == ([], None)
    assert (body["total"], body["total_exact"]) == (7, True)


@pytest.mark.parametrize("query", [{}, {"search": "ro", "sort": "username"}, {"is_active": "true"}])
async def test_a_page_beyond_the_end_of_any_list_has_counted_it(admin: SignedIn, query: dict[str, str]) -> None:
    first = await page(admin, **query)
    last = await page(admin, **query, page=50, page_size=200)

    assert (last["items"], last["total"], last["total_exact"]) == ([], first["total"], True)


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

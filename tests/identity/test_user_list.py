"""The list of users: what it shows, and of whom."""

import secrets
from typing import Any

import pytest
from httpx import AsyncClient

from app.parts import Parts
from tests.identity.listkit import add, page
from tests.kit import SignedIn, new_name

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

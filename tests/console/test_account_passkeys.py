"""Passkeys: what a page's script sends is a plain form; named, and taken away after a question."""

import html
import json
import re
from typing import Any
from uuid import uuid4

import pytest
from httpx import AsyncClient, Response

from app.edge import Edge
from app.parts import Parts
from tests.console.account_kit import ACCOUNT, asks_who, missing, session_of, signed_in_long_ago, text_of, went
from tests.console.visitor import Visitor, form_of
from tests.identity.webauthnkit import Key, added, login_options, sign_in
from tests.kit import Person, register

FACTORS = f"{ACCOUNT}/factors"
NEW = f"{FACTORS}/passkeys/new"
OPTIONS = re.compile(r'data-new-passkey="([^"]*)"')


def options_of(page: Response) -> dict[str, Any]:
    """What the page's script hands to the browser."""
    found = OPTIONS.search(page.text)
    assert found is not None, page.text
    options: dict[str, Any] = json.loads(html.unescape(found[1]))
    return options


async def passkeys_of(visitor: Visitor, client: AsyncClient) -> list[dict[str, Any]]:
    answer = await session_of(visitor, client).ask("GET", "/me/passkeys")
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


@pytest.fixture
async def passkey(inside: Visitor, client: AsyncClient) -> str:
    """The address of one of Ada's."""
    await added(session_of(inside, client), name="My phone")
    (found,) = await passkeys_of(inside, client)
    return f"{FACTORS}/passkeys/{found['id']}"


async def test_what_the_browser_made_signs_in(inside: Visitor, ada: Person, client: AsyncClient) -> None:
    page, key = await inside.get(NEW), Key()

    credential = json.dumps(key.made(options_of(page)))
    answer = await inside.send(page, NEW, credential=credential, name="My laptop")

    said = await went(inside, answer, FACTORS)
    assert "The passkey is ready." in said
    assert "<strong>My laptop</strong>" in said
    signed_in = await sign_in(client, key.shown(await login_options(client)))
    assert signed_in.json()["user"]["id"] == ada.id


async def test_without_a_name_it_is_called_by_its_device(inside: Visitor, client: AsyncClient) -> None:
    page = await inside.get(NEW)
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
    inside.http.headers["User-Agent"] = firefox

    await inside.send(page, NEW, credential=json.dumps(Key().made(options_of(page))))

    assert [each["name"] for each in await passkeys_of(inside, client)] == ["Firefox on Linux"]


async def test_a_browser_is_told_which_ones_there_are(inside: Visitor, passkey: str) -> None:
    assert len(options_of(await inside.get(NEW))["excludeCredentials"]) == 1


@pytest.mark.parametrize(
    "credential",
    [
        "",
        "{",
        "[]",
        "null",
        "1",
        '"x"',
        "{}",
        '{"id":1}',
        "[" * 100,
        '{"id":"\\u0000"}',
        "x" * 100_000,
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    ],
)
async def test_what_no_browser_made_is_refused_on_the_page(
    inside: Visitor, client: AsyncClient, credential: str
) -> None:
    answer = await inside.send(await inside.get(NEW), NEW, credential=credential, name="<b>My laptop</b>")

    assert answer.status_code == 422
    assert form_of(answer, NEW).fields["name"] == "<b>My laptop</b>"
    assert "<b>" not in answer.text
    assert options_of(answer)
    assert await passkeys_of(inside, client) == []


async def test_what_was_made_for_another_page_comes_to_nothing_and_the_next_try_does(
    inside: Visitor, client: AsyncClient, edge: Edge
) -> None:
    other = Visitor(edge)
    await other.sign_in(await register(client))
    page = await inside.get(NEW)

    again = await inside.send(page, NEW, credential=json.dumps(Key().made(options_of(await other.get(NEW)))))

    assert again.status_code == 422
    assert "was not accepted, or came too late" in again.text
    answer = await inside.send(again, NEW, credential=json.dumps(Key().made(options_of(again))))
    assert answer.status_code == 303


async def test_a_name_that_is_none_is_told_beside_the_field(inside: Visitor, passkey: str) -> None:
    page = await inside.get(passkey)

    for name in ("", "x" * 101, "a\u202eb", " "):
        answer = await inside.send(page, passkey, name=name)
        assert answer.status_code == 422
        assert 'id="name-wrong"' in answer.text
        assert form_of(answer, passkey).fields["name"] == name


async def test_a_passkey_gets_another_name(inside: Visitor, passkey: str) -> None:
    answer = await inside.send(await inside.get(passkey), passkey, name="<script>alert(1)</script>")

    said = await went(inside, answer, FACTORS)
    assert "<script>alert(1)</script>" in said  # as text: see next
    assert "<script>alert" not in (await inside.get(FACTORS)).text
    assert "<script>alert" not in (await inside.get(passkey)).text
    assert "<script>alert" not in (await inside.get(f"{passkey}/remove")).text


async def test_a_passkey_is_taken_away_after_a_question(inside: Visitor, client: AsyncClient, passkey: str) -> None:
    remove = f"{passkey}/remove"
    assert f'href="{remove}"' in (await inside.get(passkey)).text
    question = await inside.get(remove)
    assert "After that nobody can sign in with “My phone”." in text_of(question)
    assert len(await passkeys_of(inside, client)) == 1

    answer = await inside.send(question, remove)

    assert "The passkey has been removed." in await went(inside, answer, FACTORS)
    assert await passkeys_of(inside, client) == []
    missing(await inside.get(passkey))


async def test_the_last_way_in_stays_and_the_page_says_why(
    inside: Visitor, ada: Person, parts: Parts, client: AsyncClient, passkey: str
) -> None:
    await parts.db.execute("UPDATE users SET password_hash = NULL WHERE id = $1", ada.id)

    answer = await inside.send(await inside.get(f"{passkey}/remove"), f"{passkey}/remove")

    assert answer.status_code == 409
    assert "This is the last way to sign in." in answer.text
    assert len(await passkeys_of(inside, client)) == 1


async def test_somebody_elses_is_none(inside: Visitor, client: AsyncClient, edge: Edge, passkey: str) -> None:
    other = Visitor(edge)
    await other.sign_in(await register(client))
    await added(session_of(other, client))
    page = await other.get(ACCOUNT)
    token = {"csrf_token": form_of(page, ACCOUNT).fields["csrf_token"]}

    for path in (passkey, f"{FACTORS}/passkeys/{uuid4()}", f"{FACTORS}/passkeys/1"):
        missing(await other.get(path))
        missing(await other.get(f"{path}/remove"))
    for path in (passkey, f"{FACTORS}/passkeys/{uuid4()}"):
        missing(await other.post(path, {**token, "name": "mine"}))
        missing(await other.post(f"{path}/remove", token))
    assert [each["name"] for each in await passkeys_of(inside, client)] == ["My phone"]


async def test_making_and_taking_away_need_a_present_sign_in(
    inside: Visitor, client: AsyncClient, parts: Parts, passkey: str
) -> None:
    page, question = await inside.get(NEW), await inside.get(f"{passkey}/remove")
    await signed_in_long_ago(inside, client, parts)

    asks_who(await inside.get(NEW), NEW)
    asks_who(await inside.get(f"{passkey}/remove"), f"{passkey}/remove")
    asks_who(await inside.send(page, NEW, credential=json.dumps(Key().made(options_of(page)))), NEW)
    asks_who(await inside.send(question, f"{passkey}/remove"), f"{passkey}/remove")
    assert (await inside.send(await inside.get(passkey), passkey, name="Old phone")).status_code == 303

"""Preferences: the look from the first byte on; what other applications keep stays as it is."""

from typing import Any

import pytest
from httpx import AsyncClient

from tests.console.account_kit import ACCOUNT, session_of, went
from tests.console.visitor import Visitor, form_of

PREFERENCES = f"{ACCOUNT}/preferences"


async def kept(visitor: Visitor, client: AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await session_of(visitor, client).ask("GET", "/preferences")).json()
    return found


async def keep(visitor: Visitor, client: AsyncClient, **values: object) -> None:
    answer = await session_of(visitor, client).ask("POST", "/preferences", json=values)
    assert answer.status_code == 200, answer.text


async def test_the_look_is_there_at_once(inside: Visitor, client: AsyncClient) -> None:
    assert 'data-bs-theme="system"' in (await inside.get(PREFERENCES)).text

    answer = await inside.send(await inside.get(PREFERENCES), PREFERENCES, theme="dark")

    said = await went(inside, answer, PREFERENCES)
    assert "Your preferences have been saved." in said
    assert 'data-bs-theme="dark"' in said
    assert form_of(await inside.get(PREFERENCES), PREFERENCES).fields["theme"] == "dark"


async def test_what_was_never_chosen_stays_unsaid(inside: Visitor, client: AsyncClient) -> None:
    await inside.send(await inside.get(PREFERENCES), PREFERENCES)
    assert await kept(inside, client) == {}

    await inside.send(await inside.get(PREFERENCES), PREFERENCES, language="de")

    assert await kept(inside, client) == {"language": "de"}


async def test_all_is_kept_as_it_was_chosen_and_other_keys_stay(inside: Visitor, client: AsyncClient) -> None:
    await keep(inside, client, **{"editor.font": {"size": 1.50}})
    chosen = {
        "theme": "light",
        "language": "fr",
        "default_model": "Ada <b>1</b>",
        "history": "on",
        "retention_days": "7",
    }

    answer = await inside.send(await inside.get(PREFERENCES), PREFERENCES, **chosen)

    assert answer.status_code == 303
    assert await kept(inside, client) == {
        "editor.font": {"size": 1.5},
        "theme": "light",
        "language": "fr",
        "default_model": "Ada <b>1</b>",
        "conversation_history": {"enabled": True, "retention_days": 7},
    }
    page = await inside.get(PREFERENCES)
    fields = form_of(page, PREFERENCES).fields
    assert {name: fields[name] for name in chosen} == chosen
    assert "<b>" not in page.text


async def test_what_is_taken_back_is_null(inside: Visitor, client: AsyncClient) -> None:
    history = {"enabled": False, "retention_days": 90}
    await keep(inside, client, theme="dark", default_model="Ada", conversation_history=history)
    page = await inside.get(PREFERENCES)
    assert form_of(page, PREFERENCES).fields["history"] == "off"
    assert form_of(page, PREFERENCES).fields["retention_days"] == "90"

    await inside.send(page, PREFERENCES, theme="", default_model="", history="")

    assert await kept(inside, client) == {"theme": None, "default_model": None, "conversation_history": None}
    assert (await inside.get(PREFERENCES)).status_code == 200


async def test_a_language_that_an_application_has_kept_stays_chosen(inside: Visitor, client: AsyncClient) -> None:
    await keep(inside, client, language="gsw-CH")

    await inside.send(await inside.get(PREFERENCES), PREFERENCES, theme="dark")

    assert (await kept(inside, client))["language"] == "gsw-CH"


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("theme", "blue"),
        ("theme", '"><script>alert(1)</script>'),
        ("language", "not a language"),
        ("default_model", "x" * 256),
        ("retention_days", "0"),
        ("retention_days", "3651"),
        ("retention_days", "-1"),
        ("retention_days", "1e2"),
        ("retention_days", "٣"),
        ("retention_days", ""),
        ("retention_days", "9" * 5000),
    ],
)
async def test_what_cannot_be_is_told_beside_its_field_and_nothing_is_kept(
    inside: Visitor, client: AsyncClient, field: str, typed: str
) -> None:
    typed_all = {"theme": "dark", "history": "on", "default_model": "Ada", field: typed}

    answer = await inside.send(await inside.get(PREFERENCES), PREFERENCES, **typed_all)

    assert answer.status_code == 422
    assert f'id="{field}-wrong"' in answer.text
    assert "<script>alert" not in answer.text
    assert await kept(inside, client) == {}
    assert form_of(answer, PREFERENCES).fields["default_model"] == typed_all["default_model"]


@pytest.mark.parametrize("typed", ["\x00", "a\x00b", "\x1b[31m", "\u202e", "\\u0000"])
async def test_control_characters_are_kept_as_text_or_refused(inside: Visitor, client: AsyncClient, typed: str) -> None:
    answer = await inside.send(await inside.get(PREFERENCES), PREFERENCES, default_model=typed)

    assert answer.status_code in {303, 400, 422}
    assert (await inside.get(PREFERENCES)).status_code == 200

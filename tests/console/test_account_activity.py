"""What happened to one's account, in words, a page at a time, and nobody else's."""

import re

import pytest
from httpx import AsyncClient

from app.audit.events import Event, record
from app.console.activity import EVENTS, PAGE
from app.edge import Edge
from app.parts import Parts
from tests.console.account_kit import ACCOUNT, text_of
from tests.console.visitor import Visitor
from tests.identity.kit import change, person
from tests.kit import Person, SignedIn, from_ip, register

ACTIVITY = f"{ACCOUNT}/activity"
OLDER = re.compile(r'rel="next" href="([^"]+)"')
NUMBERS = re.compile(r"Key (\d+)\.")
HOSTILE = "<svg onload=alert(1)>"


async def happened(parts: Parts, ada: Person, event: Event, **details: object) -> None:
    async with parts.db.transaction() as tx:
        await record(tx, event, user_id=ada.id, actor_id=ada.id, details=details)


def test_every_event_has_words() -> None:
    assert set(EVENTS) == set(Event)


async def test_what_happened_is_told_in_words(inside: Visitor, ada: Person, client: AsyncClient) -> None:
    body = {"username": ada.username, "password": "wrong horse"}
    await client.post("/login", json=body, headers=from_ip("100.127.1.1"))

    page = text_of(await inside.get(ACTIVITY))

    assert "<strong>A sign-in failed</strong>: the password was wrong" in page
    assert "100.127.1.1" in page
    assert "<strong>Signed in</strong>: password" in page
    assert "<strong>The account was created</strong>" in page


@pytest.mark.parametrize(
    ("event", "details", "said"),
    [
        (Event.MFA_ENABLED, {"method": "totp"}, "<strong>The authenticator was set up</strong>"),
        (Event.MFA_ENABLED, {"method": "recovery_codes"}, "<strong>New recovery codes were created</strong>"),
        (Event.LOGIN_SUCCEEDED, {"amr": ["pwd", "otp", "mfa"]}, "<strong>Signed in</strong>: password, code"),
        (
            Event.LOGIN_SUCCEEDED,
            {"amr": ["pop"], "reauthentication": True},
            "Confirmed who you are</strong>: passkey",
        ),
        (Event.IDENTITY_LINKED, {"provider": "sso"}, "<strong>An identity was linked</strong>: sso"),
        (
            Event.ROLE_CHANGED,
            {"added": ["a"], "removed": ["b", "c"]},
            "</strong>: + a, \N{MINUS SIGN} b, \N{MINUS SIGN} c",
        ),
        (
            Event.USER_UPDATED,
            {"changed": ["email", "elsewhere"]},
            "<strong>The account was changed</strong>: e-mail address",
        ),
        (Event.SESSION_REVOKED, {"reason": "password_changed"}, "because the password was changed"),
        (Event.USER_UPDATED, {"changed": ["is_active"], "reason": "Left us"}, ": active or not, Left us"),
        (Event.PASSKEY_REMOVED, {"passkeys": 2}, "<strong>A passkey was removed</strong>"),
        (Event.PASSKEY_ADDED, {"name": 7, "amr": "x", "changed": [1, None]}, "<strong>A passkey was added</strong>"),
    ],
)
async def test_what_belongs_to_it_stands_beside(
    inside: Visitor, ada: Person, parts: Parts, event: Event, details: dict[str, object], said: str
) -> None:
    await happened(parts, ada, event, **details)

    assert said in text_of(await inside.get(ACTIVITY))


async def test_what_an_administrator_did_says_so_and_not_from_where(visitor: Visitor, admin: SignedIn) -> None:
    ada = await person(admin)
    await visitor.sign_in(ada)
    await change(admin, ada.id, full_name="Augusta", reason=HOSTILE)

    page = await visitor.get(ACTIVITY)

    assert HOSTILE not in page.text
    assert f"<strong>The account was changed</strong>: full name, {HOSTILE}" in text_of(page)
    assert "by an administrator" in page.text


async def test_pages_follow_each_other_to_the_end(inside: Visitor, ada: Person, parts: Parts) -> None:
    for number in range(PAGE * 2):
        await happened(parts, ada, Event.PASSKEY_ADDED, name=f"Key {number}.")

    page = await inside.get(ACTIVITY)
    found = NUMBERS.findall(page.text)
    while (older := OLDER.search(page.text)) is not None:
        page = await inside.get(older[1])
        found += NUMBERS.findall(page.text)

    assert [int(each) for each in found] == list(reversed(range(PAGE * 2)))
    assert f'href="{ACTIVITY}">Newest' in page.text
    assert "Newest" not in (await inside.get(ACTIVITY)).text


@pytest.mark.parametrize("cursor", ["x", "a" * 500, "", "%3Cb%3E"])
async def test_a_cursor_that_is_none_is_a_page_that_says_so(inside: Visitor, cursor: str) -> None:
    answer = await inside.get(f"{ACTIVITY}?cursor={cursor}")

    assert answer.status_code == 422
    assert answer.headers["content-type"].startswith("text/html")


async def test_a_cursor_of_somebody_else_shows_nothing(
    inside: Visitor, ada: Person, parts: Parts, client: AsyncClient, edge: Edge
) -> None:
    for _ in range(PAGE):
        await happened(parts, ada, Event.PASSKEY_ADDED, name="Hers")
    older = OLDER.search((await inside.get(ACTIVITY)).text)
    assert older is not None
    other = Visitor(edge)
    await other.sign_in(await register(client))

    answer = await other.get(older[1])

    assert answer.status_code == 422
    assert "Hers" not in (await other.get(ACTIVITY)).text

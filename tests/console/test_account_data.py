"""What is held on somebody: taken along as a file, and deleted by who means it."""

import pytest
from httpx import AsyncClient

from app.identity.accounts import create_first_admin
from app.parts import Parts
from tests.conftest import ADMIN
from tests.console.account_kit import ACCOUNT, asks_who, session_of, signed_in_long_ago, text_of
from tests.console.kit import REFRESH, SIGN_IN
from tests.console.visitor import Visitor, form_of, gone
from tests.kit import Person, from_ip
from tests.replica import Start

DATA = f"{ACCOUNT}/data"
EXPORT, DELETE = f"{DATA}/export", f"{DATA}/delete"


async def test_all_that_is_held_is_a_file(inside: Visitor, ada: Person, client: AsyncClient) -> None:
    assert f'href="{EXPORT}"' in (await inside.get(DATA)).text

    answer = await inside.get(EXPORT)

    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-disposition"] == 'attachment; filename="gatehouse-export.json"'
    assert answer.headers["cache-control"] == "no-store"
    held = answer.json()
    assert held["user"]["username"] == ada.username
    there = (await session_of(inside, client).ask("GET", "/me/export")).json()
    assert set(held) == set(there)


async def test_who_signed_in_long_ago_shows_who_he_is_and_finds_the_file_ready(
    inside: Visitor, ada: Person, client: AsyncClient, parts: Parts
) -> None:
    await signed_in_long_ago(inside, client, parts)
    ready = f"{DATA}?ready=true"

    question = await inside.open(EXPORT)
    answer = await inside.send(question, "/console/confirm", password=ada.password)

    assert answer.headers["location"] == ready
    assert "Your file is ready now." in (await inside.get(ready)).text
    assert (await inside.get(EXPORT)).json()["user"]["username"] == ada.username


async def test_the_account_is_deleted_by_who_means_it(inside: Visitor, ada: Person, client: AsyncClient) -> None:
    page = await inside.get(DELETE)

    answer = await inside.send(page, DELETE, confirmation=f" {ada.username} ", password=ada.password)

    assert (answer.status_code, answer.headers["location"]) == (303, SIGN_IN)
    assert REFRESH in gone(answer)
    assert "Your account has been deleted" in (await inside.get(SIGN_IN)).text
    body = {"username": ada.username, "password": ada.password}
    assert (await client.post("/login", json=body, headers=from_ip())).status_code == 401
    assert (await inside.get(ACCOUNT)).headers["location"].startswith(SIGN_IN)


@pytest.mark.parametrize(
    ("typed", "field", "status"),
    [
        ({"confirmation": ""}, "confirmation", 422),
        ({"confirmation": "<b>yes</b>"}, "confirmation", 422),
        ({"confirmation": "x" * 100_000}, "confirmation", 422),
        ({"password": "wrong horse"}, "password", 401),
        ({"password": ""}, "password", 422),
        ({"password": "x" * 5000}, "password", 422),
    ],
)
async def test_who_does_not_mean_it_keeps_his_account(
    inside: Visitor, ada: Person, typed: dict[str, str], field: str, status: int
) -> None:
    sent = {"confirmation": ada.username, "password": ada.password, **typed}

    answer = await inside.send(await inside.get(DELETE), DELETE, **sent)

    assert answer.status_code == status
    assert f'id="{field}-wrong"' in answer.text
    assert form_of(answer, DELETE).fields["confirmation"] == sent["confirmation"]
    assert ada.password not in answer.text
    assert "<b>" not in answer.text
    assert (await inside.get(ACCOUNT)).status_code == 200


async def test_the_last_administrator_reads_why_he_stays(start: Start) -> None:
    replica = await start()
    await create_first_admin(replica.parts.db, replica.parts.passwords, ADMIN.username, ADMIN.password)
    visitor = Visitor(replica.edge)
    await visitor.sign_in(ADMIN)

    sent = {"confirmation": ADMIN.username, "password": ADMIN.password}
    answer = await visitor.send(await visitor.get(DELETE), DELETE, **sent)

    assert answer.status_code == 409
    assert "You are the only administrator" in answer.text
    assert (await visitor.get(ACCOUNT)).status_code == 200


async def test_who_has_no_password_shows_by_a_present_sign_in_who_he_is(
    inside: Visitor, ada: Person, client: AsyncClient, parts: Parts
) -> None:
    await parts.db.execute("UPDATE users SET password_hash = NULL WHERE id = $1", ada.id)
    page = await inside.get(DELETE)
    assert "password" not in form_of(page, DELETE).fields
    await signed_in_long_ago(inside, client, parts)

    asks_who(await inside.get(DELETE), DELETE)
    asks_who(await inside.send(page, DELETE, confirmation=ada.username), DELETE)
    assert "deleted at once" in text_of(await inside.get(DATA))

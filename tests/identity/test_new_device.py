"""Devices have names that people know, and a new one is told of."""

from dataclasses import replace

import pytest
from httpx import AsyncClient

from app.devices import device_name
from app.settings import Settings
from tests.identity.mailkit import proved, token
from tests.kit import Person, SignedIn, from_ip
from tests.mail.kit import Postbox
from tests.replica import serving

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
NEWER_FIREFOX = FIREFOX.replace("140", "141")
PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 "
    "Mobile/15E148 Safari/604.1"
)


async def signed_in(client: AsyncClient, person: Person, agent: str, **fields: str) -> SignedIn:
    body = {"username": person.username, "password": person.password, **fields}
    answer = await client.post("/login", json=body, headers={"User-Agent": agent, **from_ip()})
    assert answer.status_code == 200, answer.text
    return SignedIn(client, answer.json())


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (FIREFOX, "Firefox on Linux"),
        (PHONE, "Mobile Safari on iPhone"),
        ("curl/8.14.1", "curl"),
        ("", None),
        ("x" * 5000, None),
        ("\u202e Firefox/1.0", "Firefox"),
    ],
    ids=["browser", "phone", "program", "nothing", "nonsense", "backwards"],
)
def test_a_device_has_a_name_that_its_owner_knows(agent: str, name: str | None) -> None:
    assert device_name(agent) == name


async def test_sessions_are_listed_by_device_unless_the_login_named_them(client: AsyncClient, ada: Person) -> None:
    await signed_in(client, ada, FIREFOX)
    session = await signed_in(client, ada, FIREFOX, device_name="Ada's laptop")

    listed = (await session.ask("GET", "/me/sessions")).json()["items"]

    assert [each["device_name"] for each in listed] == ["Ada's laptop", "Firefox on Linux"]


async def test_the_first_device_and_a_known_one_are_no_news_and_a_new_one_is(
    client: AsyncClient, postbox: Postbox
) -> None:
    ada = await proved(client, postbox)
    for agent in (FIREFOX, NEWER_FIREFOX, FIREFOX):
        await signed_in(client, ada, agent)

    await signed_in(client, ada, PHONE)

    told = await postbox.to(ada.email or "", 2)
    assert told.message["Subject"] == "A new device has signed in"
    assert "Mobile Safari on iPhone" in told.part("plain")
    assert token(told, "not-me")
    assert len(postbox.of(ada.email or "")) == 2


async def test_the_notice_can_be_switched_off(settings: Settings, client: AsyncClient, postbox: Postbox) -> None:
    ada = await proved(client, postbox)
    async with serving(replace(settings, new_device_mail=False)) as replica:
        for agent in (FIREFOX, PHONE):
            await signed_in(replica.client, ada, agent)
        rows = await replica.parts.db.fetch(
            "SELECT FROM one_time_tokens WHERE user_id = $1 AND purpose = 'not_me'", ada.id
        )

    assert not rows

"""A store that is away: a page says so, and nobody is signed out."""

from dataclasses import replace

import pytest

from app.settings import Settings
from tests.console.kit import ACCESS, ACCOUNT, REFRESH, SIGN_IN, Browser
from tests.kit import Person
from tests.replica import serving

NOWHERE = "127.0.0.1:1"


def without_stores(settings: Settings) -> Settings:
    return replace(
        settings,
        database_url=f"postgresql://nobody:none@{NOWHERE}/none",
        valkey_url=f"valkey://{NOWHERE}",
    )


@pytest.mark.parametrize("kept", [{ACCESS, REFRESH}, {REFRESH}])
async def test_who_was_signed_in_is_so_afterwards(
    browser: Browser, settings: Settings, ada: Person, kept: set[str]
) -> None:
    await browser.sign_in(ada)
    async with serving(without_stores(settings)) as broken:
        elsewhere = Browser(broken.edge)
        for name, value in browser.cookies.items():
            if name in kept or name.endswith("-form"):
                elsewhere.http.cookies.set(name, value, domain="auth.example.test", path="/")
        answer = await elsewhere.get(ACCOUNT)

    assert answer.status_code == 503
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "Something is not working at the moment" in answer.text
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers.get_list("set-cookie") == []
    assert await browser.signed_in_as() == ada.username


async def test_the_sign_in_says_so_and_keeps_what_was_typed(settings: Settings, ada: Person) -> None:
    async with serving(without_stores(settings)) as broken:
        browser = Browser(broken.edge)
        page = await browser.open(SIGN_IN)
        refused = await browser.send(page, SIGN_IN, username=ada.username, password=ada.password)

    assert (page.status, refused.status) == (200, 503)
    assert refused.form(SIGN_IN).fields["username"] == ada.username
    assert "Try again in a moment." in refused.alerts[0]

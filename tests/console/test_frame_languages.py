"""The pages in other languages than English, by catalogs that the tests make."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from babel.messages import Catalog, mofile

from app.audit.events import Event
from app.console import languages
from app.console.charts import written
from app.console.languages import accepted, said, said_of, speak
from app.console.pages import date_of, words
from tests.console.kit import SIGN_IN
from tests.console.visitor import Visitor
from tests.kit import SignedIn

ACCOUNT = "/console/account"
GERMAN = {
    "Profile": "Profil <b>",
    "Sign in": "Anmelden",
    "Username or password is wrong.": "Benutzername oder Passwort stimmt nicht, zu 100 %.",
    "Your profile has been saved.": "Ihr Profil ist gespeichert.",
    "There is no such page": "Diese Seite gibt es nicht",
    "Login failed": "Anmeldung gescheitert",
    "May": "Mai",
}


@pytest.fixture(autouse=True)
def catalogs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """German for all, and another one of Switzerland."""
    for folder, texts in {"de": GERMAN, "de_CH": {"Profile": "Profiil"}, "zh_Hant": {"Profile": "個人資料"}}.items():
        catalog = Catalog(locale=folder)
        for text, translated in texts.items():
            catalog.add(text, translated)
        catalog.add(("%(num)s try", "%(num)s tries"), ("%(num)s Versuch", "%(num)s Versuche") if folder == "de" else "")
        path = tmp_path / folder / "LC_MESSAGES" / "console.mo"
        path.parent.mkdir(parents=True)
        with path.open("wb") as file:
            mofile.write_mo(file, catalog)
    monkeypatch.setattr(languages, "OURS", tmp_path)
    forget()
    yield
    forget()


def forget() -> None:
    languages._catalogs.cache_clear()
    languages._catalog.cache_clear()
    speak(())


async def test_a_browser_that_asks_for_german_reads_german(visitor: Visitor) -> None:
    page = await visitor.get(SIGN_IN, headers={"Accept-Language": "fr, de-AT;q=0.8, en;q=0.5"})

    assert '<html lang="de"' in page.text
    assert "<h1>Anmelden</h1>" in page.text


async def test_who_has_chosen_a_language_reads_it_whatever_the_browser_asks_for(
    inside: Visitor, session: SignedIn
) -> None:
    for chosen, heading in (
        ("de", "Profil &lt;b&gt;"),
        ("de-ch", "Profiil"),
        ("zh-Hant-TW", "個人資料"),
        ("en-GB", "Profile"),
    ):
        assert (await session.ask("POST", "/preferences", json={"language": chosen})).is_success

        page = await inside.get(ACCOUNT, headers={"Accept-Language": "de"})

        assert f"<h1>{heading}</h1>" in page.text


def test_names_of_events_and_months_are_translated_too() -> None:
    speak(["de"])

    assert words(Event.LOGIN_FAILED) == "Anmeldung gescheitert"
    assert "3 Mai 2026" in date_of(datetime(2026, 5, 3, tzinfo=UTC))
    assert written(datetime(2026, 5, 3, tzinfo=UTC), UTC, "month") == ("Mai 2026", "Mai")


async def test_messages_and_refusals_are_translated_too_and_nothing_of_them_is_html(
    inside: Visitor, session: SignedIn, visitor: Visitor
) -> None:
    await session.ask("POST", "/preferences", json={"language": "de"})
    await inside.send(await inside.get(ACCOUNT), ACCOUNT, full_name="Ada")
    assert "Ihr Profil ist gespeichert." in (await inside.get(ACCOUNT)).text
    assert "Diese Seite gibt es nicht" in (await inside.get("/console/nowhere")).text

    stranger = Visitor(visitor.http._transport.app)  # type: ignore[attr-defined] # the same service
    stranger.http.headers["Accept-Language"] = "de"
    page = await stranger.send(await stranger.get(SIGN_IN), SIGN_IN, username="nobody", password="wrong horse 42")
    assert "zu 100 %." in page.text


@pytest.mark.parametrize(
    "header",
    ["", ",", "*", "../../etc", "de_DE", "x" * 9000, ";q=1", "de;q=", "de;q=2", "\x00", "ä", "-", "en;q=0, -;q=1"],
)
async def test_garbage_is_english(visitor: Visitor, header: str) -> None:
    page = await visitor.get(SIGN_IN, headers={b"Accept-Language": header.encode()})

    assert page.status_code == 200
    assert '<html lang="en"' in page.text


def test_the_best_comes_first_and_what_is_not_wanted_not_at_all() -> None:
    assert accepted("en;q=0.1, de , fr;q=0, it;q=0.5") == ["de", "it", "en"]
    assert accepted(None) == []


def test_what_stands_in_a_text_is_not_html_whoever_has_said_it() -> None:
    assert speak(["de"]) == "de"

    assert str(said("<b>%(who)s</b>", who="<i>")) == "&lt;b&gt;&lt;i&gt;&lt;/b&gt;"
    assert said("100 % <b>") == "100 % <b>"
    assert said_of("%(num)s try", "%(num)s tries", 1) == "1 Versuch"
    assert said_of("%(num)s try", "%(num)s tries", 2) == "2 Versuche"
    assert speak([]) == "en"
    assert said_of("%(num)s try", "%(num)s tries", 2) == "2 tries"

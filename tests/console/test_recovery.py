"""The pages behind the links of mails, and the one that asks for such a link."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from httpx import AsyncClient

from app.parts import Parts
from app.settings import Settings
from tests.console.kit import ACCESS, ACCOUNT, REFRESH, SIGN_IN, Browser, Page
from tests.identity.mailkit import LINK, joined, letters_expire, link_in, proved, token
from tests.kit import Person, SignedIn, log_in, new_name, new_password
from tests.mail.kit import Mail, Postbox
from tests.replica import serving

FORGOT, RESET, VERIFY, NOT_ME = (f"/console/{name}" for name in ("forgot", "reset-password", "verify-email", "not-me"))
NewBrowser = Callable[[], Browser]


def path_in(mail: Mail) -> str:
    """Where the link of a mail leads, on the service's own address."""
    found = LINK.search(mail.part("plain"))
    assert found is not None
    return found[0].removeprefix("https://auth.example.test")


async def emailed(client: AsyncClient, ada: SignedIn) -> dict[str, object]:
    said: dict[str, object] = (await ada.ask("GET", "/me")).json()
    return said


async def opened_often(browser: Browser, path: str) -> Page:
    """As scanners of mail do, before the reader."""
    for _ in range(2):
        assert (await browser.http.get(path)).status_code == 200
        await browser.http.head(path)
    return await browser.open(path)


async def test_a_forgotten_password_is_replaced_by_a_mailed_link(
    browser: Browser, new_browser: NewBrowser, client: AsyncClient, postbox: Postbox
) -> None:
    ada = await proved(client, postbox)
    await browser.sign_in(ada)
    elsewhere = new_browser()

    asked = await elsewhere.send(await elsewhere.open(FORGOT), FORGOT, email=str(ada.email))
    assert asked.path == SIGN_IN
    assert "an e-mail with a link is on its way" in asked.alerts[0]
    await link_in(postbox, str(ada.email), "reset-password")
    page = await opened_often(elsewhere, path_in(postbox.of(str(ada.email))[-1]))
    assert await browser.signed_in_as() == ada.username
    new = new_password()
    done = await elsewhere.send(page, RESET, new_password=new)

    assert (done.path, done.status) == (SIGN_IN, 200)
    assert done.alerts == ["Your new password is set, and you are signed out everywhere. Sign in with it."]
    assert {ACCESS, REFRESH}.isdisjoint(elsewhere.cookies)
    assert await browser.signed_in_as() is None
    assert (await elsewhere.sign_in(replace_password(ada, new))).path == ACCOUNT


def replace_password(person: Person, password: str) -> Person:
    return Person(person.id, person.username, password, person.email)


async def test_whether_somebody_has_an_address_is_not_told(
    browser: Browser, client: AsyncClient, postbox: Postbox
) -> None:
    ada = await proved(client, postbox)
    page = await browser.open(FORGOT)

    known = await browser.post(FORGOT, page.form(FORGOT).fields | {"email": str(ada.email)})
    unknown = await browser.post(FORGOT, page.form(FORGOT).fields | {"email": f"{new_name()}@example.org"})

    assert (known.status_code, known.headers["location"]) == (303, SIGN_IN)
    assert known.headers.get_list("set-cookie") == unknown.headers.get_list("set-cookie")
    assert (unknown.status_code, unknown.headers["location"]) == (303, SIGN_IN)


async def test_an_address_that_is_none_is_said_beside_its_field(browser: Browser) -> None:
    page = await browser.send(await browser.open(FORGOT), FORGOT, email="nowhere")

    assert page.status == 422
    assert set(page.errors) == {"email"}
    assert page.form(FORGOT).fields["email"] == "nowhere"


async def test_too_many_mails_to_an_address_are_refused_with_a_time(browser: Browser) -> None:
    page, address = await browser.open(FORGOT), f"{new_name()}@example.org"
    for _ in range(3):
        assert (await browser.send(page, FORGOT, email=address)).path == SIGN_IN

    refused = await browser.send(page, FORGOT, email=address)

    assert refused.status == 429
    assert "Try again in" in refused.alerts[0]
    assert int(refused.answer.headers["retry-after"]) > 60


async def test_a_password_that_is_too_weak_costs_no_link(
    browser: Browser, client: AsyncClient, postbox: Postbox
) -> None:
    ada = await proved(client, postbox)
    await browser.send(await browser.open(FORGOT), FORGOT, email=str(ada.email))
    link = await link_in(postbox, str(ada.email), "reset-password")
    page = await browser.open(f"{RESET}?token={link}")

    weak = await browser.send(page, RESET, new_password=ada.username)
    assert (weak.status, set(weak.errors)) == (422, {"new_password"})
    assert (await browser.send(weak, RESET, new_password=new_password())).path == SIGN_IN
    spent = await browser.send(weak, RESET, new_password=new_password())

    assert spent.status == 401
    assert spent.links["Ask for another link"] == FORGOT
    assert RESET not in [form.action for form in spent.forms]


async def test_an_invitation_leads_to_the_same_page(browser: Browser, admin: SignedIn, postbox: Postbox) -> None:
    name, address = new_name(), f"{new_name()}@example.org"
    made = await admin.ask("POST", "/users", json={"username": name, "email": address})
    assert made.status_code == 201
    page = await browser.open(path_in(await postbox.to(address)))

    password = new_password()
    assert (await browser.send(page, RESET, new_password=password)).path == SIGN_IN

    assert (await browser.sign_in(Person(0, name, password))).path == ACCOUNT


async def test_an_address_is_confirmed_by_a_click_and_not_by_a_look(
    browser: Browser, client: AsyncClient, postbox: Postbox
) -> None:
    ada, link = await joined(client, postbox)
    session = await log_in(client, ada)
    page = await opened_often(browser, f"{VERIFY}?token={link}")
    assert (await emailed(client, session))["email_verified"] is False

    done = await browser.send(page, VERIFY)

    assert (done.path, done.alerts) == (SIGN_IN, ["Thank you. Your e-mail address is confirmed."])
    assert (await emailed(client, session))["email_verified"] is True
    again = await browser.send(page, VERIFY)
    assert (again.status, again.alerts) == (401, ["This link is not valid (any more); ask for a new one."])


async def test_who_is_signed_in_stays_so_when_a_link_is_good_for_nothing(
    browser: Browser, client: AsyncClient, postbox: Postbox, parts: Parts
) -> None:
    ada, link = await joined(client, postbox)
    await browser.sign_in(ada)
    await letters_expire(parts, ada)

    page = await browser.send(await browser.open(f"{VERIFY}?token={link}"), VERIFY)

    assert page.status == 401
    assert await browser.signed_in_as() == ada.username


async def test_it_was_somebody_else_and_he_is_shut_out(
    browser: Browser, new_browser: NewBrowser, client: AsyncClient, postbox: Postbox
) -> None:
    ada = await proved(client, postbox)
    intruder = new_browser()
    await intruder.sign_in(ada)
    session = await log_in(client, ada)
    new = {"current_password": ada.password, "new_password": new_password()}
    assert (await session.ask("POST", "/me/password", json=new)).status_code == 204
    link = await link_in(postbox, str(ada.email), "not-me")
    page = await opened_often(browser, f"{NOT_ME}?token={link}")
    assert (await session.ask("GET", "/me")).status_code == 200
    assert "Every device is signed out." in page.text

    done = await browser.send(page, NOT_ME)

    assert done.path == SIGN_IN
    assert done.alerts[0].startswith("Whoever it was is signed out.")
    assert (await session.ask("GET", "/me")).status_code == 401
    way_back = await link_in(postbox, str(ada.email), "reset-password")
    again = await browser.open(f"{RESET}?token={way_back}")
    password = new_password()
    assert (await browser.send(again, RESET, new_password=password)).path == SIGN_IN
    assert (await browser.sign_in(replace_password(ada, password))).path == ACCOUNT


@pytest.mark.parametrize("path", [RESET, VERIFY, NOT_ME])
async def test_a_link_that_is_not_whole_or_none_of_ours_is_told_so(browser: Browser, path: str) -> None:
    cut = await browser.open(path)
    assert path not in [form.action for form in cut.forms]
    assert "This link is incomplete." in cut.text
    assert "This link is incomplete." in (await browser.open(f"{path}?token={'x' * 300}")).text

    page = await browser.open(f"{path}?token=%3Cscript%3E")
    typed = {"new_password": new_password()} if path == RESET else {}
    refused = await browser.send(page, path, **typed)

    assert "<script>" not in page.answer.text
    assert (refused.status, refused.alerts) == (401, ["This link is not valid (any more); ask for a new one."])


@pytest.mark.parametrize("path", [RESET, VERIFY, NOT_ME, FORGOT])
async def test_no_other_site_and_no_other_browser_sends_these_forms(
    browser: Browser, new_browser: NewBrowser, path: str
) -> None:
    fields = (await new_browser().open(FORGOT)).form(FORGOT).fields | {"token": "x", "email": "ada@example.org"}
    await browser.open(FORGOT)

    assert (await browser.post(path, fields)).status_code == 403
    assert (await browser.post(path, {"token": "x"})).status_code == 403


async def test_where_no_mail_is_sent_nobody_waits_for_one(settings: Settings) -> None:
    async with serving(replace(settings, smtp_url="", mail_from="")) as silent:
        browser = Browser(silent.edge)
        page = await browser.send(await browser.open(FORGOT), FORGOT, email="ada@example.org")

    assert (page.status, page.alerts) == (503, ["This installation sends no mail."])


async def test_every_mail_links_to_a_page_that_is_there(
    browser: Browser, client: AsyncClient, postbox: Postbox
) -> None:
    ada = await proved(client, postbox)
    await browser.send(await browser.open(FORGOT), FORGOT, email=str(ada.email))
    await link_in(postbox, str(ada.email), "reset-password")

    for mail in postbox.of(str(ada.email)):
        for path in {found[1] for found in LINK.finditer(mail.part("html"))}:
            assert token(mail, path)
            page = await browser.open(f"/console/{path}?token={token(mail, path)}")
            assert f"/console/{path}" in [form.action for form in page.forms]

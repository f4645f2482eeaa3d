"""Making an account by the console."""

from dataclasses import replace

from app.settings import Settings
from tests.console.kit import ACCESS, ACCOUNT, SIGN_IN, Browser
from tests.kit import Person, new_name, new_password
from tests.replica import serving

REGISTER = "/console/register"


async def test_who_makes_one_is_signed_in_and_goes_on(browser: Browser) -> None:
    entrance = await browser.open(f"{SIGN_IN}?next={ACCOUNT}")
    page = await browser.open(entrance.links["Create an account"])
    name = new_name()

    inside = await browser.send(page, REGISTER, username=name, password=new_password(), full_name="Ada Lovelace")

    assert (inside.path, inside.alerts) == (ACCOUNT, ["Welcome! Your account is ready."])
    assert inside.form(ACCOUNT).fields["full_name"] == "Ada Lovelace"
    assert await browser.signed_in_as() == name
    assert (await browser.get(f"{REGISTER}?next={ACCOUNT}")).headers["location"] == ACCOUNT


async def test_what_cannot_be_is_said_beside_its_field_and_what_was_typed_comes_back(
    browser: Browser, ada: Person
) -> None:
    page = await browser.open(f"{REGISTER}?next={ACCOUNT}")
    typed = {"username": new_name(), "password": "abc", "email": "ada@example.org", "full_name": "Ada <b>"}

    weak = await browser.send(page, REGISTER, **typed)
    named = await browser.send(page, REGISTER, **typed | {"username": "no blanks", "password": new_password()})
    mailed = await browser.send(page, REGISTER, **typed | {"email": "nowhere", "password": new_password()})
    taken = await browser.send(page, REGISTER, **typed | {"username": ada.username, "password": new_password()})

    assert (weak.status, set(weak.errors)) == (422, {"password"})
    assert named.errors == {"username": "This has characters that do not belong here."}
    assert set(mailed.errors) == {"email"}
    assert (taken.status, taken.alerts) == (409, ["This username is taken."])
    for each in (weak, named, mailed, taken):
        kept = each.form(REGISTER).fields
        assert (kept["full_name"], kept["password"], kept["next"]) == ("Ada <b>", "", ACCOUNT)
        assert "<b>" not in each.answer.text
    assert ACCESS not in browser.cookies


async def test_where_it_is_closed_nobody_is_led_there(settings: Settings) -> None:
    async with serving(replace(settings, registration="closed")) as closed:
        browser = Browser(closed.edge)
        entrance = await browser.open(SIGN_IN)
        page = await browser.open(REGISTER)
        fields = {"csrf_token": entrance.form(SIGN_IN).fields["csrf_token"], "username": new_name()}

        answer = await browser.post(REGISTER, fields | {"password": new_password()})

    assert "Create an account" not in entrance.links
    assert (page.status, page.alerts) == (403, ["Accounts are made by an administrator here."])
    assert answer.status_code == 403


async def test_where_nobody_can_be_signed_in_at_once_he_is_asked_to(browser: Browser) -> None:
    for _ in range(5):
        page = await browser.open(SIGN_IN)
        await browser.send(page, SIGN_IN, username=new_name(), password="wrong horse")

    page = await browser.send(await browser.open(REGISTER), REGISTER, username=new_name(), password=new_password())

    assert (page.path, page.alerts) == (SIGN_IN, ["Your account is ready. Sign in to continue."])

"""Name and address: changed by their owner alone, the address once it is proved."""

import pytest
from httpx import AsyncClient

from app.parts import Parts
from tests.console.account_kit import ACCOUNT, asks_who, me, signed_in_long_ago, text_of, went
from tests.console.visitor import Visitor, form_of, forms_of
from tests.identity.mailkit import letters_expire, link_in, proved, use
from tests.kit import Person, new_name, register
from tests.mail.kit import Postbox
from tests.replica import Start

EMAIL = f"{ACCOUNT}/email"
REMOVE, RESEND = f"{EMAIL}/remove", f"{EMAIL}/resend"


def new_email() -> str:
    return f"{new_name()}@example.org"


@pytest.fixture
async def grace(visitor: Visitor, client: AsyncClient, postbox: Postbox) -> Person:
    """Somebody with an address that is proved has signed in."""
    grace = await proved(client, postbox)
    await visitor.sign_in(grace)
    return grace


async def test_the_profile_is_saved_and_an_empty_name_is_none(inside: Visitor, client: AsyncClient) -> None:
    answer = await inside.send(await inside.get(ACCOUNT), ACCOUNT, full_name="  Ada   Lovelace ")

    assert "Your profile has been saved." in await went(inside, answer, ACCOUNT)
    assert (await me(inside, client))["full_name"] == "Ada Lovelace"
    await inside.send(await inside.get(ACCOUNT), ACCOUNT, full_name=" ")
    assert (await me(inside, client))["full_name"] is None


async def test_a_new_address_is_used_once_its_link_was_followed(
    visitor: Visitor, grace: Person, client: AsyncClient, postbox: Postbox
) -> None:
    new = new_email()

    answer = await visitor.send(await visitor.get(EMAIL), EMAIL, email=new)

    page = await went(visitor, answer, ACCOUNT)
    assert "We have sent a link to the new address." in page
    assert f"{new} becomes your address as soon as you open the link" in page
    assert (await me(visitor, client))["email"] == grace.email
    assert (await use(client, "/email/verify", await link_in(postbox, new, "verify-email"))).status_code == 204
    page = text_of(await visitor.get(ACCOUNT))
    assert f"<strong>{new}</strong>" in page
    assert "becomes your address" not in page


async def test_who_had_none_adds_one(inside: Visitor) -> None:
    assert "You have no e-mail address here." in (await inside.get(ACCOUNT)).text
    assert not [form for form in forms_of(await inside.get(EMAIL)) if form.action == REMOVE]
    new = new_email()

    answer = await inside.send(await inside.get(EMAIL), EMAIL, email=new)

    assert f"{new} becomes your address" in await went(inside, answer, ACCOUNT)


async def test_the_present_address_mails_nothing_and_calls_a_move_off(visitor: Visitor, grace: Person) -> None:
    await visitor.send(await visitor.get(EMAIL), EMAIL, email=new_email())

    answer = await visitor.send(await visitor.get(EMAIL), EMAIL, email=str(grace.email).upper())

    page = await went(visitor, answer, ACCOUNT)
    assert "This is already your address" in page
    assert "becomes your address" not in page


async def test_what_is_no_address_is_told_beside_the_field_and_stays_there(inside: Visitor) -> None:
    for typed, said in (("ada@", "s not an e-mail address"), ("", "Please fill this in."), ("a" * 400, "")):
        answer = await inside.send(await inside.get(EMAIL), EMAIL, email=typed)

        assert answer.status_code == 422
        assert said in answer.text
        assert 'id="email-wrong"' in answer.text
        assert form_of(answer, EMAIL).fields["email"] == typed


async def test_somebody_elses_address_is_told_beside_the_field(
    inside: Visitor, client: AsyncClient, postbox: Postbox
) -> None:
    other = await proved(client, postbox)

    answer = await inside.send(await inside.get(EMAIL), EMAIL, email=str(other.email))

    assert answer.status_code == 409
    assert 'id="email-wrong"' in answer.text
    assert "This e-mail address is taken." in answer.text


async def test_the_link_is_sent_again(inside: Visitor, client: AsyncClient, postbox: Postbox) -> None:
    new = new_email()
    await inside.send(await inside.get(EMAIL), EMAIL, email=new)
    await postbox.to(new)

    answer = await inside.send(await inside.get(ACCOUNT), RESEND)

    assert "The link is on its way." in await went(inside, answer, ACCOUNT)
    await postbox.to(new, 2)


async def test_who_waits_for_no_link_is_offered_none(visitor: Visitor, grace: Person) -> None:
    page = await visitor.get(ACCOUNT)

    assert not [form for form in forms_of(page) if form.action == RESEND]
    assert ">Verified<" in page.text


async def test_an_address_that_nobody_proved_says_so_when_its_link_is_good_no_more(
    visitor: Visitor, client: AsyncClient, parts: Parts
) -> None:
    person = await register(client, email=new_email())
    await letters_expire(parts, person)
    await visitor.sign_in(person)

    page = await visitor.get(ACCOUNT)

    assert "Not verified yet" in page.text
    assert RESEND in {form.action for form in forms_of(page)}


async def test_the_address_is_removed(visitor: Visitor, grace: Person, client: AsyncClient) -> None:
    assert f'href="{REMOVE}"' in (await visitor.get(EMAIL)).text
    page = await visitor.get(REMOVE)
    assert f"After that nothing is sent to {grace.email}." in page.text
    answer = await visitor.send(page, REMOVE)

    assert "Your e-mail address has been removed." in await went(visitor, answer, ACCOUNT)
    assert (await me(visitor, client))["email"] is None
    assert (await visitor.get(REMOVE)).headers["location"] == ACCOUNT  # there is none to remove


async def test_the_address_is_changed_by_a_present_sign_in_alone(
    visitor: Visitor, grace: Person, client: AsyncClient, parts: Parts
) -> None:
    page, before_removing = await visitor.get(EMAIL), await visitor.get(REMOVE)
    await signed_in_long_ago(visitor, client, parts)

    asks_who(await visitor.get(EMAIL), EMAIL)
    asks_who(await visitor.get(REMOVE), REMOVE)
    asks_who(await visitor.send(page, EMAIL, email=new_email()), EMAIL)
    asks_who(await visitor.send(before_removing, REMOVE), REMOVE)

    confirm = await visitor.get(f"/console/confirm?next={EMAIL}")
    back = await visitor.send(confirm, "/console/confirm", password=grace.password)
    assert back.headers["location"] == EMAIL
    assert (await visitor.get(EMAIL)).status_code == 200
    assert (await me(visitor, client))["email"] == grace.email


async def test_without_a_mail_server_it_is_said_and_nothing_changes(start: Start) -> None:
    replica = await start()
    visitor = Visitor(replica.edge)
    await visitor.sign_in(await register(replica.client, email=new_email()))

    for path, typed in ((RESEND, {}), (EMAIL, {"email": new_email()})):
        page = await visitor.get(ACCOUNT if path == RESEND else EMAIL)
        answer = await visitor.send(page, path, **typed)
        assert answer.status_code == 503
        assert 'role="alert"' in answer.text
        assert {form.fields["page"] for form in forms_of(answer)} == {str(page.url.path)}  # there one comes back to

"""What cannot be undone is asked about on a page of its own, and done to no account by mistake."""

from httpx import AsyncClient

from app.edge import Edge
from app.parts import Parts
from app.uuid7 import uuid7
from tests.console.administration.kit import Browser
from tests.identity.factorkit import long_ago, with_factor
from tests.identity.kit import person
from tests.kit import Person, SignedIn, new_name

USERS = "/console/admin/users"


async def test_second_factors_are_taken_away_on_a_page_that_asks(
    root: Browser, client: AsyncClient, ada: Person
) -> None:
    await with_factor(client, ada)
    here = f"{USERS}/{ada.id}"
    page = await root.get(here)
    (asks,) = [link for link in page.addresses if link == f"{here}/factors"]

    done = await root.do((await root.get(asks)).form(f"{here}/factors"))

    assert "10 recovery codes left" in page.text
    assert "have been removed" in done.text
    assert f"{here}/factors" not in done.addresses


async def test_an_identity_is_unlinked_on_a_page_that_asks(root: Browser, parts: Parts, ada: Person) -> None:
    identity, here = uuid7(), f"{USERS}/{ada.id}"
    await parts.db.execute(
        "INSERT INTO identities (id, user_id, provider, issuer, subject, username) "
        "VALUES ($1, $2, 'elsewhere', 'https://idp.example.test', $3, 'countess')",
        identity,
        ada.id,
        new_name(),
    )
    (asks,) = [link for link in (await root.get(here)).addresses if "/identities/" in link]

    preview = await root.get(asks)
    done = await root.do(preview.form(asks))

    assert "can no longer sign in with elsewhere as countess" in preview.text
    assert "The identity has been unlinked." in done.text
    assert asks not in done.addresses
    assert (await root.get(asks)).status == 404


async def test_ones_own_identity_is_unlinked_elsewhere(root: Browser, parts: Parts) -> None:
    identity = uuid7()
    await parts.db.execute(
        "INSERT INTO identities (id, user_id, provider, issuer, subject) VALUES ($1, 1, 'elsewhere', 'https://x', $2)",
        identity,
        new_name(),
    )
    asks = f"{USERS}/1/identities/{identity}"

    page = await root.send((await root.get(asks)).form(asks))
    await parts.db.execute("DELETE FROM identities WHERE id = $1", identity)

    assert page.status == 403
    assert "Unlink your own on the pages of your account." in page.text


async def test_nobody_takes_his_own_factors_away_here(root: Browser) -> None:
    page = await root.send((await root.get(f"{USERS}/1/factors")).form(f"{USERS}/1/factors"))

    assert page.status == 403
    assert "Remove your own on the pages of your account." in page.text


async def test_who_signed_in_long_ago_shows_first_who_he_is_and_comes_back(
    edge: Edge, parts: Parts, admin: SignedIn, ada: Person
) -> None:
    tony = await person(admin, is_admin=True)
    browser = await Browser(edge).sign_in(tony)
    asks = f"{USERS}/{ada.id}/factors"
    form = (await browser.get(asks)).form(asks)
    (row,) = await parts.db.fetch("SELECT id::text FROM sessions WHERE user_id = $1", tony.id)
    await long_ago(parts, SignedIn(admin.client, {"session_id": row["id"]}))

    page, sent = await browser.get(asks), await browser.send(form)
    confirmed = await browser.send((await browser.follow(sent)).form("/console/confirm"), password=tony.password)

    assert page.answer.headers["location"] == sent.answer.headers["location"] == f"/console/confirm?next={asks}"
    assert confirmed.answer.headers["location"] == asks
    assert (await browser.follow(confirmed)).status == 200


async def test_an_account_is_deleted_by_who_types_its_name(root: Browser, admin: SignedIn, ada: Person) -> None:
    here = f"{USERS}/{ada.id}/delete"
    form = (await root.get(here)).form(here)

    refused = await root.send(form, username="somebody")
    done = await root.do(form, username=ada.username)

    assert refused.status == 422
    assert "This is not the username of this account" in refused.wrong
    assert "The account has been deleted." in done.text
    assert (await root.get(f"{USERS}/{ada.id}")).status == 404

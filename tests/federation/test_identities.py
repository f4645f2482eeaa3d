"""One's own identities: linked, shown, unlinked, and never the last way in."""

import asyncio
import uuid
from collections.abc import Callable

from httpx import AsyncClient

from app.federation import queries as federation
from app.parts import Parts
from app.providers import GPUSTACK
from tests.conftest import ADMIN
from tests.federation.kit import Browser, exchange, link
from tests.federation.provider import OpenIdProvider
from tests.federation.realm import Realm
from tests.federation.test_exchange import number
from tests.identity.factorkit import long_ago
from tests.identity.kit import events
from tests.identity.mailkit import link_in, proved, use
from tests.identity.webauthnkit import added
from tests.kit import SignedIn, log_in, new_name, new_password, problem, register, until
from tests.mail.kit import Postbox


async def identities(session: SignedIn) -> list[dict[str, str]]:
    found: list[dict[str, str]] = (await session.ask("GET", "/me/identities")).json()["items"]
    return found


async def unlink(session: SignedIn, identity_id: str) -> int:
    return (await session.ask("DELETE", f"/me/identities/{identity_id}")).status_code


# ---- linking --------------------------------------------------------------------------------------------------------


async def test_an_identity_that_is_linked_signs_in_its_user(
    browser: Browser, op: OpenIdProvider, app: AsyncClient, postbox: Postbox, parts: Parts
) -> None:
    ada = await proved(app, postbox)
    session = await log_in(app, ada)
    person = op.register(email=f"{new_name()}@example.net", email_verified=True, preferred_username="augusta")

    answer = await link(session, *await browser.code(op, person))

    assert answer.status_code == 201, answer.text
    said = answer.json()
    assert (said["provider"], said["issuer"], said["username"]) == (op.name, op.issuer, "augusta")
    assert set(said) == {"id", "provider", "issuer", "username", "email", "created_at", "last_used_at"}
    assert await identities(session) == [said]
    again = await browser.signed_in(op, person)
    assert (again.user_id, again.body["user"]["email"]) == (ada.id, ada.email)
    (after,) = await identities(session)
    assert after["last_used_at"] > said["created_at"]
    assert ("identity.linked", {"provider": op.name}) in await events(parts, ada.id)
    await link_in(postbox, str(ada.email), "not-me")


async def test_to_link_asks_for_a_present_login_and_leaves_the_code_good(
    browser: Browser, op: OpenIdProvider, app: AsyncClient, parts: Parts
) -> None:
    ada = await register(app)
    session = await log_in(app, ada)
    await long_ago(parts, session)
    code, verifier = await browser.code(op, op.register())

    problem(await link(session, code, verifier), 403, "reauthentication_required")

    assert (await link(await log_in(app, ada), code, verifier)).status_code == 201


async def test_a_code_links_or_signs_in_and_not_both(browser: Browser, op: OpenIdProvider, app: AsyncClient) -> None:
    session = await log_in(app, await register(app))
    code, verifier = await browser.code(op, op.register())

    assert (await link(session, code, verifier)).status_code == 201

    problem(await exchange(app, code, verifier), 401, "invalid_grant")
    problem(await link(session, code, verifier), 401, "invalid_grant")
    code, verifier = await browser.code(op, op.register())
    problem(await link(session, code, "a" * 43), 401, "invalid_grant")
    problem(await link(session, code, verifier), 401, "invalid_grant")


async def test_to_link_what_is_linked_changes_nothing(browser: Browser, op: OpenIdProvider, app: AsyncClient) -> None:
    session = await log_in(app, await register(app))
    person = op.register()

    answers = [await link(session, *await browser.code(op, person)) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert len(await identities(session)) == 1


async def test_somebody_elses_identity_is_not_linked(browser: Browser, op: OpenIdProvider, app: AsyncClient) -> None:
    """Nor does it move: it is whose it was."""
    person = op.register()
    bob = await browser.signed_in(op, person)
    ada = await log_in(app, await register(app))

    problem(await link(ada, *await browser.code(op, person)), 409, "conflict")

    assert await identities(ada) == []
    assert (await browser.signed_in(op, person)).user_id == bob.user_id


async def test_an_attackers_code_in_ones_own_session_is_worth_nothing(
    new_browser: Callable[[], Browser], op: OpenIdProvider, app: AsyncClient
) -> None:
    """Or the attacker's identity would sign him in as somebody else: the verifier is the attacker's application's."""
    stolen, _ = await new_browser().code(op, op.register())
    _, own = await new_browser().code(op, op.register())
    ada = await log_in(app, await register(app))

    problem(await link(ada, stolen, own), 401, "invalid_grant")

    assert await identities(ada) == []


async def test_nobody_links_for_ever(browser: Browser, op: OpenIdProvider, app: AsyncClient) -> None:
    session = await log_in(app, await register(app))
    for _ in range(20):
        assert (await link(session, *await browser.code(op, op.register()))).status_code == 201

    problem(await link(session, *await browser.code(op, op.register())), 409, "conflict")


# ---- unlinking ------------------------------------------------------------------------------------------------------


async def test_the_last_way_to_sign_in_stays(browser: Browser, realm: Realm, parts: Parts) -> None:
    op, another = realm.take(), realm.take()
    person = op.register()
    session = await browser.signed_in(op, person)
    (only,) = await identities(session)

    problem(await session.ask("DELETE", f"/me/identities/{only['id']}"), 409, "conflict")
    assert (await browser.signed_in(op, person)).user_id == session.user_id

    assert (await link(session, *await browser.code(another, another.register()))).status_code == 201
    assert await unlink(session, only["id"]) == 204
    (left,) = await identities(session)
    assert left["provider"] == another.name
    problem(await session.ask("DELETE", f"/me/identities/{left['id']}"), 409, "conflict")
    assert ("identity.unlinked", {"provider": op.name}) in await events(parts, session.user_id)


async def test_a_password_or_a_passkey_is_a_way_as_well(browser: Browser, op: OpenIdProvider, app: AsyncClient) -> None:
    ada = await log_in(app, await register(app))
    assert (await link(ada, *await browser.code(op, op.register()))).status_code == 201
    bob = await browser.signed_in(op, op.register())
    await added(bob)

    for session in (ada, bob):
        (identity,) = await identities(session)
        assert await unlink(session, identity["id"]) == 204
        assert await identities(session) == []


async def test_a_password_that_no_login_finds_is_no_way(browser: Browser, op: OpenIdProvider, admin: SignedIn) -> None:
    """A provider's user signs in by his address and the password that he was given; by his name there nobody does."""
    for email, status in ((None, 409), (f"{new_name()}@example.net", 204)):
        person = op.register() if email is None else op.register(email=email, email_verified=True)
        user_id = (await browser.signed_in(op, person)).user_id
        given = {"password": new_password(), "must_change_password": False}
        assert (await admin.ask("PATCH", f"/users/{user_id}", json=given)).status_code == 200

        session = await browser.signed_in(op, person)

        (identity,) = await identities(session)
        assert await unlink(session, identity["id"]) == status


async def test_of_two_ways_that_are_given_up_at_once_one_stays(browser: Browser, realm: Realm, parts: Parts) -> None:
    op, another = realm.take(), realm.take()
    for _ in range(5):
        session = await browser.signed_in(op, op.register())
        assert (await link(session, *await browser.code(another, another.register()))).status_code == 201

        answers = await asyncio.gather(*(unlink(session, each["id"]) for each in await identities(session)))

        assert sorted(answers) == [204, 409]
        assert await number(parts, "SELECT count(*) FROM identities WHERE user_id = $1", session.user_id) == 1


async def test_who_is_unlinked_is_somebody_new_there(
    browser: Browser, op: OpenIdProvider, app: AsyncClient, postbox: Postbox
) -> None:
    ada = await proved(app, postbox)
    session = await log_in(app, ada)
    person = op.register()
    assert (await link(session, *await browser.code(op, person))).status_code == 201
    (identity,) = await identities(session)

    assert await unlink(session, identity["id"]) == 204

    assert (await browser.signed_in(op, person)).user_id != ada.id
    assert (await session.ask("GET", "/me")).status_code == 200  # sessions go on
    await until(lambda: any("was unlinked" in mail.message["subject"] for mail in postbox.of(str(ada.email))))


async def test_somebody_elses_identity_is_not_there(browser: Browser, op: OpenIdProvider, app: AsyncClient) -> None:
    bob = await browser.signed_in(op, op.register())
    (identity,) = await identities(bob)
    ada = await log_in(app, await register(app))

    for identity_id in (identity["id"], str(uuid.uuid4())):
        problem(await ada.ask("DELETE", f"/me/identities/{identity_id}"), 404, "not_found")
    problem(await ada.ask("DELETE", "/me/identities/1"), 404, "not_found")
    assert await identities(ada) == []
    assert len(await identities(bob)) == 1


async def test_to_unlink_asks_for_a_present_login(
    browser: Browser, op: OpenIdProvider, app: AsyncClient, parts: Parts
) -> None:
    session = await log_in(app, await register(app))
    assert (await link(session, *await browser.code(op, op.register()))).status_code == 201
    (identity,) = await identities(session)
    await long_ago(parts, session)

    problem(await session.ask("DELETE", f"/me/identities/{identity['id']}"), 403, "reauthentication_required")


async def test_of_many_who_link_one_identity_at_once_one_has_it(
    new_browser: Callable[[], Browser], op: OpenIdProvider, app: AsyncClient, parts: Parts
) -> None:
    person = op.register(sub="wanted")
    people = [await log_in(app, await register(app)) for _ in range(6)]
    codes = [await new_browser().code(op, person) for _ in people]

    answers = await asyncio.gather(*(link(session, *code) for session, code in zip(people, codes, strict=True)))

    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 5]
    assert await number(parts, "SELECT count(*) FROM identities WHERE subject = $1", "wanted") == 1


# ---- and if it was somebody else ------------------------------------------------------------------------------------


async def test_this_was_not_me_takes_away_what_was_linked_since(
    browser: Browser, op: OpenIdProvider, app: AsyncClient, postbox: Postbox, parts: Parts
) -> None:
    """Whoever had the session for a moment keeps no way in."""
    ada = await proved(app, postbox)
    session = await log_in(app, ada)
    thief = op.register()
    assert (await link(session, *await browser.code(op, thief))).status_code == 201

    answer = await use(app, "/password/not-me", await link_in(postbox, str(ada.email), "not-me"))

    assert answer.status_code == 204
    problem(await session.ask("GET", "/me"), 401, "session_revoked")
    assert (await browser.signed_in(op, thief)).user_id != ada.id
    assert ("identity.unlinked", {"reason": "not_me", "provider": op.name}) in await events(parts, ada.id)


async def test_what_is_held_on_somebody_names_his_identities(browser: Browser, op: OpenIdProvider) -> None:
    session = await browser.signed_in(op, op.register(preferred_username="augusta"))

    export = (await session.ask("GET", "/me/export")).json()

    (identity,) = export["identities"]
    assert (identity["provider"], identity["issuer"], identity["username"]) == (op.name, op.issuer, "augusta")


# ---- of somebody who is looked after --------------------------------------------------------------------------------


async def test_an_administrator_sees_it_and_takes_it_away(
    browser: Browser, op: OpenIdProvider, app: AsyncClient, postbox: Postbox, parts: Parts
) -> None:
    """Who signed in by it is out, and told."""
    admin, ada = await log_in(app, ADMIN), await proved(app, postbox)
    session = await log_in(app, ada)
    thief = op.register()
    linked = (await link(session, *await browser.code(op, thief))).json()
    intruder = await browser.signed_in(op, thief)
    seen = (await admin.ask("GET", f"/users/{ada.id}/credentials")).json()["identities"]
    assert [each["id"] for each in seen] == [linked["id"]]

    answer = await admin.ask("DELETE", f"/users/{ada.id}/identities/{linked['id']}")

    assert answer.status_code == 204, answer.text
    problem(await intruder.ask("GET", "/me"), 401, "session_revoked")
    assert (await browser.signed_in(op, thief)).user_id != ada.id
    assert (await events(parts, ada.id))[-1] == ("identity.unlinked", {"provider": op.name})
    await until(lambda: any("was unlinked" in mail.message["subject"] for mail in postbox.of(str(ada.email))))
    again = await admin.ask("DELETE", f"/users/{ada.id}/identities/{linked['id']}")
    problem(again, 404, "not_found")


async def test_one_that_an_account_is_known_by_stays(app: AsyncClient, parts: Parts) -> None:
    admin, ada = await log_in(app, ADMIN), await register(app)
    async with parts.db.transaction() as tx:
        row = await federation.add(
            tx, ada.id, GPUSTACK, "https://gpustack.example", new_name(), username=None, email=None
        )
    assert row is not None

    answer = await admin.ask("DELETE", f"/users/{ada.id}/identities/{row['id']}")

    problem(answer, 409, "conflict")
    assert len((await admin.ask("GET", f"/users/{ada.id}/credentials")).json()["identities"]) == 1

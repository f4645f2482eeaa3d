"""An administrator takes somebody's factors away: by a present login, and nobody goes on who has shown them."""

import asyncio

import pytest
from httpx import AsyncClient

from app.federation import queries as federation
from app.parts import Parts
from tests.identity.factorkit import enrolled, first_step, long_ago, with_factor
from tests.identity.kit import events
from tests.identity.mailkit import proved
from tests.identity.webauthnkit import Key, added, login_options, registration_options, sign_in
from tests.kit import Person, SignedIn, from_ip, log_in, new_name, problem, until
from tests.mail.kit import Postbox


async def test_it_needs_a_present_login(client: AsyncClient, deputy: SignedIn, ada: Person, parts: Parts) -> None:
    session, _ = await with_factor(client, ada)
    await long_ago(parts, deputy)

    problem(await deputy.ask("DELETE", f"/users/{ada.id}/mfa"), 403, "reauthentication_required")

    await first_step(client, ada)
    assert (await session.ask("GET", "/me")).json()["mfa_enabled"] is True


@pytest.mark.parametrize("factor", ["authenticator", "passkey"])
async def test_it_ends_every_session_of_who_has_had_one(
    client: AsyncClient, replicas: list[AsyncClient], deputy: SignedIn, ada: Person, factor: str
) -> None:
    session, other = await log_in(client, ada), await log_in(client, ada)
    await (enrolled(session) if factor == "authenticator" else added(session))

    assert (await deputy.ask("DELETE", f"/users/{ada.id}/mfa")).status_code == 204

    for each in (session, other):
        problem(await each.ask("GET", "/me", at=replicas[0]), 401, "session_revoked")
        refreshed = await client.post("/refresh", json={"refresh_token": each.refresh_token}, headers=from_ip())
        problem(refreshed, 401, "invalid_refresh_token")


async def test_who_has_none_is_left_alone(deputy: SignedIn, session: SignedIn) -> None:
    assert (await deputy.ask("DELETE", f"/users/{session.user_id}/mfa")).status_code == 204

    assert (await session.ask("GET", "/me")).status_code == 200


async def test_an_intruder_who_has_shown_his_own_adds_nothing_after_it(
    client: AsyncClient, deputy: SignedIn, ada: Person
) -> None:
    """He knew the password; what he had begun before does not outlast it either."""
    intruder, _ = await with_factor(client, ada)
    key = Key()
    begun = key.made(await registration_options(intruder))

    assert (await deputy.ask("DELETE", f"/users/{ada.id}/mfa")).status_code == 204
    owner = await log_in(client, ada)
    await enrolled(owner)

    for path, sent in (("/options", None), ("", begun)):
        problem(await intruder.ask("POST", f"/me/passkeys{path}", json=sent), 401, "session_revoked")
    assert (await owner.ask("GET", "/me/passkeys")).json()["items"] == []
    problem(await sign_in(client, key.shown(await login_options(client))), 401, "invalid_credentials")


async def test_of_fifty_who_take_them_away_one_does(
    client: AsyncClient, replicas: list[AsyncClient], admin: SignedIn, postbox: Postbox, parts: Parts
) -> None:
    """Factors and an identity, on two servers: each is gone once in the trail and once in the mail."""
    ada = await proved(client, postbox)
    session, _ = await with_factor(client, ada)
    await added(session)
    async with parts.db.transaction() as tx:
        identity = await federation.add(
            tx, ada.id, "elsewhere", "https://op.example", new_name(), username=None, email=None
        )
    assert identity is not None
    paths = (f"/users/{ada.id}/mfa", f"/users/{ada.id}/identities/{identity['id']}")

    answers = await asyncio.gather(
        *(admin.ask("DELETE", path, at=replicas[number % 2]) for number in range(25) for path in paths)
    )

    assert {answer.status_code for answer in answers[::2]} == {204}
    assert sorted(answer.status_code for answer in answers[1::2]) == [204, *[404] * 24]
    trail = [event for event, _ in await events(parts, ada.id)]
    gone = ("mfa.disabled", "passkey.removed", "identity.unlinked", "session.revoked")
    assert [trail.count(event) for event in gone] == [1, 1, 1, 1]
    await until(lambda: all_sent(parts, str(ada.email)))
    subjects = [str(mail.message["subject"]) for mail in postbox.of(str(ada.email))]
    letters = ("no second factor", "passkey was removed", "was unlinked")
    assert [sum(words in subject for subject in subjects) for words in letters] == [1, 1, 1]


async def all_sent(parts: Parts, address: str) -> bool:
    return not await parts.db.fetch("SELECT FROM mail_outbox WHERE recipient = $1", address)

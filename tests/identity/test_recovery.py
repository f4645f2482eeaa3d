"""A forgotten password: a link by mail, once, for an hour, and good for nothing after any change."""

import asyncio

import pytest
from httpx import AsyncClient, Response

from app.identity import mails
from app.parts import Parts
from tests.identity.mailkit import forgot, joined, reset, token, use
from tests.kit import Person, SignedIn, from_ip, log_in, new_name, new_password, problem, register
from tests.mail.kit import Mail, Postbox


async def mailed(client: AsyncClient, postbox: Postbox, person: Person, number: int = 2) -> str:
    """The token of a link that was asked for; the first mail was the one to verify the address."""
    await forgot(client, person.email)
    return token(await postbox.to(person.email or "", number), "reset-password")


async def test_the_link_sets_a_new_password_ends_all_sessions_and_begins_none(
    client: AsyncClient, replicas: list[AsyncClient], postbox: Postbox
) -> None:
    ada, _ = await joined(client, postbox)
    sessions = [await log_in(client, ada) for _ in range(2)]
    link, new = await mailed(client, postbox, ada), new_password()

    answer = await use(client, "/password/reset", link, new_password=new)

    assert (answer.status_code, answer.content) == (204, b"")
    assert "set-cookie" not in answer.headers
    for session in sessions:
        problem(await session.ask("GET", "/me", at=replicas[0]), 401, "session_revoked")
    old = await client.post("/login", json={"username": ada.username, "password": ada.password}, headers=from_ip())
    problem(old, 401, "invalid_credentials")
    back = await log_in(client, Person(ada.id, ada.username, new))
    assert back.body["user"]["email_verified"] is True  # the link was read there
    told = await postbox.to(ada.email or "", 3)
    assert told.message["Subject"] == "Your password was changed"
    assert token(told, "not-me")
    events = [item["event"] for item in (await back.ask("GET", "/me/activity")).json()["items"]]
    assert events[:3] == ["login.succeeded", "login.failed", "password.reset"]
    assert {"session.revoked", "email.verified"} <= set(events)
    assert "password.reset_requested" in events


async def test_no_address_is_invalid_and_costs_nobody_a_mail(client: AsyncClient) -> None:
    for email in ("ada", "ada@", "a b@example.org", "x" * 300):
        answer = await client.post("/password/forgot", json={"email": email}, headers=from_ip())
        problem(answer, 422, "validation_failed")


async def test_a_link_works_once_even_for_fifty_on_two_replicas(
    client: AsyncClient, replicas: list[AsyncClient], postbox: Postbox
) -> None:
    ada, _ = await joined(client, postbox)
    link = await mailed(client, postbox, ada)
    passwords = [new_password() for _ in range(50)]

    statuses = await asyncio.gather(*(reset(replicas[n % 2], link, passwords[n]) for n in range(50)))

    assert statuses.count(204) == 1
    assert set(statuses) <= {204, 401, 503}  # some wait too long for a core
    await log_in(client, Person(ada.id, ada.username, passwords[statuses.index(204)]))
    assert await reset(replicas[1], link) == 401


async def test_the_newest_link_wins(client: AsyncClient, postbox: Postbox) -> None:
    ada, _ = await joined(client, postbox)
    first, second = await mailed(client, postbox, ada), await mailed(client, postbox, ada, 3)

    assert [await reset(client, first), await reset(client, second)] == [401, 204]


async def test_an_expired_link_is_refused(client: AsyncClient, postbox: Postbox, parts: Parts) -> None:
    ada, _ = await joined(client, postbox)
    link = await mailed(client, postbox, ada)
    life = "SELECT extract(epoch FROM expires_at - created_at)::int AS seconds FROM one_time_tokens WHERE user_id = $1"
    assert 3600 in [row["seconds"] for row in await parts.db.fetch(life, ada.id)]
    await parts.db.execute("UPDATE one_time_tokens SET expires_at = clock_timestamp() WHERE user_id = $1", ada.id)

    problem(await use(client, "/password/reset", link, new_password=new_password()), 401, "invalid_token")


async def test_a_weak_password_leaves_the_link_good(client: AsyncClient, postbox: Postbox) -> None:
    ada, _ = await joined(client, postbox)
    link = await mailed(client, postbox, ada)

    for weak in ("password123", ada.username, ada.email):
        problem(await use(client, "/password/reset", link, new_password=weak), 422, "weak_password")

    assert await reset(client, link) == 204


async def test_any_change_of_password_or_address_voids_the_link(
    client: AsyncClient, postbox: Postbox, admin: SignedIn
) -> None:
    async def own_password(ada: Person) -> None:
        session = await log_in(client, ada)
        change = {"current_password": ada.password, "new_password": new_password()}
        assert (await session.ask("POST", "/me/password", json=change)).status_code == 204

    async def given_password(ada: Person) -> None:
        answer = await admin.ask("PATCH", f"/users/{ada.id}", json={"password": new_password()})
        assert answer.status_code == 200

    async def given_address(ada: Person) -> None:
        answer = await admin.ask("PATCH", f"/users/{ada.id}", json={"email": f"{new_name()}@example.org"})
        assert answer.status_code == 200

    async def own_address(ada: Person) -> None:
        session, new = await log_in(client, ada), f"{new_name()}@example.org"
        assert (await session.ask("PATCH", "/me", json={"email": new})).status_code == 200
        assert (await use(client, "/email/verify", token(await postbox.to(new), "verify-email"))).status_code == 204

    async def no_address(ada: Person) -> None:
        assert (await (await log_in(client, ada)).ask("PATCH", "/me", json={"email": None})).status_code == 200

    async def deactivated(ada: Person) -> None:
        assert (await admin.ask("PATCH", f"/users/{ada.id}", json={"is_active": False})).status_code == 200

    async def deleted(ada: Person) -> None:
        assert (await admin.ask("DELETE", f"/users/{ada.id}")).status_code == 204

    for change in (own_password, given_password, given_address, own_address, no_address, deactivated, deleted):
        ada, _ = await joined(client, postbox)
        link = await mailed(client, postbox, ada)
        await change(ada)

        assert await reset(client, link) == 401, change.__name__


async def test_what_was_void_for_a_while_stays_void(client: AsyncClient, postbox: Postbox, admin: SignedIn) -> None:
    ada, verification = await joined(client, postbox)
    link = await mailed(client, postbox, ada)
    for is_active in (False, True):
        assert (await admin.ask("PATCH", f"/users/{ada.id}", json={"is_active": is_active})).status_code == 200

    assert await reset(client, link) == 401
    problem(await use(client, "/email/verify", verification), 401, "invalid_token")


async def test_a_new_password_ends_a_move_to_another_address_that_an_intruder_has_begun(
    client: AsyncClient, postbox: Postbox, admin: SignedIn
) -> None:
    async def by_link(ada: Person) -> None:
        assert await reset(client, await mailed(client, postbox, ada)) == 204

    async def by_herself(ada: Person) -> None:
        session = await log_in(client, ada)
        change = {"current_password": ada.password, "new_password": new_password()}
        assert (await session.ask("POST", "/me/password", json=change)).status_code == 204

    async def by_an_administrator(ada: Person) -> None:
        answer = await admin.ask("PATCH", f"/users/{ada.id}", json={"password": new_password()})
        assert answer.status_code == 200

    for change in (by_link, by_herself, by_an_administrator):
        ada, _ = await joined(client, postbox)
        intruder, his = await log_in(client, ada), f"{new_name('intruder')}@example.org"
        assert (await intruder.ask("PATCH", "/me", json={"email": his})).status_code == 200
        link = token(await postbox.to(his), "verify-email")
        await change(ada)

        problem(await use(client, "/email/verify", link), 401, "invalid_token")


async def test_letters_whose_links_are_dead_are_not_sent(
    client: AsyncClient, postbox: Postbox, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mails, "WELCOME_PAUSE", 3600)
    ada = await register(client, email=f"{new_name()}@example.org")
    session = await log_in(client, ada)

    await session.ask("PATCH", "/me", json={"email": None})

    waiting = await parts.db.fetch("SELECT kind FROM mail_outbox WHERE user_id = $1", ada.id)
    assert {row["kind"] for row in waiting} <= {"email.changed"}


async def test_nobody_is_sent_a_link_that_would_be_refused(client: AsyncClient, parts: Parts, admin: SignedIn) -> None:
    for password in (None, new_password()):
        name = new_name()
        body = {"username": name, "email": f"{name}@example.org", "is_active": False, "password": password}
        made = await admin.ask("POST", "/users", json=body)
        assert made.status_code == 201, made.text
        assert not await parts.db.fetch("SELECT FROM one_time_tokens WHERE user_id = $1", made.json()["id"])


async def test_an_invitation_follows_the_address(client: AsyncClient, postbox: Postbox, admin: SignedIn) -> None:
    name = new_name()
    made = await admin.ask("POST", "/users", json={"username": name, "email": f"{name}@example.org"})
    typo = token(await postbox.to(f"{name}@example.org"), "reset-password")

    right = {"email": f"{new_name()}@example.org"}
    assert (await admin.ask("PATCH", f"/users/{made.json()['id']}", json=right)).status_code == 200

    invitation = token(await postbox.to(right["email"]), "reset-password")
    assert [await reset(client, each) for each in (typo, invitation)] == [401, 204]


async def test_an_invitation_can_be_sent_again(client: AsyncClient, postbox: Postbox, admin: SignedIn) -> None:
    name = new_name()
    made = await admin.ask("POST", "/users", json={"username": name, "email": f"{name}@example.org"})
    first = token(await postbox.to(f"{name}@example.org"), "reset-password")

    assert (await admin.ask("POST", f"/users/{made.json()['id']}/password-reset")).status_code == 202

    again = await postbox.to(f"{name}@example.org", 2)
    assert again.message["Subject"] == "Your account is ready"
    assert [await reset(client, each) for each in (first, token(again, "reset-password"))] == [401, 204]
    assert len(postbox.of(f"{name}@example.org")) == 2  # a first password is no news


async def test_an_administrator_sends_a_link(client: AsyncClient, postbox: Postbox, admin: SignedIn) -> None:
    ada, _ = await joined(client, postbox)

    answer = await admin.ask("POST", f"/users/{ada.id}/password-reset")

    assert (answer.status_code, answer.content) == (202, b"")
    assert await reset(client, token(await postbox.to(ada.email or "", 2), "reset-password")) == 204


async def test_a_link_cannot_be_sent_to_everybody_by_everybody(
    client: AsyncClient, postbox: Postbox, admin: SignedIn
) -> None:
    ada, _ = await joined(client, postbox)
    without = await register(client)
    session = await log_in(client, ada)

    problem(await admin.ask("POST", "/users/999999999/password-reset"), 404, "not_found")
    problem(await admin.ask("POST", f"/users/{without.id}/password-reset"), 409, "conflict")
    problem(await session.ask("POST", f"/users/{ada.id}/password-reset"), 403, "forbidden")
    assert (await admin.ask("PATCH", f"/users/{ada.id}", json={"is_active": False})).status_code == 200
    problem(await admin.ask("POST", f"/users/{ada.id}/password-reset"), 409, "conflict")


async def test_who_is_made_without_a_password_is_invited(
    client: AsyncClient, postbox: Postbox, admin: SignedIn, parts: Parts
) -> None:
    name = new_name()
    made = await admin.ask("POST", "/users", json={"username": name, "email": f"{name}@example.org"})
    assert made.status_code == 201, made.text

    invitation: Mail = await postbox.to(f"{name}@example.org")

    life = "SELECT extract(epoch FROM expires_at - created_at)::int AS seconds FROM one_time_tokens WHERE user_id = $1"
    assert [row["seconds"] for row in await parts.db.fetch(life, made.json()["id"])] == [7 * 86_400]
    password = new_password()
    assert await reset(client, token(invitation, "reset-password"), password) == 204
    session = await log_in(client, Person(made.json()["id"], name, password))
    assert (session.body["user"]["email_verified"], session.body["user"]["must_change_password"]) == (True, False)


async def test_one_network_asks_for_twenty_an_hour_whoever_has_the_addresses(client: AsyncClient, parts: Parts) -> None:
    async def ask(here: dict[str, str]) -> Response:
        return await client.post("/password/forgot", json={"email": f"{new_name()}@example.org"}, headers=here)

    while True:
        link, here = parts.entries.links.current, from_ip()
        assert {(await ask(here)).status_code for _ in range(20)} == {202}
        answer = await ask(here)
        if link is not None and link is parts.entries.links.current:  # without Valkey a process counts for itself
            break

    problem(answer, 429, "rate_limited")
    assert 3500 <= int(answer.headers["retry-after"]) <= 3600

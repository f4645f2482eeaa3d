"""Addresses are proved by a link, changed by one, and lost by nobody."""

import asyncio

import pytest
from httpx import AsyncClient

from app.identity import mails
from app.parts import Parts
from tests.identity.mailkit import joined, proved, token, use
from tests.kit import Person, SignedIn, from_ip, log_in, new_name, new_password, problem, register, until
from tests.mail.kit import Mail, Postbox
from tests.replica import Replica, Start


def new_email() -> str:
    return f"{new_name()}@example.org"


async def me(session: SignedIn) -> dict[str, object]:
    answer = await session.ask("GET", "/me")
    assert answer.status_code == 200, answer.text
    body: dict[str, object] = answer.json()
    return body


async def asked(session: SignedIn, email: str | None) -> None:
    answer = await session.ask("PATCH", "/me", json={"email": email})
    assert answer.status_code == 200, answer.text


async def expired(parts: Parts, session: SignedIn) -> None:
    await parts.db.execute(
        "UPDATE one_time_tokens SET expires_at = clock_timestamp() WHERE user_id = $1", session.user_id
    )


# ---- verifying ----------------------------------------------------------------------------------------------------


async def test_who_registers_proves_his_address_by_the_link(client: AsyncClient, postbox: Postbox) -> None:
    ada, link = await joined(client, postbox)
    session = await log_in(client, ada)
    assert (await me(session))["email_verified"] is False

    answer = await use(client, "/email/verify", link)

    assert (answer.status_code, answer.content) == (204, b"")
    assert (await me(session))["email_verified"] is True
    events = (await session.ask("GET", "/me/activity")).json()["items"]
    assert events[0]["event"] == "email.verified"


async def test_to_look_at_the_link_uses_nothing(client: AsyncClient, postbox: Postbox) -> None:
    _, link = await joined(client, postbox)

    problem(await client.get(f"/email/verify?token={link}"), 405, "method_not_allowed")

    assert (await use(client, "/email/verify", link)).status_code == 204


async def test_a_link_works_once_even_for_fifty_on_two_replicas(
    client: AsyncClient, replicas: list[AsyncClient], postbox: Postbox
) -> None:
    _, link = await joined(client, postbox)

    answers = await asyncio.gather(*(use(replicas[n % 2], "/email/verify", link) for n in range(50)))

    assert sorted(answer.status_code for answer in answers) == [204, *[401] * 49]
    problem(await use(client, "/email/verify", link), 401, "invalid_token")


async def test_an_expired_link_is_refused(client: AsyncClient, postbox: Postbox, parts: Parts) -> None:
    ada, link = await joined(client, postbox)
    life = "SELECT extract(epoch FROM expires_at - created_at)::int AS seconds FROM one_time_tokens WHERE user_id = $1"
    assert [row["seconds"] for row in await parts.db.fetch(life, ada.id)] == [86_400]
    await expired(parts, await log_in(client, ada))

    problem(await use(client, "/email/verify", link), 401, "invalid_token")


async def test_a_link_that_nobody_sent_is_refused(client: AsyncClient, postbox: Postbox) -> None:
    _, link = await joined(client, postbox)

    for spoiled in (link.swapcase(), link[:-1], f"{link}A", "x", f"gh1_{link[5:]}"):
        problem(await use(client, "/email/verify", spoiled), 401, "invalid_token")
    assert (await use(client, "/email/verify", link)).status_code == 204


async def test_a_link_is_good_for_its_own_purpose_alone(client: AsyncClient, postbox: Postbox) -> None:
    _, link = await joined(client, postbox)

    problem(await use(client, "/password/reset", link, new_password=new_password()), 401, "invalid_token")
    problem(await use(client, "/password/not-me", link), 401, "invalid_token")


async def test_who_was_deactivated_proves_nothing(client: AsyncClient, postbox: Postbox, admin: SignedIn) -> None:
    ada, link = await joined(client, postbox)
    assert (await admin.ask("PATCH", f"/users/{ada.id}", json={"is_active": False})).status_code == 200

    problem(await use(client, "/email/verify", link), 401, "invalid_token")


@pytest.mark.parametrize(
    ("change", "subject", "says"),
    [
        ({"password": new_password()}, "Your e-mail address was changed", "Its password changed as well."),
        ({"roles": ["admin"]}, "Your e-mail address was changed", "Its roles changed as well."),
        ({"is_active": False}, "Your account was deactivated", "deactivated"),
    ],
    ids=["password", "roles", "deactivated"],
)
async def test_what_an_administrator_changes_together_with_the_address_the_old_one_is_told(
    client: AsyncClient, admin: SignedIn, postbox: Postbox, change: dict[str, object], subject: str, says: str
) -> None:
    ada, other = await proved(client, postbox), new_email()

    answer = await admin.ask("PATCH", f"/users/{ada.id}", json={"email": other, **change})

    assert answer.status_code == 200

    def told() -> list[Mail]:
        return [mail for mail in postbox.of(ada.email or "") if mail.message["Subject"] == subject]

    await until(told)
    assert says in told()[0].part("plain").replace("\n", " ")


async def test_a_link_to_an_address_that_is_no_more_is_void(
    client: AsyncClient, postbox: Postbox, admin: SignedIn
) -> None:
    ada, link = await joined(client, postbox)
    other = new_email()
    assert (await admin.ask("PATCH", f"/users/{ada.id}", json={"email": other})).status_code == 200

    problem(await use(client, "/email/verify", link), 401, "invalid_token")
    assert (await use(client, "/email/verify", token(await postbox.to(other), "verify-email"))).status_code == 204


# ---- asking again -------------------------------------------------------------------------------------------------


async def test_a_link_that_was_sent_again_is_the_only_good_one(client: AsyncClient, postbox: Postbox) -> None:
    ada, first = await joined(client, postbox)
    session = await log_in(client, ada)

    answer = await session.ask("POST", "/email/resend")

    assert (answer.status_code, answer.content) == (202, b"")
    second = token(await postbox.to(ada.email or "", 2), "verify-email")
    problem(await use(client, "/email/verify", first), 401, "invalid_token")
    assert (await use(client, "/email/verify", second)).status_code == 204


async def test_the_first_letter_is_not_sent_where_events_have_overtaken_it(
    client: AsyncClient, postbox: Postbox, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mails, "WELCOME_PAUSE", 3600)
    ada = await register(client, email=new_email())
    session = await log_in(client, ada)

    await session.ask("POST", "/email/resend")

    link = token(await postbox.to(ada.email or ""), "verify-email")
    assert (await use(client, "/email/verify", link)).status_code == 204
    assert not await parts.db.fetch("SELECT FROM mail_outbox WHERE user_id = $1", ada.id)


async def test_nothing_is_sent_where_nothing_waits(client: AsyncClient, postbox: Postbox, parts: Parts) -> None:
    ada, link = await joined(client, postbox)
    session = await log_in(client, ada)
    await use(client, "/email/verify", link)
    nobody = await log_in(client, await register(client))

    for each in (session, nobody):
        assert (await each.ask("POST", "/email/resend")).status_code == 202

    waiting = await parts.db.fetch(
        "SELECT FROM one_time_tokens WHERE user_id = ANY($1) AND purpose = 'email.verify'", [ada.id, nobody.user_id]
    )
    assert not waiting


async def test_nobody_can_fill_a_box_with_links(client: AsyncClient, postbox: Postbox) -> None:
    ada, _ = await joined(client, postbox)
    session = await log_in(client, ada)

    answers = [await session.ask("POST", "/email/resend") for _ in range(4)]

    assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
    assert int(answers[3].headers["retry-after"]) > 0
    problem(await client.post("/password/forgot", json={"email": ada.email}, headers=from_ip()), 429, "rate_limited")


# ---- changing -----------------------------------------------------------------------------------------------------


async def test_a_new_address_is_used_once_it_is_proved_and_the_old_one_is_told(
    client: AsyncClient, replicas: list[AsyncClient], postbox: Postbox
) -> None:
    ada, link = await joined(client, postbox)
    await use(client, "/email/verify", link)
    session = await log_in(client, ada)
    new = new_email()

    await asked(session, new)

    assert ((await me(session))["email"], (await me(session))["email_verified"]) == (ada.email, True)
    change = token(await postbox.to(new), "verify-email")
    assert (await use(replicas[0], "/email/verify", change)).status_code == 204
    shown = (await session.ask("GET", "/me", at=replicas[1])).json()
    assert (shown["email"], shown["email_verified"]) == (new, True)
    told = await postbox.to(ada.email or "", 2)
    assert f"{new[0]}***@example.org" in told.part("plain")
    assert new not in told.part("plain")
    assert token(told, "not-me")
    assert (await log_in(client, ada, username=new)).id


async def test_to_change_the_address_needs_a_fresh_login(session: SignedIn, parts: Parts) -> None:
    await parts.db.execute(
        "UPDATE sessions SET auth_time = clock_timestamp() - interval '601 seconds' WHERE user_id = $1",
        session.user_id,
    )
    await parts.entries.forget(f"s:{session.id}")

    problem(await session.ask("PATCH", "/me", json={"email": new_email()}), 403, "reauthentication_required")
    problem(await session.ask("PATCH", "/me", json={"email": None}), 403, "reauthentication_required")
    problem(await session.ask("GET", "/me/export"), 403, "reauthentication_required")
    assert (await session.ask("PATCH", "/me", json={"full_name": "Ada"})).status_code == 200


async def test_an_address_of_somebody_else_cannot_be_taken(client: AsyncClient, postbox: Postbox) -> None:
    ada, _ = await joined(client, postbox)
    session = await log_in(client, await register(client))
    wanted = new_email()

    problem(await session.ask("PATCH", "/me", json={"email": (ada.email or "").upper()}), 409, "email_taken")
    await asked(session, wanted)
    change = token(await postbox.to(wanted), "verify-email")
    await register(client, email=wanted)  # faster, and has proved it
    assert (await use(client, "/email/verify", token(await postbox.to(wanted, 2), "verify-email"))).status_code == 204
    problem(await use(client, "/email/verify", change), 409, "email_taken")


async def test_a_proof_takes_an_address_from_who_has_none(client: AsyncClient, postbox: Postbox) -> None:
    session, wanted = await log_in(client, await register(client)), new_email()
    await asked(session, wanted)
    change = token(await postbox.to(wanted), "verify-email")
    squatter = await log_in(client, await register(client, email=wanted))
    his = token(await postbox.to(wanted, 2), "verify-email")

    assert (await use(client, "/email/verify", change)).status_code == 204

    assert ((await me(session))["email"], (await me(squatter))["email"]) == (wanted, None)
    problem(await use(client, "/email/verify", his), 401, "invalid_token")
    events = (await squatter.ask("GET", "/me/activity")).json()["items"]
    assert (events[0]["event"], events[0]["details"]) == ("user.updated", {"changed": ["email"]})


async def test_the_newest_change_wins(client: AsyncClient, postbox: Postbox) -> None:
    session = await log_in(client, await register(client))
    first, second = new_email(), new_email()
    await asked(session, first)
    await asked(session, second)

    problem(await use(client, "/email/verify", token(await postbox.to(first), "verify-email")), 401, "invalid_token")
    assert (await use(client, "/email/verify", token(await postbox.to(second), "verify-email"))).status_code == 204
    assert (await me(session))["email"] == second


async def test_who_goes_back_to_his_address_ends_the_move_to_another(client: AsyncClient, postbox: Postbox) -> None:
    ada, _ = await joined(client, postbox)
    session, new = await log_in(client, ada), new_email()
    await asked(session, new)
    link = token(await postbox.to(new), "verify-email")

    await asked(session, ada.email)

    problem(await use(client, "/email/verify", link), 401, "invalid_token")


async def test_nobody_tries_out_addresses_by_moving_to_them(client: AsyncClient, postbox: Postbox) -> None:
    ada, _ = await joined(client, postbox)
    session = await log_in(client, await register(client))

    answers = [
        await session.ask("PATCH", "/me", json={"email": email})
        for email in (ada.email, ada.email, ada.email, new_email())
    ]

    assert [answer.status_code for answer in answers] == [409, 409, 409, 429]


async def test_a_bad_name_beside_a_new_address_changes_and_sends_nothing(session: SignedIn, parts: Parts) -> None:
    body = {"email": new_email(), "full_name": "line\nbreak"}

    problem(await session.ask("PATCH", "/me", json=body), 422, "validation_failed")

    assert not await parts.db.fetch("SELECT FROM one_time_tokens WHERE user_id = $1", session.user_id)


async def test_an_administrators_own_address_is_changed_like_anybodys(admin: SignedIn) -> None:
    answer = await admin.ask("PATCH", f"/users/{admin.user_id}", json={"email": new_email()})

    problem(answer, 403, "forbidden")


async def test_the_same_address_again_changes_and_sends_nothing(client: AsyncClient, postbox: Postbox) -> None:
    ada, link = await joined(client, postbox)
    session = await log_in(client, ada)

    await asked(session, (ada.email or "").upper())

    assert (await use(client, "/email/verify", link)).status_code == 204


async def test_an_address_can_be_taken_away_and_its_owner_is_told(client: AsyncClient, postbox: Postbox) -> None:
    ada = await proved(client, postbox)
    session, new = await log_in(client, ada), new_email()
    await asked(session, new)
    link = token(await postbox.to(new), "verify-email")

    await asked(session, None)

    assert (await me(session))["email"] is None
    assert token(await postbox.to(ada.email or "", 2), "not-me")
    problem(await use(client, "/email/verify", link), 401, "invalid_token")
    await asked(session, None)  # as it is


async def test_without_a_mail_server_nobody_waits_for_mail(start: Start) -> None:
    replica: Replica = await start()
    ada = await register(replica.client, email=new_email())
    session = await log_in(replica.client, ada)

    problem(await session.ask("POST", "/email/resend"), 503, "unavailable")
    problem(await session.ask("PATCH", "/me", json={"email": new_email()}), 503, "unavailable")
    forgot = await replica.client.post("/password/forgot", json={"email": ada.email}, headers=from_ip())
    problem(forgot, 503, "unavailable")
    assert not await replica.parts.db.fetch("SELECT FROM mail_outbox")
    assert not await replica.parts.db.fetch("SELECT FROM one_time_tokens")


async def test_links_come_from_the_public_url_whatever_the_request_says(client: AsyncClient, postbox: Postbox) -> None:
    email = new_email()
    body = {"username": new_name(), "password": new_password(), "email": email}
    evil = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http", **from_ip()}
    evil |= {"Forwarded": "host=evil.example", "Origin": "https://evil.example", "Referer": "https://evil.example/"}

    assert (await client.post("/register", json=body, headers=evil)).status_code == 201

    mail = await postbox.to(email)
    assert b"evil.example" not in mail.raw
    assert token(mail, "verify-email")  # of a link that begins with PUBLIC_URL
    session = await log_in(client, Person(0, body["username"], body["password"]))
    await session.ask("POST", "/email/resend", headers=evil)
    await client.post("/password/forgot", json={"email": email}, headers=evil)
    for number in (2, 3):
        assert b"evil.example" not in (await postbox.to(email, number)).raw

"""The panic link: whoever reads it in his mail shuts everybody out, and gets back in alone."""

import asyncio

from httpx import AsyncClient

from app.main import Parts
from tests.identity.mailkit import joined, token, use
from tests.kit import Person, SignedIn, from_ip, log_in, new_name, new_password, problem, register
from tests.mail.kit import Postbox


async def password_changed(client: AsyncClient, postbox: Postbox, ada: Person) -> tuple[SignedIn, str]:
    """An intruder who knows the password changes it; his session, and the link in the mail that tells of it."""
    intruder = await log_in(client, ada)
    number = len(postbox.of(ada.email or "")) + 1
    change = {"current_password": ada.password, "new_password": new_password()}
    assert (await intruder.ask("POST", "/me/password", json=change)).status_code == 204
    return intruder, token(await postbox.to(ada.email or "", number), "not-me")


async def test_it_ends_everything_and_mails_a_way_back(
    client: AsyncClient, replicas: list[AsyncClient], postbox: Postbox
) -> None:
    ada, _ = await joined(client, postbox)
    intruder, link = await password_changed(client, postbox, ada)

    assert (await use(client, "/password/not-me", link)).status_code == 204

    for replica in replicas:
        problem(await intruder.ask("GET", "/me", at=replica), 401, "session_revoked")
    old = await client.post("/login", json={"username": ada.username, "password": ada.password}, headers=from_ip())
    problem(old, 401, "invalid_credentials")
    way_back = token(await postbox.to(ada.email or "", 3), "reset-password")
    new = new_password()
    assert (await use(client, "/password/reset", way_back, new_password=new)).status_code == 204
    session = await log_in(client, Person(ada.id, ada.username, new))
    requested = [
        item
        for item in (await session.ask("GET", "/me/activity")).json()["items"]
        if item["event"] == "password.reset_requested"
    ]
    assert requested[0]["details"] == {"reason": "not_me"}


async def test_it_brings_the_address_back(client: AsyncClient, postbox: Postbox) -> None:
    ada, verification = await joined(client, postbox)
    await use(client, "/email/verify", verification)
    intruder, his = await log_in(client, ada), f"{new_name('intruder')}@example.org"
    assert (await intruder.ask("PATCH", "/me", json={"email": his})).status_code == 200
    assert (await use(client, "/email/verify", token(await postbox.to(his), "verify-email"))).status_code == 204
    await client.post("/password/forgot", json={"email": his}, headers=from_ip())
    his_reset = token(await postbox.to(his, 2), "reset-password")

    link = token(await postbox.to(ada.email or "", 2), "not-me")
    assert (await use(client, "/password/not-me", link)).status_code == 204

    problem(await use(client, "/password/reset", his_reset, new_password=new_password()), 401, "invalid_token")
    way_back, new = token(await postbox.to(ada.email or "", 3), "reset-password"), new_password()
    assert (await use(client, "/password/reset", way_back, new_password=new)).status_code == 204
    back = await log_in(client, Person(ada.id, ada.username, new))
    assert (back.body["user"]["email"], back.body["user"]["email_verified"]) == (ada.email, True)


async def test_it_works_once_even_for_fifty_on_two_replicas(
    client: AsyncClient, replicas: list[AsyncClient], postbox: Postbox
) -> None:
    ada, _ = await joined(client, postbox)
    _, link = await password_changed(client, postbox, ada)

    answers = await asyncio.gather(*(use(replicas[n % 2], "/password/not-me", link) for n in range(50)))

    assert sorted(answer.status_code for answer in answers) == [204, *[401] * 49]


async def test_it_expires(client: AsyncClient, postbox: Postbox, parts: Parts) -> None:
    ada, _ = await joined(client, postbox)
    _, link = await password_changed(client, postbox, ada)
    life = "SELECT extract(epoch FROM expires_at - created_at)::int AS seconds FROM one_time_tokens WHERE user_id = $1"
    assert 7 * 86_400 in [row["seconds"] for row in await parts.db.fetch(life, ada.id)]
    await parts.db.execute("UPDATE one_time_tokens SET expires_at = clock_timestamp() WHERE user_id = $1", ada.id)

    problem(await use(client, "/password/not-me", link), 401, "invalid_token")


async def test_it_is_good_for_nothing_else_and_for_nobody_who_is_not_active(
    client: AsyncClient, postbox: Postbox, admin: SignedIn
) -> None:
    ada, _ = await joined(client, postbox)
    _, link = await password_changed(client, postbox, ada)

    problem(await use(client, "/password/reset", link, new_password=new_password()), 401, "invalid_token")
    problem(await use(client, "/email/verify", link), 401, "invalid_token")
    for is_active in (False, True):  # what was void stays so
        await admin.ask("PATCH", f"/users/{ada.id}", json={"is_active": is_active})
        problem(await use(client, "/password/not-me", link), 401, "invalid_token")


async def test_an_intruder_cannot_use_up_the_owners_link(client: AsyncClient, postbox: Postbox) -> None:
    """He moves the account to his address, so that the next notice, with its link, comes to him."""
    ada, verification = await joined(client, postbox)
    await use(client, "/email/verify", verification)
    intruder, his = await log_in(client, ada), f"{new_name('intruder')}@example.org"
    assert (await intruder.ask("PATCH", "/me", json={"email": his})).status_code == 200
    assert (await use(client, "/email/verify", token(await postbox.to(his), "verify-email"))).status_code == 204
    hers = token(await postbox.to(ada.email or "", 2), "not-me")
    change = {"current_password": ada.password, "new_password": new_password()}
    assert (await intruder.ask("POST", "/me/password", json=change)).status_code == 204
    assert (await use(client, "/password/not-me", token(await postbox.to(his, 2), "not-me"))).status_code == 204
    his_reset = token(await postbox.to(his, 3), "reset-password")

    assert (await use(client, "/password/not-me", hers)).status_code == 204

    problem(await use(client, "/password/reset", his_reset, new_password=new_password()), 401, "invalid_token")
    new = new_password()
    way_back = token(await postbox.to(ada.email or "", 3), "reset-password")
    assert (await use(client, "/password/reset", way_back, new_password=new)).status_code == 204
    assert (await log_in(client, Person(ada.id, ada.username, new))).body["user"]["email"] == ada.email


async def test_what_an_administrator_has_moved_away_does_not_come_back(
    client: AsyncClient, postbox: Postbox, admin: SignedIn
) -> None:
    ada, _ = await joined(client, postbox)
    _, link = await password_changed(client, postbox, ada)
    moved = {"email": f"{new_name()}@example.org"}

    assert (await admin.ask("PATCH", f"/users/{ada.id}", json=moved)).status_code == 200

    told = await postbox.to(ada.email or "", 3)
    assert told.message["Subject"] == "Your e-mail address was changed"
    assert "token=" not in told.part("plain") + told.part("html")
    problem(await use(client, "/password/not-me", link), 401, "invalid_token")


async def test_an_address_that_somebody_else_has_by_now_stays_his(client: AsyncClient, postbox: Postbox) -> None:
    ada, _ = await joined(client, postbox)
    session = await log_in(client, ada)
    assert (await session.ask("PATCH", "/me", json={"email": None})).status_code == 200
    link = token(await postbox.to(ada.email or "", 2), "not-me")
    await register(client, email=ada.email)

    problem(await use(client, "/password/not-me", link), 409, "email_taken")

    assert (await session.ask("GET", "/me")).status_code == 200


async def test_every_notice_of_an_administrators_act_carries_it_and_says_nothing_of_his_place(
    client: AsyncClient, postbox: Postbox, admin: SignedIn
) -> None:
    ada, _ = await joined(client, postbox)
    place = {"X-Forwarded-For": "198.51.100.77", "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}
    for change in ({"password": new_password()}, {"is_admin": True}):
        assert (await admin.ask("PATCH", f"/users/{ada.id}", json=change, headers=place)).status_code == 200

    mails = [await postbox.to(ada.email or "", number) for number in (2, 3)]

    subjects = {mail.message["Subject"] for mail in mails}
    assert subjects == {"Your password was changed", "What you may do has changed"}
    for mail in mails:
        assert token(mail, "not-me")
        assert "An administrator" in mail.part("plain")
        assert b"198.51.100.77" not in mail.raw
        assert b"Firefox" not in mail.raw


async def test_who_is_deactivated_is_told_without_a_link(
    client: AsyncClient, postbox: Postbox, admin: SignedIn
) -> None:
    ada, _ = await joined(client, postbox)

    await admin.ask("PATCH", f"/users/{ada.id}", json={"is_active": False})

    told = await postbox.to(ada.email or "", 2)
    assert told.message["Subject"] == "Your account was deactivated"
    assert "token=" not in told.part("plain")

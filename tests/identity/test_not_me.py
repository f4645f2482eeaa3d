"""The panic link: whoever reads it in his mail shuts everybody out, and gets back in alone."""

import asyncio

from httpx import AsyncClient

from app.parts import Parts
from tests.identity.mailkit import joined, link_in, proved, token, use
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
    ada = await proved(client, postbox)
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


async def test_it_comes_once_when_old_refresh_tokens_come_back(
    client: AsyncClient, replicas: list[AsyncClient], postbox: Postbox, parts: Parts
) -> None:
    ada = await proved(client, postbox)
    session = await log_in(client, ada)
    await (await session.refreshed()).refreshed()
    stolen = {"refresh_token": session.refresh_token}

    await asyncio.gather(*(replicas[n % 2].post("/refresh", json=stolen, headers=from_ip()) for n in range(50)))

    told = await postbox.to(ada.email or "", 2)
    assert told.message["Subject"] == "A session of your account was ended"
    links = await parts.db.fetch("SELECT FROM one_time_tokens WHERE user_id = $1 AND purpose = 'not_me'", ada.id)
    assert len(links) == 1
    assert (await use(client, "/password/not-me", token(told, "not-me"))).status_code == 204


async def test_it_brings_the_address_back(client: AsyncClient, postbox: Postbox) -> None:
    ada = await proved(client, postbox)
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
    ada = await proved(client, postbox)
    _, link = await password_changed(client, postbox, ada)

    answers = await asyncio.gather(*(use(replicas[n % 2], "/password/not-me", link) for n in range(50)))

    assert sorted(answer.status_code for answer in answers) == [204, *[401] * 49]


async def test_it_expires(client: AsyncClient, postbox: Postbox, parts: Parts) -> None:
    ada = await proved(client, postbox)
    _, link = await password_changed(client, postbox, ada)
    life = "SELECT extract(epoch FROM expires_at - created_at)::int AS seconds FROM one_time_tokens WHERE user_id = $1"
    assert 7 * 86_400 in [row["seconds"] for row in await parts.db.fetch(life, ada.id)]
    await parts.db.execute("UPDATE one_time_tokens SET expires_at = clock_timestamp() WHERE user_id = $1", ada.id)

    problem(await use(client, "/password/not-me", link), 401, "invalid_token")


async def test_it_is_good_for_nothing_else_and_for_nobody_who_is_not_active(
    client: AsyncClient, postbox: Postbox, admin: SignedIn
) -> None:
    ada = await proved(client, postbox)
    _, link = await password_changed(client, postbox, ada)

    problem(await use(client, "/password/reset", link, new_password=new_password()), 401, "invalid_token")
    problem(await use(client, "/email/verify", link), 401, "invalid_token")
    for is_active in (False, True):  # what was void stays so
        await admin.ask("PATCH", f"/users/{ada.id}", json={"is_active": is_active})
        problem(await use(client, "/password/not-me", link), 401, "invalid_token")


async def test_an_intruder_cannot_use_up_the_owners_link(client: AsyncClient, postbox: Postbox) -> None:
    """He moves the account to his address, so that the next notice, with its link, comes to him."""
    ada = await proved(client, postbox)
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
    ada = await proved(client, postbox)
    _, link = await password_changed(client, postbox, ada)
    moved = {"email": f"{new_name()}@example.org"}

    assert (await admin.ask("PATCH", f"/users/{ada.id}", json=moved)).status_code == 200

    told = await postbox.to(ada.email or "", 3)
    assert told.message["Subject"] == "Your e-mail address was changed"
    assert "token=" not in told.part("plain") + told.part("html")
    problem(await use(client, "/password/not-me", link), 401, "invalid_token")


async def lost_to(client: AsyncClient, postbox: Postbox, ada: Person) -> tuple[SignedIn, str]:
    """An intruder takes the address away; his session, and the link that tells of it."""
    intruder = await log_in(client, ada)
    assert (await intruder.ask("PATCH", "/me", json={"email": None})).status_code == 200
    return intruder, token(await postbox.to(ada.email or "", 2), "not-me")


async def test_who_squats_on_the_address_without_a_proof_gives_way(client: AsyncClient, postbox: Postbox) -> None:
    ada = await proved(client, postbox)
    intruder, link = await lost_to(client, postbox, ada)
    squatter = await log_in(client, await register(client, email=ada.email))

    assert (await use(client, "/password/not-me", link)).status_code == 204

    problem(await intruder.ask("GET", "/me"), 401, "session_revoked")
    assert (await squatter.ask("GET", "/me")).json()["email"] is None
    new = new_password()
    way_back = await link_in(postbox, ada.email or "", "reset-password")
    assert (await use(client, "/password/reset", way_back, new_password=new)).status_code == 204
    assert (await log_in(client, Person(ada.id, ada.username, new))).body["user"]["email"] == ada.email


async def test_where_somebody_else_has_proved_the_address_the_intruder_is_shut_out_all_the_same(
    client: AsyncClient, postbox: Postbox
) -> None:
    ada = await proved(client, postbox)
    intruder, link = await lost_to(client, postbox, ada)
    heir = await register(client, email=ada.email)
    mails = [await postbox.to(ada.email or "", number) for number in (1, 2, 3)]
    assert (await use(client, "/email/verify", token(mails[2], "verify-email"))).status_code == 204

    assert (await use(client, "/password/not-me", link)).status_code == 204

    problem(await intruder.ask("GET", "/me"), 401, "session_revoked")
    assert (await log_in(client, heir)).body["user"]["email"] == ada.email


async def test_an_address_that_nobody_has_proved_is_told_nothing(
    client: AsyncClient, postbox: Postbox, admin: SignedIn, parts: Parts
) -> None:
    ada, _ = await joined(client, postbox)
    session = await log_in(client, ada)
    change = {"current_password": ada.password, "new_password": new_password()}
    assert (await session.ask("POST", "/me/password", json=change)).status_code == 204
    assert (await session.ask("PATCH", "/me", json={"email": None})).status_code == 200

    assert not await parts.db.fetch("SELECT FROM one_time_tokens WHERE user_id = $1 AND purpose = 'not_me'", ada.id)
    assert len(postbox.of(ada.email or "")) == 1


async def test_every_notice_of_an_administrators_act_carries_it_and_says_nothing_of_his_place(
    client: AsyncClient, postbox: Postbox, admin: SignedIn
) -> None:
    ada = await proved(client, postbox)
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
    ada = await proved(client, postbox)

    await admin.ask("PATCH", f"/users/{ada.id}", json={"is_active": False})

    told = await postbox.to(ada.email or "", 2)
    assert told.message["Subject"] == "Your account was deactivated"
    assert "token=" not in told.part("plain")

"""Signing in by a password that GPUStack keeps."""

import asyncio
from datetime import UTC, datetime

import pytest
from httpx import AsyncClient

from app.background import end
from app.setting_values import Rate
from tests.conftest import ADMIN
from tests.gpustack.kit import Begin, Gatehouse
from tests.gpustack.scripted import Reply, Scripted
from tests.gpustack.upstream import PASSWORD
from tests.identity.webauthnkit import added, login_options, sign_in
from tests.kit import Person, blocked_on_a_lock, from_ip, log_in, new_ip, problem, register, until


async def test_somebody_of_gpustack_signs_in_and_is_known_here_from_then_on(
    gatehouse: Gatehouse, scripted: Scripted
) -> None:
    await scripted.add("Ada ü", full_name="Ada  Lovelace")

    first, second = await gatehouse.login("Ada ü"), await gatehouse.login("Ada ü")

    user = first.body["user"]
    assert (user["username"], user["full_name"], user["provider"]) == ("Ada ü", "Ada Lovelace", "gpustack")
    assert (user["email"], user["is_admin"], user["must_change_password"]) == (None, False, False)
    assert second.user_id == first.user_id
    assert await gatehouse.events(first.user_id) == [
        ("user.created", {"roles": [], "by": "gpustack"}),
        ("login.succeeded", {"amr": ["pwd"]}),
        ("login.succeeded", {"amr": ["pwd"]}),
    ]
    assert (await first.ask("GET", "/me")).json()["username"] == "Ada ü"
    assert (await first.ask("GET", "/verify")).headers["x-auth-username"] == "Ada%20%C3%BC"
    (identity,) = (await first.ask("GET", "/me/identities")).json()["items"]
    assert (identity["provider"], identity["issuer"], identity["username"]) == ("gpustack", scripted.url, "Ada ü")


async def test_a_wrong_password_and_an_unknown_name_are_refused_alike(gatehouse: Gatehouse, scripted: Scripted) -> None:
    await scripted.add("ada")
    signed_in = await gatehouse.login("ada")

    wrong, unknown = await gatehouse.try_login("ada", "wrong"), await gatehouse.try_login("bob", "wrong")

    bodies = [problem(each, 401, "invalid_credentials") for each in (wrong, unknown)]
    assert bodies[0] | {"request_id": ""} == bodies[1] | {"request_id": ""}
    assert (await gatehouse.events(signed_in.user_id))[-1] == ("login.failed", {"reason": "wrong_password"})


async def test_a_local_user_of_the_name_is_the_local_one_and_waits_for_nobody(
    gatehouse: Gatehouse, scripted: Scripted
) -> None:
    ada = await register(gatehouse.client)
    await scripted.add(ada.username)

    async with scripted.outage("hung"):
        local = await log_in(gatehouse.client, ada)
        problem(await gatehouse.try_login(ada.username, PASSWORD), 401, "invalid_credentials")

    assert local.body["user"]["provider"] == "local"
    assert scripted.logins(ada.username) == 0


async def test_a_local_user_who_comes_later_is_not_merged_with_one_of_the_name(
    gatehouse: Gatehouse, scripted: Scripted
) -> None:
    await scripted.add("ada")
    shadow = await gatehouse.login("ada")

    local = await register(gatehouse.client, username="ada")

    assert local.id != shadow.user_id
    assert (await gatehouse.user(shadow.user_id))["username"] == "ada"
    assert (await log_in(gatehouse.client, local)).user_id == local.id


async def test_names_that_differ_in_case_are_two_people(gatehouse: Gatehouse, scripted: Scripted) -> None:
    await scripted.add("ada")
    await scripted.add("ADA")

    assert (await gatehouse.login("ada")).user_id != (await gatehouse.login("ADA")).user_id


async def test_an_address_that_a_shadow_has_proved_is_good_to_sign_in_with(
    gatehouse: Gatehouse, scripted: Scripted
) -> None:
    await scripted.add("ada")
    signed_in = await gatehouse.login("ada")
    await gatehouse.replica.parts.db.execute(
        "UPDATE users SET email = 'ada@example.test', email_verified = true WHERE id = $1", signed_in.user_id
    )

    assert (await gatehouse.login("ADA@example.test")).user_id == signed_in.user_id


async def test_a_name_there_may_look_like_an_address(gatehouse: Gatehouse, scripted: Scripted) -> None:
    await scripted.add("ada@example.test")

    assert (await gatehouse.login("ada@example.test")).body["user"]["username"] == "ada@example.test"


async def test_an_administrator_there_is_one_here(gatehouse: Gatehouse, scripted: Scripted) -> None:
    user_id = await scripted.add("ada", is_admin=True)
    signed_in = await gatehouse.login("ada")
    assert signed_in.body["user"]["is_admin"]
    assert (await signed_in.ask("GET", "/users")).status_code == 200

    await scripted.change(user_id, is_admin=False)
    again = await gatehouse.login("ada")

    assert not again.body["user"]["is_admin"]
    problem(await signed_in.ask("GET", "/users"), 403, "forbidden")
    assert ("role.changed", {"added": [], "removed": ["admin"], "by": "gpustack"}) in await gatehouse.events(
        signed_in.user_id
    )


async def test_roles_that_were_given_here_stay(gatehouse: Gatehouse, scripted: Scripted) -> None:
    await scripted.add("ada")
    signed_in = await gatehouse.login("ada")
    await gatehouse.replica.parts.db.execute("INSERT INTO roles (name) VALUES ('cook'), ('Anna')")
    await gatehouse.admin.ask("PATCH", f"/users/{signed_in.user_id}", json={"roles": ["cook"]})
    before = len(await gatehouse.events(signed_in.user_id))

    again = await gatehouse.login("ada")

    assert again.body["user"]["roles"] == ["cook"]
    assert len(await gatehouse.events(signed_in.user_id)) == before + 1


async def test_who_is_renamed_there_is_renamed_here(gatehouse: Gatehouse, scripted: Scripted) -> None:
    user_id = await scripted.add("ada")
    signed_in = await gatehouse.login("ada")

    await scripted.change(user_id, username="Lovelace", full_name="Ada")
    again = await gatehouse.login("Lovelace")

    assert again.user_id == signed_in.user_id
    me = (await signed_in.ask("GET", "/me")).json()
    assert (me["username"], me["full_name"]) == ("Lovelace", "Ada")
    assert ("user.updated", {"changed": ["username", "full_name"], "by": "gpustack"}) in await gatehouse.events(
        signed_in.user_id
    )


async def test_a_name_that_was_made_again_is_another_person(gatehouse: Gatehouse, scripted: Scripted) -> None:
    user_id = await scripted.add("ada")
    before = await gatehouse.login("ada")
    await scripted.remove(user_id)
    await scripted.add("ada", password="Other-stripes-8!")

    after = await gatehouse.login("ada", "Other-stripes-8!")

    assert after.user_id != before.user_id
    assert after.body["user"]["username"] == "ada"
    assert (await before.ask("GET", "/me")).json()["username"].startswith("ada~")
    problem(await gatehouse.try_login("ada"), 401, "invalid_credentials")


@pytest.mark.parametrize("by", ["login", "list"])
async def test_an_id_that_was_given_again_is_another_person(gatehouse: Gatehouse, scripted: Scripted, by: str) -> None:
    """As SQLite gives the newest one again, and a GPUStack that was set up anew gives all."""
    there = await scripted.add("ada")
    ada = await gatehouse.login("ada")
    key = await added(ada)
    await gatehouse.replica.parts.db.execute("UPDATE identities SET created_at = now() - interval '61 minutes'")
    made_at = datetime.now(UTC).isoformat()

    await scripted.change(there, username="bob", password="Other-stripes-8!", created_at=made_at)
    if by == "list":
        assert await gatehouse.sync() == {"listed": 2, "created": 2}
    bob = await gatehouse.login("bob", "Other-stripes-8!")

    assert bob.user_id != ada.user_id
    assert (await bob.ask("GET", "/me/passkeys")).json()["items"] == []
    problem(await ada.ask("GET", "/me"), 401, "session_revoked")
    refused = await sign_in(gatehouse.client, key.shown(await login_options(gatehouse.client)))
    problem(refused, 401, "invalid_credentials")
    user = await gatehouse.user(ada.user_id)
    assert (user["username"].partition("~")[0], user["is_active"]) == ("ada", False)
    assert set(await gatehouse.sync()) <= {"listed", "created"}  # the administrator there
    assert await gatehouse.sync() == {"listed": 2}
    assert (await gatehouse.login("bob", "Other-stripes-8!")).user_id == bob.user_id


@pytest.mark.parametrize("said", [None, "", "yesterday", "2020-01-01T00:00:00", "2999-01-01T00:00:00Z"])
async def test_who_was_made_at_no_certain_time_is_who_he_was(
    gatehouse: Gatehouse, scripted: Scripted, said: str | None
) -> None:
    there = await scripted.add("ada")
    ada = await gatehouse.login("ada")

    await scripted.change(there, created_at=said)

    assert (await gatehouse.login("ada")).user_id == ada.user_id


async def test_two_who_exchange_their_names_stay_who_they_are(gatehouse: Gatehouse, scripted: Scripted) -> None:
    ids = [await scripted.add("ada"), await scripted.add("bob", password="Other-stripes-8!")]
    ada, bob = await gatehouse.login("ada"), await gatehouse.login("bob", "Other-stripes-8!")

    await scripted.change(ids[0], username="bob")
    await scripted.change(ids[1], username="ada")

    assert (await gatehouse.login("bob")).user_id == ada.user_id
    assert (await gatehouse.login("ada", "Other-stripes-8!")).user_id == bob.user_id


async def test_a_name_that_is_taken_at_this_moment_is_no_ones_yet(gatehouse: Gatehouse, scripted: Scripted) -> None:
    """By another login, of whoever had it there a moment before."""
    parts = gatehouse.replica.parts
    there = await scripted.add("ada")
    ada = await gatehouse.login("ada")
    await scripted.change(there, username="Lovelace")
    await scripted.add("bob")

    for name in ("bob", "Lovelace"):
        async with parts.db.transaction() as tx:
            await tx.execute("INSERT INTO users (provider, username) VALUES ('gpustack', $1)", name)
            answer = asyncio.create_task(gatehouse.try_login(name))
            await blocked_on_a_lock(parts)
        problem(await answer, 503, "unavailable")
        await parts.db.execute("DELETE FROM users WHERE username = $1", name)

    assert (await gatehouse.login("Lovelace")).user_id == ada.user_id
    await gatehouse.login("bob")


async def test_who_is_deactivated_there_is_shut_out_here_by_his_own_login(
    gatehouse: Gatehouse, scripted: Scripted
) -> None:
    user_id = await scripted.add("ada")
    signed_in = await gatehouse.login("ada")

    await scripted.change(user_id, is_active=False)
    problem(await gatehouse.try_login("ada", "wrong"), 401, "invalid_credentials")
    assert (await signed_in.ask("GET", "/me")).status_code == 200
    problem(await gatehouse.try_login("ada"), 401, "invalid_credentials")

    problem(await signed_in.ask("GET", "/me"), 401, "session_revoked")
    assert not (await gatehouse.user(signed_in.user_id))["is_active"]
    events = await gatehouse.events(signed_in.user_id)
    assert ("user.updated", {"changed": ["is_active"], "is_active": False, "by": "gpustack"}) in events
    assert ("session.revoked", {"reason": "deactivated"}) in events
    assert events[-1] == ("login.failed", {"reason": "inactive"})

    await scripted.change(user_id, is_active=True)
    assert (await gatehouse.login("ada")).user_id == signed_in.user_id


async def test_somebody_of_whom_nothing_is_known_here_may_be_deactivated_there(
    gatehouse: Gatehouse, scripted: Scripted
) -> None:
    await scripted.change(await scripted.add("ada"), is_active=False)

    problem(await gatehouse.try_login("ada"), 401, "invalid_credentials")


async def test_who_was_deactivated_here_is_not_let_in_by_gpustack(gatehouse: Gatehouse, scripted: Scripted) -> None:
    user_id = await scripted.add("ada")
    signed_in = await gatehouse.login("ada")
    await gatehouse.admin.ask("PATCH", f"/users/{signed_in.user_id}", json={"is_active": False})

    problem(await gatehouse.try_login("ada"), 401, "invalid_credentials")
    await scripted.change(user_id, is_active=False)
    problem(await gatehouse.try_login("ada"), 401, "invalid_credentials")
    await scripted.change(user_id, is_active=True)
    problem(await gatehouse.try_login("ada"), 401, "invalid_credentials")

    assert not (await gatehouse.user(signed_in.user_id))["is_active"]


async def test_the_last_word_of_an_administrator_here_counts(gatehouse: Gatehouse, scripted: Scripted) -> None:
    user_id = await scripted.add("ada")
    signed_in = await gatehouse.login("ada")
    await scripted.change(user_id, is_active=False)
    await gatehouse.try_login("ada")
    await scripted.change(user_id, is_active=True)

    await gatehouse.admin.ask("PATCH", f"/users/{signed_in.user_id}", json={"is_active": True})
    await gatehouse.admin.ask("PATCH", f"/users/{signed_in.user_id}", json={"is_active": False})

    problem(await gatehouse.try_login("ada"), 401, "invalid_credentials")


async def test_who_is_deactivated_there_can_be_deactivated_here_as_well(
    gatehouse: Gatehouse, scripted: Scripted
) -> None:
    user_id = await scripted.add("ada")
    signed_in = await gatehouse.login("ada")
    await scripted.change(user_id, is_active=False)
    await gatehouse.sync()

    for _ in range(2):
        answer = await gatehouse.admin.ask("PATCH", f"/users/{signed_in.user_id}", json={"is_active": False})
        assert (answer.status_code, answer.json()["is_active"]) == (200, False)
    await scripted.change(user_id, is_active=True)

    assert await gatehouse.sync() == {"listed": 2}
    problem(await gatehouse.try_login("ada"), 401, "invalid_credentials")
    said = ("user.updated", {"changed": ["is_active"], "is_active": False})
    assert (await gatehouse.events(signed_in.user_id)).count(said) == 1


@pytest.mark.parametrize("taken_away", ["is_active", "is_admin"])
async def test_an_answer_from_before_gives_back_nothing_that_was_taken_away_since(
    gatehouse: Gatehouse, scripted: Scripted, monkeypatch: pytest.MonkeyPatch, taken_away: str
) -> None:
    """GPUStack has taken the password of a login; until that is brought over, the list takes something away."""
    user_id = await scripted.add("ada", is_admin=True)
    signed_in = await gatehouse.login("ada")
    passwords = gatehouse.replica.parts.passwords
    hash_password = passwords.hash

    async def meanwhile(password: str, *, aside: bool = False) -> str:
        if scripted.users[user_id][taken_away]:
            await scripted.change(user_id, **{taken_away: False})
            await gatehouse.sync()
        return await hash_password(password, aside=aside)

    monkeypatch.setattr(passwords, "hash", meanwhile)
    answer = await gatehouse.try_login("ada")

    assert not (await gatehouse.user(signed_in.user_id))[taken_away]
    if taken_away == "is_active":
        problem(answer, 401, "invalid_credentials")
    else:
        assert not answer.json()["user"]["is_admin"]
    monkeypatch.undo()
    await scripted.change(user_id, **{taken_away: True})
    assert (await gatehouse.login("ada")).body["user"][taken_away]


async def test_failures_count_by_the_name_to_the_letter(begin: Begin, scripted: Scripted) -> None:
    gatehouse = await begin()
    await scripted.add("ada")
    await scripted.add("Ada")
    await scripted.add("bob")
    await gatehouse.login("bob")

    for name in ("ada", "bob", "nobody"):
        for _ in range(10):
            problem(await gatehouse.try_login(name, "wrong"), 401, "invalid_credentials")
        problem(await gatehouse.try_login(name, PASSWORD), 429, "rate_limited")
    asked = scripted.logins("ada")

    await gatehouse.login("Ada")
    assert asked == 10


async def test_failures_count_by_the_address_they_come_from(begin: Begin, scripted: Scripted) -> None:
    gatehouse, ip = await begin(rate_limit_login=Rate(5, 900)), new_ip()
    await scripted.add("ada")

    for number in range(5):
        problem(await gatehouse.try_login(f"user {number}", "wrong", ip), 401, "invalid_credentials")

    problem(await gatehouse.try_login("ada", PASSWORD, ip), 429, "rate_limited")


async def test_local_users_of_a_network_do_not_wait_for_those_whom_gpustack_is_asked_about(
    begin: Begin, scripted: Scripted
) -> None:
    gatehouse, ip = await begin(rate_limit_login=Rate(5, 900)), new_ip()
    scripted.pause = 60.0  # seconds; nobody is let wait as long
    slow = [asyncio.create_task(gatehouse.try_login(f"user {number}", "wrong", ip)) for number in range(5)]
    await until(lambda: scripted.at_once == 5)

    answer = await gatehouse.try_login(ADMIN.username, ADMIN.password, ip)

    assert answer.status_code == 200, answer.text
    assert not any(each.done() for each in slow)
    await end(*slow)


async def test_one_who_is_no_gpustack_lets_in_nobody(gatehouse: Gatehouse, scripted: Scripted) -> None:
    await scripted.add("ada")
    signed_in = await gatehouse.login("ada")
    scripted.says["/auth/login"] = Reply.html(200)

    answer = await gatehouse.try_login("ada")

    problem(answer, 503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert (await gatehouse.events(signed_in.user_id))[-1][0] == "login.succeeded"


async def test_a_label_that_nobody_could_have_here_is_left_out(gatehouse: Gatehouse, scripted: Scripted) -> None:
    user_id = await scripted.add("ada", full_name="Ada\x07")
    assert (await gatehouse.login("ada")).body["user"]["full_name"] is None

    await scripted.change(user_id, full_name="x" * 201)
    assert (await gatehouse.login("ada")).body["user"]["full_name"] is None
    assert [event for event, _ in await gatehouse.events((await gatehouse.login("ada")).user_id)].count(
        "user.updated"
    ) == 0


async def test_without_gpustack_nobody_of_it_signs_in(client: AsyncClient, ada: Person) -> None:
    answer = await client.post("/login", json={"username": "nobody at all", "password": "x"}, headers=from_ip())

    problem(answer, 401, "invalid_credentials")


@pytest.mark.parametrize("name", ["a\\u0000b", "a\\nb", "a\\u0085", "\\ud800"])
async def test_a_name_that_nobody_can_have_there_is_refused_without_asking(
    gatehouse: Gatehouse, scripted: Scripted, name: str
) -> None:
    body = f'{{"username": "{name}", "password": "x"}}'
    headers = from_ip() | {"Content-Type": "application/json"}

    answer = await gatehouse.client.post("/login", content=body, headers=headers)

    assert answer.status_code in (400, 401, 422)
    assert not [each for each in scripted.asked if each.startswith(f"POST /auth/login {name[0]}")]

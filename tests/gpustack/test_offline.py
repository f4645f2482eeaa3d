"""Signing in while GPUStack is away: by the password that it last took, and without an administrator's rights."""

import asyncio
import time

import pytest

from app.gpustack.instance import State
from tests.gpustack.kit import Begin, Gatehouse
from tests.gpustack.scripted import Reply, Scripted
from tests.gpustack.upstream import PASSWORD, Outage
from tests.health.kit import scraped, value
from tests.identity.factorkit import enrolled, second_step, within_a_step
from tests.identity.kit import new_role
from tests.identity.webauthnkit import Key, registration_options
from tests.kit import SignedIn, problem, until

HOURS_AGO = "UPDATE upstream_users SET verified_at = verified_at - make_interval(hours => $1)"


@pytest.mark.parametrize("kind", ["refused", "hung", "broken"])
async def test_who_has_signed_in_lately_signs_in_offline(begin: Begin, scripted: Scripted, kind: Outage) -> None:
    gatehouse = await begin()
    await scripted.add("ada")
    online = await gatehouse.login("ada")

    async with scripted.outage(kind):
        offline = await gatehouse.login("ada")

        assert offline.user_id == online.user_id
        sessions = (await offline.ask("GET", "/me/sessions")).json()["items"]
        assert [each["amr"] for each in sessions if each["current"]] == [["pwd", "offline"]]
        assert value(await scraped(gatehouse.client), "auth_gpustack_offline_total") == 1


async def test_nobody_else_does(gatehouse: Gatehouse, scripted: Scripted) -> None:
    await scripted.add("ada")
    await scripted.add("bob")
    signed_in = await gatehouse.login("ada")

    async with scripted.outage("broken"):
        for name, password in (("bob", PASSWORD), ("nobody", PASSWORD), ("ada", "wrong")):
            answer = await gatehouse.try_login(name, password)
            problem(answer, 503, "unavailable")
            assert int(answer.headers["retry-after"]) > 0

    assert (await gatehouse.events(signed_in.user_id))[-1] == ("login.failed", {"reason": "wrong_password"})


async def test_that_it_is_away_is_no_failed_try_but_to_guess_is_one(gatehouse: Gatehouse, scripted: Scripted) -> None:
    await scripted.add("ada")
    await gatehouse.login("ada")

    async with scripted.outage("refused"):
        for _ in range(12):
            problem(await gatehouse.try_login("bob"), 503, "unavailable")
        for _ in range(10):
            problem(await gatehouse.try_login("ada", "wrong"), 503, "unavailable")
        problem(await gatehouse.try_login("ada"), 429, "rate_limited")


async def test_the_last_success_may_not_be_too_long_ago(begin: Begin, scripted: Scripted) -> None:
    gatehouse = await begin(gpustack_offline_hours=2)
    await scripted.add("ada")
    await gatehouse.login("ada")

    async with scripted.outage("refused"):
        await gatehouse.replica.parts.db.execute(HOURS_AGO, 1)
        await gatehouse.login("ada")
        await gatehouse.login("ada")  # which does not make it any younger
        await gatehouse.replica.parts.db.execute(HOURS_AGO, 1)
        problem(await gatehouse.try_login("ada"), 503, "unavailable")


async def test_it_can_be_switched_off(begin: Begin, scripted: Scripted) -> None:
    gatehouse = await begin(gpustack_offline_hours=0)
    await scripted.add("ada")
    await gatehouse.login("ada")
    problem(await gatehouse.try_login("ada", "wrong"), 401, "invalid_credentials")
    assert await gatehouse.replica.parts.db.fetch("SELECT FROM upstream_users WHERE password_hash IS NOT NULL") == []

    async with scripted.outage("refused"):
        problem(await gatehouse.try_login("ada"), 503, "unavailable")


async def test_who_is_not_active_does_not(gatehouse: Gatehouse, scripted: Scripted) -> None:
    await scripted.add("ada")
    signed_in = await gatehouse.login("ada")
    await gatehouse.admin.ask("PATCH", f"/users/{signed_in.user_id}", json={"is_active": False})

    async with scripted.outage("refused"):
        problem(await gatehouse.try_login("ada"), 503, "unavailable")


OTHERWISE = {
    "403": Reply(403, {}, b'{"code": 403, "reason": "Forbidden", "message": "-"}'),
    "a page": Reply.html(200),
    "no cookie": Reply(200, {}, b"null"),
    "a redirect": Reply(302, {"location": "/"}, b""),
}


@pytest.mark.parametrize("reply", OTHERWISE.values(), ids=OTHERWISE)
async def test_nobody_does_while_it_answers_otherwise(gatehouse: Gatehouse, scripted: Scripted, reply: Reply) -> None:
    await scripted.add("ada")
    await gatehouse.login("ada")
    scripted.says["/auth/login"] = reply

    problem(await gatehouse.try_login("ada"), 503, "unavailable")
    await gatehouse.sees(State.MISCONFIGURED)
    problem(await gatehouse.try_login("ada"), 503, "unavailable")


async def test_its_no_is_final(gatehouse: Gatehouse, scripted: Scripted) -> None:
    user_id = await scripted.add("ada")
    await gatehouse.login("ada")
    await scripted.change(user_id, password="Other-stripes-8!")

    problem(await gatehouse.try_login("ada"), 401, "invalid_credentials")

    async with scripted.outage("refused"):
        problem(await gatehouse.try_login("ada"), 503, "unavailable")


async def test_a_wrong_password_takes_nothing_from_the_right_one(gatehouse: Gatehouse, scripted: Scripted) -> None:
    await scripted.add("ada")
    await gatehouse.login("ada")
    problem(await gatehouse.try_login("ada", "wrong"), 401, "invalid_credentials")

    async with scripted.outage("refused"):
        await gatehouse.login("ada")


async def test_a_new_password_takes_the_place_of_the_old_one(gatehouse: Gatehouse, scripted: Scripted) -> None:
    user_id = await scripted.add("ada")
    await gatehouse.login("ada")
    await scripted.change(user_id, password="Other-stripes-8!")
    await gatehouse.login("ada", "Other-stripes-8!")

    async with scripted.outage("refused"):
        problem(await gatehouse.try_login("ada"), 503, "unavailable")
        await gatehouse.login("ada", "Other-stripes-8!")


async def test_a_verifier_that_could_not_be_made_leaves_no_older_one(
    gatehouse: Gatehouse, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scripted.add("ada")
    await gatehouse.login("ada")
    monkeypatch.setattr(gatehouse.replica.parts.passwords.threads, "_deadline", 0.0)  # too much to do
    await gatehouse.login("ada")
    problem(await gatehouse.try_login("ada", "wrong"), 401, "invalid_credentials")
    monkeypatch.undo()

    async with scripted.outage("refused"):
        problem(await gatehouse.try_login("ada"), 503, "unavailable")


async def test_whoever_keeps_the_verifier_of_a_session_that_is_opened_has_it_still(
    gatehouse: Gatehouse, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scripted.add("ada")
    await gatehouse.login("ada")
    passwords = gatehouse.replica.parts.passwords
    verify = passwords.verify

    async def meanwhile(password_hash: str | None, password: str, *, aside: bool = False) -> bool:
        matches = await verify(password_hash, password, aside=aside)
        await gatehouse.replica.parts.db.execute("UPDATE upstream_users SET password_hash = NULL")
        return matches

    monkeypatch.setattr(passwords, "verify", meanwhile)

    async with scripted.outage("refused"):
        problem(await gatehouse.try_login("ada"), 401, "invalid_credentials")


async def test_a_second_factor_is_asked_for_all_the_same(gatehouse: Gatehouse, scripted: Scripted) -> None:
    await scripted.add("ada")
    authenticator = await enrolled(await gatehouse.login("ada"))

    async with scripted.outage("refused"):
        token = problem(await gatehouse.try_login("ada"), 401, "mfa_required")["mfa_token"]
        answer = await within_a_step(lambda: second_step(gatehouse.client, token, code=authenticator.code(1)))

    assert answer.status_code == 200, answer.text
    signed_in = SignedIn(gatehouse.client, answer.json())
    assert signed_in.claims["amr"] == ["pwd", "offline", "otp", "mfa"]


# ---- an administrator's rights --------------------------------------------------------------------------------------


async def rights(signed_in: SignedIn) -> dict[str, object]:
    """What a session says that it may do, in all the places where it says so."""
    me = (await signed_in.ask("GET", "/me")).json()
    verified = await signed_in.ask("GET", "/verify")
    return {
        "login": (signed_in.body["user"]["is_admin"], signed_in.body["user"]["permissions"] != []),
        "me": (me["is_admin"], me["permissions"] != []),
        "token": signed_in.claims["roles"],
        "headers": verified.headers["x-auth-roles"],
        "require": (await signed_in.ask("GET", "/verify?require=users:read")).status_code,
        "users": (await signed_in.ask("GET", "/users")).status_code,
        "health": "checks" in (await signed_in.ask("GET", "/health")).json(),
    }


FULL = {
    "login": (True, True),
    "me": (True, True),
    "token": ["admin"],
    "headers": "admin",
    "require": 200,
    "users": 200,
    "health": True,
}
NONE = {
    "login": (False, False),
    "me": (False, False),
    "token": [],
    "headers": "",
    "require": 403,
    "users": 403,
    "health": False,
}


async def test_they_are_not_in_an_offline_session(gatehouse: Gatehouse, scripted: Scripted) -> None:
    await scripted.add("ada", is_admin=True)
    online = await gatehouse.login("ada")
    assert await rights(online) == FULL

    async with scripted.outage("refused"):
        offline = await gatehouse.login("ada")
        assert await rights(offline) == NONE
        renamed = (await offline.ask("PATCH", "/me", json={"full_name": "Ada"})).json()
        assert (renamed["is_admin"], renamed["permissions"]) == (False, [])
        assert await rights(await offline.refreshed()) == NONE
        assert await rights(online) == FULL

    await gatehouse.sees(State.OK)
    assert await rights(offline) == NONE
    await until(lambda: time.time() >= offline.claims["auth_time"] + 1)  # it is told in whole seconds
    fresh = await offline.ask("POST", "/me/reauthenticate", json={"password": PASSWORD})
    assert await rights(SignedIn(gatehouse.client, fresh.json())) == FULL
    assert (await offline.ask("GET", "/me")).json()["is_admin"] is False  # the token from before speaks for itself


async def test_other_rights_are(gatehouse: Gatehouse, scripted: Scripted) -> None:
    await scripted.add("ada", is_admin=True)
    signed_in = await gatehouse.login("ada")
    role = await new_role(gatehouse.replica.parts, "users:read")
    await gatehouse.admin.ask("PATCH", f"/users/{signed_in.user_id}", json={"roles": ["admin", role]})

    async with scripted.outage("refused"):
        offline = await gatehouse.login("ada")

    assert offline.body["user"]["roles"] == [role]
    assert (await offline.ask("GET", "/users")).status_code == 200
    problem(await offline.ask("POST", "/users", json={"username": "bob"}), 403, "forbidden")


async def test_nothing_that_outlasts_an_offline_session_is_made_in_it(gatehouse: Gatehouse, scripted: Scripted) -> None:
    """Neither a passkey nor any other way in: whoever came by a password that is void there would come back by it."""
    await scripted.add("ada", is_admin=True)
    online = await gatehouse.login("ada")
    key = Key()
    options = await registration_options(online)

    async with scripted.outage("refused"):
        offline = await gatehouse.login("ada")
        for method, path, body in (
            ("POST", "/me/passkeys/options", None),
            ("POST", "/me/mfa/totp", None),
            ("PATCH", "/me", {"email": "ada@example.test"}),
            ("GET", "/me/export", None),
        ):
            problem(await offline.ask(method, path, json=body), 403, "reauthentication_required")
        made = key.made(options)
        problem(await offline.ask("POST", "/me/passkeys", json=made), 403, "reauthentication_required")

    await gatehouse.sees(State.OK)
    again = await offline.ask("POST", "/me/reauthenticate", json={"password": PASSWORD})
    assert (await SignedIn(gatehouse.client, again.json()).ask("POST", "/me/passkeys", json=made)).status_code == 201


# ---- many at once ---------------------------------------------------------------------------------------------------


async def test_many_at_once_all_get_their_answer(gatehouse: Gatehouse, scripted: Scripted) -> None:
    names = [f"user {number}" for number in range(20)]
    for name in names:
        await scripted.add(name)
        await gatehouse.login(name)

    async with scripted.outage("hung"):
        answers = await asyncio.gather(*(gatehouse.try_login(name) for name in [*names, "bob", "nobody"]))

    assert [each.status_code for each in answers] == [200] * 20 + [503] * 2

"""What GPUStack's users do with their accounts here, and what is done with them."""

import pytest

from tests.gpustack.kit import Begin, Gatehouse
from tests.gpustack.scripted import Scripted
from tests.gpustack.upstream import PASSWORD
from tests.identity.factorkit import enrolled, long_ago, second_step, within_a_step
from tests.kit import SignedIn, from_ip, problem
from tests.replica import Start


@pytest.fixture
async def ada(gatehouse: Gatehouse, scripted: Scripted) -> SignedIn:
    await scripted.add("ada")
    return await gatehouse.login("ada")


@pytest.fixture
def there(scripted: Scripted, ada: SignedIn) -> int:
    """Her id there."""
    return next(user_id for user_id, user in scripted.users.items() if user["username"] == "ada")


async def test_who_one_is_is_shown_once_more_by_the_password_there(gatehouse: Gatehouse, ada: SignedIn) -> None:
    await long_ago(gatehouse.replica.parts, ada)
    problem(await ada.ask("POST", "/me/mfa/totp"), 403, "reauthentication_required")

    problem(await ada.ask("POST", "/me/reauthenticate", json={"password": "wrong"}), 401, "invalid_credentials")
    answer = await ada.ask("POST", "/me/reauthenticate", json={"password": PASSWORD})

    assert answer.status_code == 200
    assert (await SignedIn(ada.client, answer.json()).ask("POST", "/me/mfa/totp")).status_code == 201
    assert ("login.failed", {"reason": "wrong_password"}) in await gatehouse.events(ada.user_id)


async def test_a_refresh_token_goes_on_to_travel_in_the_cookie(gatehouse: Gatehouse, ada: SignedIn) -> None:
    body = {"username": "ada", "password": PASSWORD, "transport": "cookie"}
    browser = SignedIn(gatehouse.client, (await gatehouse.client.post("/login", json=body, headers=from_ip())).json())

    answer = await browser.ask("POST", "/me/reauthenticate", json={"password": PASSWORD})

    assert "refresh_token" not in answer.json()
    assert "gatehouse-refresh=" in answer.headers["set-cookie"]


async def test_nothing_stands_in_for_gpustack_there(ada: SignedIn, scripted: Scripted) -> None:
    async with scripted.outage("refused"):
        for path, body in (
            ("/me/reauthenticate", {"password": PASSWORD}),
            ("/me/mfa/recovery-codes", {"password": PASSWORD}),
        ):
            problem(await ada.ask("POST", path, json=body), 503, "unavailable")
        problem(await ada.ask("DELETE", "/me", json={"password": PASSWORD}), 503, "unavailable")


async def test_failures_there_count_as_those_of_logins(gatehouse: Gatehouse, ada: SignedIn) -> None:
    for _ in range(5):
        problem(await ada.ask("POST", "/me/reauthenticate", json={"password": "wrong"}), 401, "invalid_credentials")
        problem(await gatehouse.try_login("ada", "wrong"), 401, "invalid_credentials")

    problem(await ada.ask("POST", "/me/reauthenticate", json={"password": PASSWORD}), 429, "rate_limited")


async def test_somebody_who_has_the_name_by_now_confirms_nothing(
    gatehouse: Gatehouse, ada: SignedIn, scripted: Scripted, there: int
) -> None:
    await scripted.change(there, username="Lovelace")
    await scripted.add("ada", password="Other-stripes-8!")

    problem(
        await ada.ask("POST", "/me/reauthenticate", json={"password": "Other-stripes-8!"}), 401, "invalid_credentials"
    )

    assert (await gatehouse.events(ada.user_id))[-1] == ("login.failed", {"reason": "wrong_password"})


async def test_who_is_deactivated_there_confirms_nothing_and_is_signed_out(
    ada: SignedIn, scripted: Scripted, there: int
) -> None:
    await scripted.change(there, is_active=False)

    problem(await ada.ask("POST", "/me/reauthenticate", json={"password": PASSWORD}), 401, "invalid_credentials")

    problem(await ada.ask("GET", "/me"), 401, "session_revoked")


async def test_an_account_is_deleted_by_the_password_there(
    gatehouse: Gatehouse, ada: SignedIn, scripted: Scripted
) -> None:
    problem(await ada.ask("DELETE", "/me", json={"password": "wrong"}), 401, "invalid_credentials")
    assert (await ada.ask("DELETE", "/me", json={"password": PASSWORD})).status_code == 204

    problem(await ada.ask("GET", "/me"), 401, "session_revoked")
    assert (await gatehouse.login("ada")).user_id != ada.user_id  # GPUStack still has her: she begins anew


async def test_an_authenticator_is_asked_for_and_taken_away_by_it(gatehouse: Gatehouse, ada: SignedIn) -> None:
    authenticator = await enrolled(ada)
    token = problem(await gatehouse.try_login("ada"), 401, "mfa_required")["mfa_token"]
    signed_in = await within_a_step(lambda: second_step(gatehouse.client, token, code=authenticator.code()))
    session = SignedIn(gatehouse.client, signed_in.json())

    gone = await session.ask(
        "DELETE", "/me/mfa/totp", json={"password": PASSWORD, "recovery_code": authenticator.codes[0]}
    )

    assert gone.status_code == 204, gone.text
    await gatehouse.login("ada")


async def test_the_password_is_changed_there(gatehouse: Gatehouse, ada: SignedIn) -> None:
    body = {"current_password": PASSWORD, "new_password": "correct-Horse-7-battery"}
    problem(await ada.ask("POST", "/me/password", json=body), 409, "conflict")

    user = f"/users/{ada.user_id}"
    for change in ({"password": "correct-Horse-7-battery"}, {"must_change_password": True}):
        problem(await gatehouse.admin.ask("PATCH", user, json=change), 409, "conflict")
    assert (await gatehouse.admin.ask("PATCH", user, json={"must_change_password": False})).status_code == 200


async def test_without_gpustack_its_users_are_as_those_without_a_password(
    start: Start, begin: Begin, scripted: Scripted
) -> None:
    gatehouse = await begin()
    await scripted.add("ada")
    ada = await gatehouse.login("ada")
    without = await start()

    problem(
        await ada.ask("POST", "/me/reauthenticate", at=without.client, json={"password": PASSWORD}),
        401,
        "invalid_credentials",
    )
    body = {"username": "ada", "password": PASSWORD}
    problem(await without.client.post("/login", json=body, headers=from_ip()), 401, "invalid_credentials")
    assert (await ada.ask("GET", "/me", at=without.client)).status_code == 200


async def test_the_identity_there_is_no_ones_to_remove(ada: SignedIn) -> None:
    (identity,) = (await ada.ask("GET", "/me/identities")).json()["items"]

    problem(await ada.ask("DELETE", f"/me/identities/{identity['id']}"), 409, "conflict")

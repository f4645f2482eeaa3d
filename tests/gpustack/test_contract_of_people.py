"""What a GPUStack's user can rely on here, held against the scripted one, and by `make test-gpustack` a real one."""

import asyncio

import pytest

from app.gpustack.instance import State
from tests.gpustack.kit import Gatehouse, settings_of
from tests.gpustack.upstream import PASSWORD, Outage, Upstream
from tests.kit import new_name, problem
from tests.replica import Start

MANY = 501


@pytest.fixture
async def gatehouse(start: Start, upstream: Upstream) -> Gatehouse:
    return await Gatehouse.begun(await start(**settings_of(upstream)))


async def test_the_password_there_opens_a_session_here_and_no_other_does(
    gatehouse: Gatehouse, upstream: Upstream
) -> None:
    username = new_name("Ada ü")
    await upstream.add(username, full_name="Ada Lovelace")

    problem(await gatehouse.try_login(username, PASSWORD + "x"), 401, "invalid_credentials")
    problem(await gatehouse.try_login(new_name()), 401, "invalid_credentials")
    user = (await gatehouse.login(username)).body["user"]

    assert (user["username"], user["full_name"], user["provider"]) == (username, "Ada Lovelace", "gpustack")


async def test_who_is_renamed_stays_and_who_is_made_again_is_somebody_else(
    gatehouse: Gatehouse, upstream: Upstream
) -> None:
    before, after = new_name(), new_name()
    there = await upstream.add(before)
    ada = await gatehouse.login(before)

    await upstream.change(there, username=after)
    assert (await gatehouse.login(after)).user_id == ada.user_id
    await upstream.remove(there)
    await upstream.add(after)
    other = await gatehouse.login(after)

    assert other.user_id != ada.user_id
    assert other.body["user"]["username"] == after
    await gatehouse.sync()
    problem(await ada.ask("GET", "/me"), 401, "session_revoked")
    assert (await other.ask("GET", "/me")).status_code == 200


async def test_who_is_deactivated_is_signed_out_until_he_is_active_again(
    gatehouse: Gatehouse, upstream: Upstream
) -> None:
    username = new_name()
    there = await upstream.add(username)
    by_login, by_list = await gatehouse.login(username), await gatehouse.login(username)

    await upstream.change(there, is_active=False)
    problem(await gatehouse.try_login(username), 401, "invalid_credentials")
    problem(await by_login.ask("GET", "/me"), 401, "session_revoked")
    await upstream.change(there, is_active=True)
    by_list = await gatehouse.login(username)
    await upstream.change(there, is_active=False)
    await gatehouse.sync()

    problem(await by_list.ask("GET", "/me"), 401, "session_revoked")


@pytest.mark.parametrize("kind", ["broken", "hung", "refused"])
async def test_while_it_is_away_only_who_was_there_signs_in(
    gatehouse: Gatehouse, upstream: Upstream, kind: Outage
) -> None:
    known, unknown, admin = new_name(), new_name(), new_name()
    for username in (known, unknown):
        await upstream.add(username)
    await upstream.add(admin, is_admin=True)
    before = [await gatehouse.login(username) for username in (known, admin)]
    assert before[1].body["user"]["is_admin"]

    async with upstream.outage(kind):
        answers = await asyncio.gather(*(gatehouse.try_login(name) for name in (known, unknown, admin)))
        problem(await gatehouse.try_login(known, "wrong"), 503, "unavailable")
        problem(await gatehouse.admin.ask("POST", "/providers/gpustack/sync"), 503, "unavailable")
        assert [(await each.ask("GET", "/me")).status_code for each in before] == [200, 200]

    assert [each.status_code for each in answers] == [200, 503, 200]
    assert not answers[2].json()["user"]["is_admin"]
    await gatehouse.sees(State.OK)
    assert (await gatehouse.login(unknown)).body["user"]["username"] == unknown


async def test_the_whole_list_comes_over_once(gatehouse: Gatehouse, upstream: Upstream) -> None:
    made = {new_name("many") for _ in range(MANY)}
    for name in made:
        await upstream.add(name)

    first, second = await gatehouse.sync(), await gatehouse.sync()

    assert first["listed"] == first["created"] >= MANY
    assert second == {"listed": first["listed"]}
    rows = await gatehouse.replica.parts.db.fetch("SELECT username FROM users WHERE provider = 'gpustack'")
    assert {row["username"] for row in rows} >= made

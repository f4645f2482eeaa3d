"""What is relied on of GPUStack, held against the scripted one, and by `make test-gpustack` against a real one."""

import asyncio

import pytest

from app.errors import Unavailable
from app.gpustack.answers import Account, GpustackAway, KeyRefused, Refused
from app.gpustack.directory import Directory
from app.gpustack.instance import Instance, State
from tests.gpustack.conftest import Watching, found_in_order
from tests.gpustack.upstream import PASSWORD, Outage, Upstream
from tests.kit import new_name, until

MANY = 501


@pytest.fixture
async def instance(upstream: Upstream, watching: Watching) -> Instance:
    return await found_in_order(watching, upstream)


@pytest.fixture
def directory(upstream: Upstream, instance: Instance) -> Directory:
    return Directory(instance, upstream.key)


async def test_the_right_password_says_who_it_is(upstream: Upstream, instance: Instance) -> None:
    username = new_name("Ada ü")
    user_id = await upstream.add(username, full_name="Ada")

    found = await instance.verify(username, PASSWORD)

    assert isinstance(found, Account)
    assert (found.id, found.username, found.full_name) == (user_id, username, "Ada")
    assert (found.is_admin, found.is_active) == (False, True)


async def test_a_wrong_password_and_an_unknown_name_are_refused(upstream: Upstream, instance: Instance) -> None:
    username = new_name()
    await upstream.add(username)

    assert await instance.verify(username, PASSWORD + "x") == Refused()
    assert await instance.verify(username.upper(), PASSWORD) == Refused()
    assert await instance.verify(f" {username}", PASSWORD) == Refused()
    assert await instance.verify(new_name(), PASSWORD) == Refused()


async def test_a_new_password_is_the_only_one_at_once(upstream: Upstream, instance: Instance) -> None:
    username = new_name()
    user_id = await upstream.add(username)

    await upstream.change(user_id, password="Other-stripes-8!")

    assert await instance.verify(username, PASSWORD) == Refused()
    assert isinstance(await instance.verify(username, "Other-stripes-8!"), Account)


async def test_who_is_renamed_keeps_the_id_and_who_is_made_again_does_not(
    upstream: Upstream, instance: Instance, directory: Directory
) -> None:
    before, after = new_name(), new_name()
    user_id = await upstream.add(before)

    await upstream.change(user_id, username=after)
    renamed = await instance.verify(after, PASSWORD)
    await upstream.remove(user_id)
    made_again = await upstream.add(after)
    other = await instance.verify(after, PASSWORD)

    assert isinstance(renamed, Account)
    assert renamed.id == user_id
    assert isinstance(other, Account)
    assert other.id == made_again != user_id
    assert await directory.account(user_id) is None
    assert await directory.account(made_again) == other


async def test_only_the_right_password_tells_that_somebody_is_deactivated(
    upstream: Upstream, instance: Instance
) -> None:
    username = new_name()
    user_id = await upstream.add(username)

    await upstream.change(user_id, is_active=False)

    assert await instance.verify(username, PASSWORD + "x") == Refused()
    assert await instance.verify(username, PASSWORD) == Refused(deactivated=True)


async def test_the_list_is_whole(upstream: Upstream, directory: Directory) -> None:
    names = {new_name("many") for _ in range(MANY)}
    made = [await upstream.add(name) for name in names]

    listed = await directory.everybody()

    assert {each.username for each in listed.accounts.values()} >= names
    assert set(made) < set(listed.accounts)
    assert listed.reader.username == "admin"
    assert listed.reader.is_admin


async def test_a_key_that_is_none_reads_nothing(instance: Instance) -> None:
    with pytest.raises(KeyRefused):
        await Directory(instance, "gpustack_0000000000000000_00000000000000000000000000000000").everybody()


@pytest.mark.parametrize("kind", ["broken", "hung", "refused"])
async def test_while_it_is_away_nothing_is_said_of_anybody(
    upstream: Upstream, instance: Instance, directory: Directory, kind: Outage
) -> None:
    username = new_name()
    await upstream.add(username)

    async with upstream.outage(kind):
        for password in (PASSWORD, "wrong"):
            with pytest.raises(GpustackAway):
                await instance.verify(username, password)
        await until(lambda: instance.state is State.AWAY)
        with pytest.raises(Unavailable):
            await directory.everybody()

    await until(lambda: instance.state is State.OK, 60)
    assert isinstance(await instance.verify(username, PASSWORD), Account)
    assert await asyncio.gather(*(instance.verify(username, "wrong") for _ in range(5))) == [Refused()] * 5

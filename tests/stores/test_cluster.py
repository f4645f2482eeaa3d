"""valkey+cluster://: a shard that fails over and a slot that moves let nobody in and throw nobody out."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from valkey.crc import key_slot

from app.setting_values import Rate
from tests.kit import SignedIn, from_ip, log_in, new_ip, new_name, register, until
from tests.replica import Start
from tests.stores.pair import Pair, signed_in
from tests.stores.valkeys import Cluster

MANY = 12  # sessions: with their users there is something on every node


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(tmp_path_factory.mktemp("cluster")).start(stack, replicas=1)


@pytest.fixture
async def pair(start: Start, cluster: Cluster) -> Pair:
    await cluster.ready()
    how = {"valkey_url": cluster.url, "rate_limit_login": Rate(3, 900)}
    pair = Pair(await start(**how), await start(**how))
    assert pair.connected()
    return pair


async def answers(pair: Pair, sessions: list[SignedIn]) -> list[list[int]]:
    return list(await asyncio.gather(*(pair.statuses(each) for each in sessions)))


async def again(pair: Pair, sessions: list[SignedIn], epoch: int) -> None:
    """Return once both replicas are back, in this epoch, and take all of these from the cluster."""

    async def back() -> bool:
        await answers(pair, sessions)
        return pair.connected() and await pair.epoch() == epoch

    await until(back, 40.0)
    for each in sessions:
        await until(lambda each=each: pair.by_valkey(each))  # type: ignore[misc]


async def test_a_shard_that_fails_over_and_a_slot_that_moves(pair: Pair, cluster: Cluster) -> None:
    kept = [await signed_in(pair) for _ in range(MANY)]
    ended = [await signed_in(pair) for _ in range(4)]
    await again(pair, kept, 1)

    cluster.kill_first()
    assert (await ended[0].ask("POST", "/logout")).status_code == 204
    assert await pair.statuses(ended[0]) == [401, 401]
    assert await answers(pair, kept) == [[200, 200]] * MANY
    await until(cluster.nodes[-1].is_primary, 30.0)
    assert (await ended[1].ask("POST", "/logout", at=pair.there.client)).status_code == 204
    assert await answers(pair, ended[:2]) == [[401, 401]] * 2
    await pair.later()
    await again(pair, [*kept, ended[2]], 2)

    link = pair.here.parts.entries.links.current
    assert link is not None
    slot = key_slot(link.key(f"s:{ended[2].id}").encode())
    there = next(each for each in cluster.nodes if each is not cluster.owner(slot))
    here = cluster.begin_move(slot, there)
    assert cluster.move_keys(slot, here, there) == 1
    assert (await ended[2].ask("POST", "/logout")).status_code == 204
    assert await pair.statuses(ended[2]) == [401, 401]
    cluster.end_move(slot, there)
    assert (await ended[3].ask("POST", "/logout")).status_code == 204
    await pair.later()
    await again(pair, kept, 3)
    assert await answers(pair, ended) == [[401, 401]] * 4
    assert await answers(pair, kept) == [[200, 200]] * MANY


async def test_limits_count_for_all_replicas(pair: Pair) -> None:
    ip, ada = new_ip(), await register(pair.here.client)
    clients = [pair.here.client, pair.there.client] * 2

    wrong = {"username": ada.username, "password": "wrong horse battery"}
    failed = [(await each.post("/login", json=wrong, headers=from_ip(ip))).status_code for each in clients]
    registered = [
        (await each.post("/register", json={**wrong, "username": new_name()}, headers=from_ip(ip))).status_code
        for each in clients
    ]

    assert failed == [401, 401, 401, 429]
    assert registered == [201, 201, 201, 429]
    assert (await log_in(pair.here.client, ada)).user_id == ada.id

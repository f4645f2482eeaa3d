"""valkey+cluster://: many servers as one memory; a real fail-over is in tests/stores."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from valkey.crc import key_slot
from valkey.exceptions import ValkeyError

from app.cache.cluster import Primary, View, most_seen
from app.cache.link import ValkeyAway, find
from app.cli.embedded import Valkey
from app.valkey_url import parse
from tests.cache.conftest import Process, Start, as_ten_seconds_later, epoch
from tests.kit import until
from tests.stores.valkeys import Cluster

MANY = [f"k{number}" for number in range(60)]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(tmp_path_factory.mktemp("cluster")).start(stack)


@pytest.fixture
async def cluster(nodes: Cluster) -> Cluster:
    """The same for all, and empty: each of them begins with its first epoch."""
    await nodes.ready()
    for each in nodes.nodes:
        each.ask("FLUSHALL")
    return nodes


def slot_of(process: Process, id_: str) -> int:
    link = process.entries.links.current
    assert link is not None
    return key_slot(link.key(f"t:{id_}").encode())


async def test_entries_are_on_all_of_them(start: Start, cluster: Cluster) -> None:
    one, other = await start(valkey_url=cluster.url), await start(valkey_url=cluster.url)
    await asyncio.gather(*(one.change(each, each, settle=False) for each in MANY))
    await one.catch_up()

    assert await one.get(*MANY) == MANY

    await other.catch_up()
    found = await other.entries.get([f"t:{each}" for each in MANY])
    assert found.source == "valkey"
    assert [found[f"t:{each}"] for each in MANY] == [each.encode() for each in MANY]
    assert {cluster.owner(slot_of(one, each)).port for each in MANY} == {each.port for each in cluster.nodes}
    await one.change(MANY[0], "new")
    assert await other.get(*MANY) == ["new", *MANY[1:]]
    assert (await epoch(one), one.entries.links.epoch, other.entries.links.epoch) == (1, 1, 1)


async def test_a_key_of_another_type_is_a_miss_for_it_alone(start: Start, cluster: Cluster) -> None:
    one = await start(valkey_url=cluster.url)
    await one.get(*MANY)
    async with one.entries.links.use() as link:
        key = link.key(f"t:{MANY[0]}")
        await link.at(key).delete(key)
        await link.at(key).lpush(key, "one", "two")  # type: ignore[misc]

    assert await one.get(*MANY) == [""] * len(MANY)

    assert (await one.entries.get([f"t:{each}" for each in MANY])).source == "valkey"


async def test_a_lookup_whose_caller_has_gone_leaves_nothing_for_the_next(start: Start, cluster: Cluster) -> None:
    one = await start(valkey_url=cluster.url)
    await asyncio.gather(*(one.change(each, each, settle=False) for each in MANY))
    await one.catch_up()
    await one.get(*MANY)
    hung = cluster.owner(slot_of(one, MANY[0]))  # which is read first: the others' answers are left over
    os.kill(hung.pid, signal.SIGSTOP)
    try:
        lookup = asyncio.create_task(one.entries._look_up([f"t:{each}" for each in MANY]))
        await asyncio.sleep(0.05)  # so that the others have answered
        lookup.cancel()
        await asyncio.gather(lookup, return_exceptions=True)
    finally:
        os.kill(hung.pid, signal.SIGCONT)

    backwards = MANY[::-1]
    assert await one.get(*backwards) == backwards


async def test_a_slot_that_moves_takes_the_trust_along(start: Start, cluster: Cluster) -> None:
    """While it moves PostgreSQL answers; its new server makes a new epoch, also for who has not heard of the move."""
    writer, reader = await start(valkey_url=cluster.url), await start(valkey_url=cluster.url)
    await writer.change("a", "1")
    assert await reader.get("a") == ["1"]
    await reader.catch_up()
    await reader.get("a")
    assert await reader.in_valkey("a") == b"=1"
    slot = slot_of(reader, "a")
    here = cluster.owner(slot)
    there = next(each for each in cluster.nodes if each is not here)

    cluster.begin_move(slot, there)
    assert cluster.move_keys(slot, here, there) == 1
    with pytest.raises(ValkeyError, match="being moved"):
        await find(parse(cluster.url))
    await writer.change("a", "2")
    assert await reader.get("a") == ["2"]
    cluster.end_move(slot, there)
    await as_ten_seconds_later(writer)

    async def moved() -> bool:
        await asyncio.gather(*(each.get("a") for each in (writer, reader)))
        return all(each.entries.links.current is not None for each in (writer, reader)) and await epoch(writer) == 2

    await until(moved)
    await writer.change("a", "3")
    assert await reader.get("a") == ["3"]


async def test_who_is_sent_elsewhere_leaves(start: Start, cluster: Cluster) -> None:
    """A redirection is no answer of the memory that is trusted, whatever was asked."""
    one, other = await start(valkey_url=cluster.url), await start(valkey_url=cluster.url)
    slot = slot_of(one, "a")
    here = cluster.owner(slot)
    there = next(each for each in cluster.nodes if each is not here)
    cluster.begin_move(slot, there)
    cluster.end_move(slot, there)

    with pytest.raises(ValkeyAway, match="MOVED"):
        async with one.entries.links.use() as link:
            await link.at(link.key("t:a")).get(link.key("t:a"))
    with pytest.raises(ValkeyAway, match="MOVED"):
        async with other.entries.links.use() as link:
            await link.run([(link.key("t:a"), ("GET", link.key("t:a")))])

    assert one.entries.links.current is None
    assert other.entries.links.current is None


async def test_a_node_that_restarts_makes_another_memory_of_all(start: Start, cluster: Cluster) -> None:
    one = await start(valkey_url=cluster.url)
    await one.get("a")
    node = cluster.nodes[0]
    node.stop()
    node._port_given = True
    await as_ten_seconds_later(one)
    node.start()  # with its slots and its name

    async def back() -> bool:
        await one.get(*MANY)
        return one.entries.links.current is not None and await epoch(one) == 2

    await until(back)


async def test_who_asks_another_node_is_told_nothing_of_a_cluster(cluster: Cluster) -> None:
    node = cluster.nodes[0]

    with pytest.raises(ValkeyError, match="begin with valkey"):
        await find(parse(node.url))


async def test_who_takes_a_server_for_a_cluster_is_told_so(own_valkey: Valkey) -> None:
    with pytest.raises(ValkeyError, match="begin with valkey://"):
        await find(parse(own_valkey.url.replace("valkey://", "valkey+cluster://").removesuffix("/0")))


def view(*slots: str, host: str = "10.0.0.1") -> View:
    return tuple(Primary(str(number), (host, 6379), (ranges,)) for number, ranges in enumerate(slots))


def test_nodes_are_of_one_mind_by_whatever_address_they_know_each_other() -> None:
    stale, one, other = view("0-16383"), view("0-8191", "8192-16383"), view("0-8191", "8192-16383", host="node-1")

    assert most_seen([stale, one, other]) == one

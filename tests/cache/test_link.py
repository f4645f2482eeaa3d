"""Whose memory is trusted: one server of known identity, in one epoch."""

import asyncio
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from valkey.asyncio import Valkey as Client
from valkey.exceptions import ValkeyError

from app import valkey_url
from app.cache import link as link_module
from app.cache import server as server_module
from app.cache.link import ValkeyAway
from app.cache.server import CONNECT_DEADLINE
from app.cli.embedded import Valkey
from app.valkey_url import ValkeyUrl
from tests.cache.conftest import Start, as_ten_seconds_later, epoch
from tests.kit import until


async def test_all_processes_of_one_server_are_in_one_epoch(start: Start) -> None:
    processes = [await start() for _ in range(3)]
    await as_ten_seconds_later(processes[0])
    await asyncio.gather(*(process.entries.links._open() for process in processes))

    await until(lambda: all(process.entries.links.current for process in processes))
    epochs = {process.entries.links.current.epoch for process in processes if process.entries.links.current}
    assert epochs == {await epoch(processes[0])} == {1}


async def test_another_server_is_another_epoch_and_everybody_moves(start: Start, second_valkey: Valkey) -> None:
    one, other = await start(), await start()
    await one.change("a", "1")
    await other.get("a")
    for process in (one, other):
        process.entries.links.url = second_valkey.url
    await as_ten_seconds_later(one)

    one.entries.links.drop(one.entries.links.current)

    await until(lambda: one.entries.links.current is not None)
    await until(lambda: other.entries.links.current is not None and other.entries.links.current.epoch == 2)
    assert await epoch(one) == 2
    assert await other.get("a") == ["1"]
    assert await other.in_valkey("a") == b"=1"


async def test_two_servers_do_not_take_turns(start: Start, second_valkey: Valkey) -> None:
    one = await start()

    other = await start(valkey_url=second_valkey.url)

    assert other.entries.links.current is None  # not for ten seconds after the first was granted the epoch
    await one.change("a", "1")
    assert await other.get("a") == ["1"]
    await other.change("a", "2")
    assert await one.get("a") == ["2"]
    await as_ten_seconds_later(one)
    await until(lambda: other.entries.links.current is not None)
    assert await epoch(one) == 2


async def test_a_restart_is_another_server(start: Start, own_valkey: Valkey) -> None:
    one = await start()
    await one.get("a")
    port = own_valkey.port
    own_valkey.stop()
    await as_ten_seconds_later(one)
    own_valkey._port_given = True
    own_valkey.port = port
    own_valkey.start()

    async def has_moved() -> bool:
        assert await one.get("a") == [""]
        return one.entries.links.current is not None and await epoch(one) == 2

    await until(has_moved)


async def test_a_connection_that_finds_another_server_is_not_used(start: Start, second_valkey: Valkey) -> None:
    """The pool opens a second connection under our feet, and another server answers at the address (C6)."""
    one = await start()
    current = one.entries.links.current
    assert current is not None
    current.client.connection_pool.connection_kwargs["port"] = second_valkey.port
    current.client.connection_pool.connection_kwargs["password"] = second_valkey.password
    await current.client.connection_pool.disconnect()

    with pytest.raises(ValkeyAway):
        async with one.entries.links.use() as link:
            await link.client.get("anything")

    await until(lambda: one.entries.links.current not in (None, current))


async def test_a_replica_is_not_trusted(start: Start, own_valkey: Valkey, second_valkey: Valkey) -> None:
    one = await start()
    client = Client.from_url(second_valkey.url)
    await client.config_set("masterauth", own_valkey.password)
    await client.replicaof("127.0.0.1", str(own_valkey.port))
    one.entries.links.url = second_valkey.url
    await as_ten_seconds_later(one)
    one.entries.links.drop(one.entries.links.current)

    with pytest.raises(ValkeyAway, match="replica"):
        await one.entries.links._open()
    await one.change("a", "1")
    assert await one.get("a") == ["1"]

    await client.replicaof("NO", "ONE")  # promoted: a new identity, and so a new epoch
    await until(lambda: one.entries.links.current is not None)
    assert await epoch(one) == 2
    await client.aclose()


async def test_a_primary_demoted_under_its_clients_is_left(
    start: Start, own_valkey: Valkey, second_valkey: Valkey
) -> None:
    """It goes on answering reads of those who were connected: the deletion it refuses is what tells."""
    one = await start()
    await one.change("a", "1")
    await one.get("a")
    client = Client.from_url(own_valkey.url)
    await client.config_set("masterauth", second_valkey.password)
    await client.replicaof("127.0.0.1", str(second_valkey.port))

    await one.change("a", "2")

    assert await one.get("a") == ["2"]
    assert one.entries.links.current is None
    await client.aclose()


async def test_a_primary_demoted_under_its_clients_is_left_by_who_fills(
    start: Start, own_valkey: Valkey, second_valkey: Valkey
) -> None:
    one = await start()
    await one.get("b")  # by a connection that has seen a primary, and stays
    client = Client.from_url(own_valkey.url)
    await client.config_set("masterauth", second_valkey.password)
    await client.replicaof("127.0.0.1", str(second_valkey.port))

    assert await one.get("a") == [""]

    assert one.entries.links.current is None
    await client.aclose()


async def test_a_hung_server_costs_one_deadline_and_is_left(start: Start, own_valkey: Valkey) -> None:
    one = await start()
    await one.change("a", "1")
    await one.get("a")
    os.kill(own_valkey.pid, signal.SIGSTOP)
    try:
        looks = await asyncio.gather(*(one.get("a") for _ in range(20)))
        assert looks == [["1"]] * 20
        assert one.entries.links.current is None
    finally:
        os.kill(own_valkey.pid, signal.SIGCONT)
    await until(lambda: one.entries.links.current is not None)
    assert await epoch(one) == 1


async def test_the_deadline_counts_for_all_commands_of_a_use(start: Start) -> None:
    one = await start()

    with pytest.raises(ValkeyAway):
        async with one.entries.links.use():
            await asyncio.sleep(server_module.DEADLINE * 20)

    assert one.entries.links.current is None


async def test_a_link_dropped_while_others_use_it_is_away_for_them(start: Start) -> None:
    links = (await start()).entries.links

    async def use() -> None:
        async with links.use() as link:
            for _ in range(3):
                await link.client.delete("a")

    for turns in range(40):  # of the loop, after which it is dropped: somewhere in each step of a command
        users = [asyncio.create_task(use()) for _ in range(5)]
        for _ in range(turns):
            await asyncio.sleep(0)
        links.drop(links.current)
        ends = await asyncio.gather(*users, return_exceptions=True)
        assert all(end is None or isinstance(end, ValkeyAway) for end in ends), ends
        await until(lambda: links.current is not None)


async def test_a_fault_in_a_use_is_no_outage(start: Start) -> None:
    links = (await start()).entries.links

    with pytest.raises(AttributeError):
        async with links.use():
            raise AttributeError

    assert links.current is not None


async def test_a_cancelled_use_keeps_the_link(start: Start) -> None:
    one = await start()

    async def use() -> None:
        async with one.entries.links.use():
            await asyncio.sleep(60)

    task = asyncio.create_task(use())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert one.entries.links.current is not None


async def test_without_postgresql_the_same_server_is_still_trusted(start: Start) -> None:
    one = await start()
    await one.get("a")
    one.entries.links._database.url = "postgresql://127.0.0.1:1/gone"
    await one.db.stop()

    one.entries.links.drop(one.entries.links.current)

    await until(lambda: one.entries.links.current is not None)
    one.entries.links.drop(one.entries.links.current)
    one.entries.links._identity = "somebody else"
    await asyncio.sleep(0)
    assert one.entries.links.current is None


async def test_a_connection_that_the_server_ended_while_it_rested_is_opened_anew(
    start: Start, own_valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "IDLE", 0.0)
    one = await start()
    await one.get("a")
    current = one.entries.links.current
    async with Client.from_url(own_valkey.url) as client:
        await client.client_kill_filter(_type="normal", skipme=True)

    found = await one.entries.get(["t:a"])

    assert found.source == "valkey"
    assert one.entries.links.current is current


async def test_a_connection_that_was_reset_while_it_rested_is_opened_anew(start: Start) -> None:
    """A look at it is enough: uvloop raises RuntimeError at whoever writes to it."""
    one = await start()
    await one.change("a", "1")
    assert await one.get("a") == ["1"]
    link = one.entries.links.current
    assert link is not None
    kept = link._reader._kept
    assert kept is not None
    assert kept._writer is not None

    kept._writer.transport.abort()

    assert await one.get("a") == ["1"]
    assert one.entries.links.current is link


async def test_valkey_is_looked_for_on_and_on_while_a_file_of_its_url_is_away(
    start: Start, own_valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await start()
    links = one.entries.links
    tried = asyncio.Event()

    def parse(url: str) -> ValkeyUrl:
        if tmp_path.name in url:
            tried.set()
        return valkey_url.parse(url)

    monkeypatch.setattr(link_module, "valkey_url", SimpleNamespace(parse=parse))
    links.url = f"valkeys://127.0.0.1:{own_valkey.port}?ssl_ca_certs={tmp_path}/authority.pem"
    links.drop(links.current)
    await tried.wait()
    assert await one.get("a") == [""]
    links.url = own_valkey.url

    await until(lambda: links.current is not None)


ODD = {
    "a word": b"$3\r\nodd\r\n",
    "a list": b"*1\r\n$1\r\nx\r\n",
    "a number": b":1\r\n",
    "no text": b"$2\r\n\xff\xfe\r\n",
    "a primary without a name": b"$13\r\nrole:master\r\n\r\n",
}


@pytest.mark.parametrize("said", ODD.values(), ids=ODD)
@pytest.mark.parametrize("kind", ["valkey://{}", "valkey+sentinel://{}/mymaster", "valkey+cluster://{}"])
async def test_who_answers_oddly_is_away(kind: str, said: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while asked := await reader.read(4096):
            writer.write(said * asked.count(b"*"))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        place = "{}:{}".format(*server.sockets[0].getsockname())
        with pytest.raises((ValkeyError, OSError, TimeoutError)):
            await asyncio.wait_for(link_module.find(valkey_url.parse(kind.format(place))), CONNECT_DEADLINE)


async def test_a_lookup_whose_caller_has_gone_leaves_nothing_for_the_next(start: Start, own_valkey: Valkey) -> None:
    one = await start()
    await one.change("a", "1")
    await one.change("b", "2")
    assert await one.get("a") + await one.get("b") == ["1", "2"]
    os.kill(own_valkey.pid, signal.SIGSTOP)
    lookup = asyncio.create_task(one.entries._look_up(["t:a"]))
    await asyncio.sleep(0)
    lookup.cancel()
    await asyncio.gather(lookup, return_exceptions=True)
    os.kill(own_valkey.pid, signal.SIGCONT)

    assert await one.get("b") == ["2"]


async def test_what_is_opened_while_it_stops_is_closed_before_it_has_stopped(start: Start, own_valkey: Valkey) -> None:
    one = await start()
    links = one.entries.links
    used, goes_on = asyncio.Event(), asyncio.Event()

    async def use() -> None:
        async with links.use() as link:
            used.set()
            await goes_on.wait()
            await link.client.ping()  # by a new connection, as who was just opening one

    user = asyncio.create_task(use())
    await used.wait()
    stopping = asyncio.create_task(links.stop())
    await until(lambda: links.current is None)
    assert not stopping.done()
    goes_on.set()
    await stopping

    assert user.done()
    assert links._closing == set()
    async with Client.from_url(own_valkey.url) as client:

        async def only_ours() -> bool:
            return len(await client.client_list()) == 1

        await until(only_ours)

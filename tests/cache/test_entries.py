"""Entries: filled under a lease, deleted by a change, never old."""

import asyncio
import time

import pytest

from app.cache import entries as entries_module
from app.cache import outbox as outbox_module
from app.cli.embedded import Valkey
from app.errors import Unavailable
from tests.cache.conftest import Process, Start
from tests.kit import until


async def test_the_first_look_fills_and_the_next_reads_no_sql(start: Start) -> None:
    one, other = await start(), await start()
    await one.change("a", "1")
    await asyncio.gather(one.catch_up(), other.catch_up())

    assert await one.get("a") == ["1"]
    assert await one.get("a") == ["1"]
    assert await other.get("a") == ["1"]
    assert (one.reads, other.reads) == (1, 0)


async def test_what_is_not_there_is_kept_as_well(start: Start) -> None:
    one = await start()

    assert await one.get("nobody") == [""]
    assert await one.get("nobody", "nothing") == ["", ""]
    assert await one.in_valkey("nobody") == b"="
    assert one.reads == 2


async def test_a_change_is_seen_by_the_next_look_everywhere(start: Start) -> None:
    processes = [await start() for _ in range(3)]
    await processes[0].change("a", "0")
    for number in range(1, 30):
        await asyncio.gather(*(process.get("a") for process in processes))
        await processes[number % 3].change("a", str(number))

        looks = await asyncio.gather(*(process.get("a") for process in processes))

        assert looks == [[str(number)]] * 3
    assert await processes[0].outbox() == []


async def test_a_fill_that_was_overtaken_by_a_change_fills_nothing(start: Start) -> None:
    """The reader has read the old truth when the change commits and deletes: his snapshot must not be left behind."""
    reader, writer = await start(), await start()
    await writer.change("a", "old")

    async def meanwhile() -> None:
        reader.after_read = None
        await writer.change("a", "new")

    reader.after_read = meanwhile
    assert await reader.get("a") == ["old"]  # his look began before the change was acknowledged

    assert await reader.in_valkey("a") is None
    assert await reader.get("a") == ["new"]


async def test_a_placeholder_of_somebody_else_is_left_alone(start: Start) -> None:
    one, other = await start(), await start()
    await one.change("a", "1")
    await asyncio.gather(one.catch_up(), other.catch_up())

    async def meanwhile() -> None:
        one.after_read = None
        assert ((await one.in_valkey("a")) or b"")[:1] == b"?"
        assert await other.get("a") == ["1"]

    one.after_read = meanwhile
    assert await one.get("a") == ["1"]

    assert (one.reads, other.reads) == (1, 1)
    assert await one.in_valkey("a") == b"=1"


async def test_a_pending_change_is_asked_of_postgresql_and_not_filled(start: Start) -> None:
    one, writer = await start(), await start()
    await writer.change("a", "old")
    assert await one.get("a") == ["old"]
    link, writer.entries.links.current = writer.entries.links.current, None  # its Valkey is out of reach
    await writer.change("a", "new", settle=False)

    await one.entries.outbox.poll()

    assert await one.get("a") == ["new"]
    assert await one.in_valkey("a") == b"=old"
    writer.entries.links.current = link
    await until(lambda: no_rows(one))  # anyone carries over what another one has left behind
    assert await one.in_valkey("a") in (None, b"=new")


async def no_rows(process: Process) -> bool:
    return await process.outbox() == []


async def test_a_change_that_cannot_reach_valkey_waits_until_nobody_trusts_it(start: Start) -> None:
    one, writer = await start(), await start()
    await writer.change("a", "old")
    await one.get("a")
    writer.entries.links.drop(writer.entries.links.current)
    writer.entries.links.url = "valkey://127.0.0.1:1/0"
    began = time.monotonic()

    await writer.change("a", "new")

    waited = time.monotonic() - began
    assert await one.get("a") == ["new"]
    assert waited < 3 * outbox_module.WAIT


async def test_fifty_who_look_at_once_read_once(start: Start) -> None:
    one = await start()
    await one.change("a", "1")
    await one.catch_up()

    looks = await asyncio.gather(*(one.get("a") for _ in range(50)))

    assert looks == [["1"]] * 50
    assert one.reads == 1


async def test_an_entry_lives_minutes(start: Start) -> None:
    one = await start()
    await one.change("a", "1")
    await one.catch_up()
    await one.get("a")

    async with one.entries.links.use() as link:
        left = await link.client.pttl(link.key("t:a"))
    assert 0 < left <= entries_module.ENTRY_SECONDS * 1000


async def test_a_snapshot_found_old_is_replaced(start: Start) -> None:
    one = await start()
    await one.change("a", "1")
    await one.catch_up()
    await one.get("a")
    await one.db.execute("UPDATE truths SET value = '2'")  # as a refresh, which announces nothing

    assert await one.entries.renew("t:a", b"1") == b"2"

    assert await one.in_valkey("a") == b"=2"
    assert await one.entries.renew("t:a", b"1") == b"2"  # found old by a slower one: the newer stays
    assert await one.in_valkey("a") == b"=2"


async def test_forgetting_is_no_more_than_a_miss(start: Start, own_valkey: Valkey) -> None:
    one = await start()
    await one.change("a", "1")
    await one.catch_up()
    await one.get("a")

    await one.entries.forget("t:a")
    assert await one.in_valkey("a") is None
    own_valkey.stop()
    await one.entries.forget("t:a")


async def test_without_memory_valkey_is_read_but_not_filled(start: Start) -> None:
    one = await start()
    await one.change("a", "1")
    await one.change("b", "2")
    await one.get("a")
    async with one.entries.links.use() as link:
        await link.client.config_set("maxmemory", "1")
        await link.client.config_set("maxmemory-policy", "noeviction")

    assert await one.get("a", "b") == ["1", "2"]
    await one.change("a", "3")
    assert await one.get("a") == ["3"]
    assert one.entries.links.current is not None


async def test_a_flush_logs_nobody_out(start: Start) -> None:
    one = await start()
    await one.change("a", "1")
    await one.catch_up()
    await one.get("a")
    async with one.entries.links.use() as link:
        await link.client.flushall()

    assert await one.get("a") == ["1"]
    assert await one.in_valkey("a") == b"=1"


async def test_valkey_gone_and_back(start: Start, own_valkey: Valkey) -> None:
    one = await start()
    await one.change("a", "1")
    await one.catch_up()
    await one.get("a")

    own_valkey.stop()
    assert await one.get("a") == ["1"]
    await one.change("a", "2")
    assert await one.get("a") == ["2"]
    own_valkey.start()
    one.entries.links.url = own_valkey.url
    await one.db.execute("UPDATE cache_epoch SET granted_at = '-infinity'")  # as ten seconds later
    await until(lambda: one.entries.links.current is not None)
    assert await one.get("a") == ["2"]
    await one.catch_up()

    assert await one.get("a") == ["2"]
    assert await one.in_valkey("a") == b"=2"


async def test_without_either_store_nothing_is_served(start: Start, own_valkey: Valkey) -> None:
    one = await start()
    own_valkey.stop()
    await one.db.stop()

    with pytest.raises(Unavailable):
        await one.get("a")


async def test_without_postgresql_what_is_cached_serves_unless_strict(start: Start) -> None:
    one, strict = await start(), await start(strict=True)
    await one.change("a", "1")
    assert await one.get("a") == await strict.get("a") == ["1"]
    for process in (one, strict):
        process.db.url = "postgresql://127.0.0.1:1/gone"
        process.entries.outbox.trusted_until = 0.0
        await process.entries.outbox._hang_up()
        await process.db.stop()

    assert await one.get("a") == ["1"]
    assert one.entries.outbox.lost
    with pytest.raises(Unavailable):
        await strict.get("a")
    with pytest.raises(Unavailable):
        await one.get("b")

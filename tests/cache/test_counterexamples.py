"""What broke the first draft of the cache's rules (docs/decisions/0001-cache.md), on real servers.

C1 and C10 are in test_batch.py, C6 also in test_link.py, C3 and C9 in tests/sessions/test_refresh.py.
"""

import asyncio
import os
import signal

import asyncpg
import pytest
from valkey.asyncio import Valkey as Client

from app.background import end
from app.cli.embedded import Valkey
from tests.cache.conftest import Process, Start, as_ten_seconds_later, epoch
from tests.kit import until


async def commit(process: Process, id_: str, value: str) -> list[int]:
    """The change's rows in the outbox; nobody has carried them to Valkey."""
    before = {row["id"] for row in await process.db.fetch("SELECT id FROM cache_outbox")}
    await process.change(id_, value, settle=False)
    return [row["id"] for row in await process.db.fetch("SELECT id FROM cache_outbox") if row["id"] not in before]


async def deaf(process: Process) -> None:
    """It polls no more, as a process whose polls are late; it trusts for as long as it has."""
    await process.entries.outbox.poll()
    await end(*process.entries.outbox._tasks)


async def test_c2_changes_carried_in_the_wrong_order_leave_the_newer_truth(start: Start) -> None:
    one, other = await start(), await start()
    await one.change("a", "0")
    await one.get("a")
    first = await commit(one, "a", "1")
    second = await commit(other, "a", "2")

    assert await other.entries.outbox._carry(dict.fromkeys(second, "t:a"))
    assert await one.get("a") == ["2"]
    assert await one.entries.outbox._carry(dict.fromkeys(first, "t:a"))

    for process in (one, other):
        await process.catch_up()
        assert await process.get("a") == ["2"]
    assert await one.in_valkey("a") == b"=2"


async def test_c4_a_process_that_has_not_polled_stops_trusting_before_the_answer(start: Start) -> None:
    reader, writer = await start(), await start()
    await writer.change("a", "1")
    await reader.catch_up()
    assert await reader.get("a") == ["1"]
    writer.entries.links.drop(writer.entries.links.current)
    writer.entries.links.url = "valkey://127.0.0.1:1/0"
    await deaf(reader)

    await writer.change("a", "2")

    assert await reader.get("a") == ["2"]


class Stalling:
    """A connection of the outbox whose process stands still while an answer of PostgreSQL is on its way to it."""

    def __init__(self, real: "asyncpg.Connection[asyncpg.Record]", failure: BaseException | None) -> None:
        self._real = real
        self._failure = failure
        self.asked, self.woken = asyncio.Event(), asyncio.Event()

    async def fetch(self, query: str, *, timeout: float) -> list[asyncpg.Record]:  # noqa: ASYNC109 - asyncpg's word
        rows: list[asyncpg.Record] = await self._real.fetch(query, timeout=timeout)
        self.asked.set()
        await self.woken.wait()
        if self._failure is not None:
            raise self._failure
        return rows

    def terminate(self) -> None:
        self._real.terminate()


@pytest.mark.parametrize("failure", [None, TimeoutError()], ids=["answered", "timed out"])
async def test_c4_a_poll_from_before_the_stall_vouches_for_nothing(start: Start, failure: BaseException | None) -> None:
    reader, writer = await start(), await start()
    await writer.change("a", "1")
    await reader.catch_up()
    assert await reader.get("a") == ["1"]
    await deaf(reader)
    assert reader.entries.outbox._connection is not None
    connection = Stalling(reader.entries.outbox._connection, failure)
    reader.entries.outbox._connection = connection  # type: ignore[assignment] # it has what a poll uses
    polling = asyncio.create_task(reader.entries.outbox.poll())
    await connection.asked.wait()
    writer.entries.links.drop(writer.entries.links.current)
    writer.entries.links.url = "valkey://127.0.0.1:1/0"
    await writer.change("a", "2")  # it cannot delete the entry, and answers once nobody can still trust it

    looking = asyncio.create_task(reader.get("a"))
    await asyncio.sleep(0)  # it has begun, and joins the poll
    connection.woken.set()

    assert await looking == ["2"]
    await polling


async def test_c5_who_is_still_with_the_old_primary_serves_nothing_old(start: Start, second_valkey: Valkey) -> None:
    reader, writer = await start(), await start()
    await writer.change("a", "1")
    await reader.catch_up()
    assert await reader.get("a") == ["1"]
    writer.entries.links.url = second_valkey.url
    await as_ten_seconds_later(writer)
    writer.entries.links.drop(writer.entries.links.current)
    await until(lambda: writer.entries.links.current is not None)
    assert await epoch(writer) == 2

    await writer.change("a", "2")

    assert await reader.get("a") == ["2"]


async def test_c5_a_deletion_at_the_old_primary_removes_no_row(start: Start, second_valkey: Valkey) -> None:
    reader, writer = await start(), await start()
    await writer.change("a", "1")
    await deaf(writer)  # it does not hear that the epoch moves on
    reader.entries.links.url = second_valkey.url
    await as_ten_seconds_later(reader)
    reader.entries.links.drop(reader.entries.links.current)
    await until(lambda: reader.entries.links.current is not None)

    async def meanwhile() -> None:
        reader.after_read = None
        rows = await commit(writer, "a", "2")
        assert not await writer.entries.outbox._carry(dict.fromkeys(rows, "t:a"))

    reader.after_read = meanwhile
    await reader.get("a")  # began before the change; what it has read is put into the new primary afterwards

    await reader.entries.outbox.poll()
    assert await reader.get("a") == ["2"]


async def test_c6_a_server_that_comes_back_with_an_older_dump_is_another_one(start: Start, own_valkey: Valkey) -> None:
    one, other = await start(), await start()
    await one.change("a", "1")
    await other.catch_up()
    await other.get("a")
    async with one.entries.links.use() as link:
        await link.client.save()
    await one.change("a", "2")
    port = own_valkey.port
    os.kill(own_valkey.pid, signal.SIGKILL)
    own_valkey.stop()
    own_valkey._port_given, own_valkey.port = True, port
    own_valkey.start()
    await as_ten_seconds_later(one)

    for process in (one, other):
        assert await process.get("a") == ["2"]
        await until(lambda process=process: process.entries.links.current is not None)  # type: ignore[misc]
        assert await process.get("a") == ["2"]
    assert await epoch(one) == 2


async def test_c7_a_primary_that_was_a_replica_meanwhile_is_another_one(
    start: Start, own_valkey: Valkey, second_valkey: Valkey
) -> None:
    one = await start()
    first, second = Client.from_url(own_valkey.url), Client.from_url(second_valkey.url)
    run_id = (await first.info("server"))["run_id"]
    await first.config_set("masterauth", second_valkey.password)
    await first.replicaof("127.0.0.1", str(second_valkey.port))
    await first.replicaof("NO", "ONE")
    assert (await first.info("server"))["run_id"] == run_id
    await as_ten_seconds_later(one)

    one.entries.links.drop(one.entries.links.current)

    await until(lambda: one.entries.links.current is not None)
    assert await epoch(one) == 2
    await first.aclose()
    await second.aclose()


async def test_c8_a_change_is_pending_until_its_own_row_is_gone(start: Start) -> None:
    one, other = await start(), await start()
    await one.change("a", "0")
    await deaf(one)
    await deaf(other)  # nobody relays
    first = await commit(one, "a", "1")
    second = await commit(other, "a", "2")

    assert await one.entries.outbox._carry(dict.fromkeys(first, "t:a"))

    assert await one.outbox() == ["t:a"]
    await one.entries.outbox.poll()
    assert await one.get("a") == ["2"]
    assert await other.entries.outbox._carry(dict.fromkeys(second, "t:a"))
    assert await one.outbox() == []


async def test_what_died_between_commit_and_cache_is_carried_over_by_the_others(start: Start) -> None:
    one, other = await start(), await start()
    await one.change("a", "1")
    await other.catch_up()
    assert await other.get("a") == ["1"]
    await commit(one, "a", "2")
    await end(*one.entries.outbox._tasks)
    one.entries.links.drop(one.entries.links.current)

    await until(lambda: _nothing_pending(other))

    assert await other.get("a") == ["2"]
    assert await other.in_valkey("a") in (None, b"=2")


async def _nothing_pending(process: Process) -> bool:
    return await process.outbox() == []


async def test_an_entry_of_another_type_is_a_miss(start: Start) -> None:
    one = await start()
    await one.change("a", "1")
    for spoil in (("RPUSH", "x"), ("SADD", "x"), ("HSET", "x", "y")):
        async with one.entries.links.use() as link:
            await link.client.delete(link.key("t:a"))
            await link.client.execute_command(spoil[0], link.key("t:a"), *spoil[1:])  # type: ignore[no-untyped-call]

        assert await one.get("a") == ["1"]

"""Processes' worth of the cache's parts, on stores of the test's own."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from app.cache.entries import Entries, Truth
from app.cache.outbox import WAIT
from app.cli.embedded import Valkey
from app.database import Database
from tests.kit import until


class Process:
    """What one process has of the cache: entries of kind `t`, whose truth is the table `truths`."""

    def __init__(self, database_url: str, valkey_url: str, *, strict: bool = False) -> None:
        self.db = Database(database_url, 5)
        self.entries = Entries(self.db, valkey_url, strict=strict)
        self.entries.register("t", self._load)
        self.reads = 0
        self.before_read: Callable[[], Awaitable[None]] | None = None
        self.after_read: Callable[[], Awaitable[None]] | None = None

    async def _load(self, ids: Sequence[str]) -> Mapping[str, Truth]:
        if self.before_read:
            await self.before_read()
        self.reads += 1
        rows = await self.db.fetch("SELECT id, value FROM truths WHERE id = ANY($1)", list(ids))
        if self.after_read:
            await self.after_read()
        return {row["id"]: Truth(row["value"].encode()) for row in rows}

    async def get(self, *ids: str) -> list[str]:
        keys = [f"t:{each}" for each in ids]
        found = await self.entries.get(keys)
        return [(found[key] or b"").decode() for key in keys]

    async def change(self, id_: str, value: str, *, settle: bool = True) -> None:
        """Commit another truth; with `settle` return when nobody serves the old one."""
        async with self.db.transaction() as tx:
            await tx.execute("INSERT INTO truths VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET value = $2", id_, value)
            change = await self.entries.outbox.announce(tx, [f"t:{id_}"])
        if settle:
            await self.entries.outbox.settle(change)

    async def catch_up(self) -> None:
        """Have seen that no change is pending."""
        await until(self._sees_no_change)

    async def _sees_no_change(self) -> bool:
        await self.entries.outbox.poll()
        return not self.entries.outbox.pending

    async def in_valkey(self, id_: str) -> bytes | None:
        async with self.entries.links.use() as link:
            name = link.key(f"t:{id_}")
            value: bytes | None = await link.at(name).get(name)
        return value

    async def outbox(self) -> list[str]:
        return [row["key"] for row in await self.db.fetch("SELECT key FROM cache_outbox ORDER BY id")]


Start = Callable[..., Awaitable[Process]]


@asynccontextmanager
async def started(process: Process) -> AsyncIterator[Process]:
    await process.db.start()
    await process.db.execute("CREATE TABLE IF NOT EXISTS truths (id text PRIMARY KEY, value text NOT NULL)")
    await process.entries.start()
    process.entries.links.learned_at -= WAIT  # as one that has run for a while
    try:
        yield process
    finally:
        await process.entries.stop()
        await process.db.stop()


@pytest.fixture
def second_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with Valkey(tmp_path_factory.mktemp("stores") / "second") as server:
        yield server


async def epoch(process: Process) -> int:
    row = await process.db.fetchrow("SELECT epoch FROM cache_epoch")
    assert row is not None
    return int(row["epoch"])


async def as_ten_seconds_later(process: Process) -> None:
    await process.db.execute("UPDATE cache_epoch SET granted_at = '-infinity'")


@pytest.fixture
async def start(own_database: str, own_valkey: Valkey) -> AsyncIterator[Start]:
    """Starts another process on the same stores."""
    async with AsyncExitStack() as stack:

        async def start_one(*, valkey_url: str = own_valkey.url, strict: bool = False) -> Process:
            return await stack.enter_async_context(started(Process(own_database, valkey_url, strict=strict)))

        yield start_one

"""Lists that can grow: pages by number as far as they are cheap, by cursor to any depth, counted exactly to a bound."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Annotated, Any, TypeAlias

import asyncpg
from msgspec import Meta, Struct

from app.database import Database, Watch
from app.errors import UseCursor
from app.keys.cursors import Cursors
from app.settings import Settings
from app.statements import MOST_ROWS, NOTHING, Listing, Order, Snapshot

FAR_BEYOND = 3 * MOST_ROWS  # rows: where the planner sees as many, there are more than MOST_ROWS
MOST_PER_PAGE = 200  # rows
LONGER = 8  # times as long is the next stretch, where one did not hold the page
MOST_COLLECTED = 2 * MOST_ROWS  # rows, as soon as walking seems in vain: some 30 ms
CHEAPER = 4  # rows are walked for one that is collected: 0.2 to 0.4 us, where an index has the words, and 1 to 2
SLACK = 2  # times as many rows are walked as should hold the page, were they evenly spread
CONNECTIONS = 2  # a process, beside its pool: a slow list holds up another list, never a login
TURN_SECONDS = 0.06  # that a list waits for the one before it: two at once take as long, and both are late

# A page is found by indexes, row by row, however small the planner takes a table to be, and each by a plan of its own:
# one for all values would neither fold a constant into an index nor know a rare word from a common one.
PLANNING = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "plan_cache_mode": "force_custom_plan",
    # All in memory. A row that is found by an index of something else takes twice as long as one on the way through an
    # order, and to read a long index for a second condition takes longer than it saves.
    "random_page_cost": "0.25",
    "seq_page_cost": "0.25",
    "cpu_index_tuple_cost": "0.02",
    "work_mem": "32MB",  # a bitmap of some million rows; one that has no room for them has pages, and all their rows
    "max_parallel_workers_per_gather": "0",  # the other cores have logins to serve
}

Total: TypeAlias = tuple[int, bool]  # how many rows, and whether that is exact
Rows: TypeAlias = Sequence[asyncpg.Record]  # a list's columns, and `place` in its order, `key` and maybe `number`
Found: TypeAlias = tuple[Rows, Total | None]  # of a page; the total
LetGo: TypeAlias = Callable[[], Awaitable[None]]
PageNumber = Annotated[int, Meta(ge=1, description="With `page_size` it reaches 10,000 rows; beyond, take `cursor`.")]
PageSize = Annotated[int, Meta(ge=1, le=MOST_PER_PAGE, description="Rows of a page, at most 200.")]
CursorText = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=4096,
        description="`next_cursor` of a page of this very list, sorted and filtered alike; `page` has no say then.",
    ),
]


class Asked(Struct, frozen=True):
    """Which page: by number, or after the row where the page before ended."""

    page: PageNumber
    page_size: PageSize
    cursor: CursorText | None


class Begin(Struct, frozen=True):
    """Where a page begins: behind so many rows of its list, or after a row."""

    about: bytes  # which list
    number: int
    page_size: int
    offset: int = 0  # rows
    after: Mapping[str, object] = NOTHING  # `after_place` and `after_key`
    total: Total | None = None  # as it was counted for the page where somebody began

    @property
    def behind(self) -> bool:
        return bool(self.after)

    @property
    def most(self) -> int:
        """Rows that are read: one more tells that the page is not the last."""
        return self.page_size + 1

    @property
    def reach(self) -> int:
        """Rows to the end of these, counted from where the list or what is behind the cursor begins."""
        return self.offset + self.most


class Page(Struct, frozen=True):
    """Rows of a statement's columns."""

    rows: Sequence[tuple[Any, ...]]
    total: int  # over all pages
    total_exact: bool  # or else the planner's estimate
    number: int
    next_cursor: str | None


class Lists:
    """Reads pages, on a few connections of its own."""

    def __init__(self, settings: Settings, cursors: Cursors, watch: Watch | None = None) -> None:
        self._db = Database.of(settings, CONNECTIONS, "gatehouse lists", PLANNING, watch)
        self._cursors = cursors
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        await self._db.start()

    async def stop(self) -> None:
        await self._db.stop()

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[LetGo]:
        """Pages are read one after the other; but nobody waits long for a slow one, which may let go before it ends."""
        async with AsyncExitStack() as stack:
            with suppress(TimeoutError):
                async with asyncio.timeout(TURN_SECONDS):
                    await stack.enter_async_context(self._turn)
            yield stack.aclose

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[Snapshot]:
        """What a page and its total are read from.

        Raises:
            DatabaseUnavailable: there is no connection to be had, or it broke, or a statement took too long.
        """
        async with self._db.snapshot() as transaction:
            yield Snapshot(transaction)

    def begin(self, order: Order, asked: Asked, about: bytes) -> Begin:
        """Where the page begins that is asked of a list in this order.

        Raises:
            UseCursor: it lies beyond the rows that page numbers reach.
            ValidationFailed: the cursor is none of this list.
        """
        if asked.cursor is not None:
            number, place, key, *total = self._cursors.open(about, asked.cursor, order.place)
            after = {"after_place": place, "after_key": key}
            return Begin(about, number, asked.page_size, after=after, total=(total[0], total[1]))
        if asked.page * asked.page_size > MOST_ROWS:
            raise UseCursor
        return Begin(about, asked.page, asked.page_size, offset=(asked.page - 1) * asked.page_size)

    async def page(
        self, snapshot: Snapshot, listing: Listing, begin: Begin, values: Mapping[str, object], let_go: LetGo
    ) -> Page:
        """A page of a list that is filtered by these values; before it collects very many it lets its turn go."""
        values = {**values, **begin.after, "offset": begin.offset, "most": begin.most, "reach": begin.reach}
        total = begin.total
        if listing.by_plan:
            seen = await snapshot.estimate(listing.estimated, values) if total is None else 0
            rows, counted = await _planned(snapshot, listing, begin, values, seen)
        else:
            all_rows, seen = await snapshot.estimates(listing.sizes, values)
            rows, counted = await _found(snapshot, listing, begin, values, seen, all_rows, let_go)
        is_last = len(rows) < begin.most
        rows = rows[: begin.page_size]
        if total is None and is_last and (rows or begin.number == 1):  # the last page tells the total
            total = begin.offset + len(rows), True
        elif total is None and is_last:  # they end before it
            total = await snapshot.value(listing.count, values), True
        elif total is None:
            total = counted or await _count(snapshot, listing, begin, values, seen)
        next_cursor = None
        if not is_last:
            end = (begin.number + 1, rows[-1]["place"], rows[-1]["key"], *total)
            next_cursor = self._cursors.seal(begin.about, end)
        return Page([row[: listing.width] for row in rows], *total, begin.number, next_cursor)


async def _count(
    snapshot: Snapshot, listing: Listing, begin: Begin, values: Mapping[str, object], estimated: int
) -> Total:
    """How many rows there are where a page was full, and whether that is exact.

    Where the page goes beyond MOST_ROWS, or the planner sees far more, nothing is counted.
    """
    if estimated > FAR_BEYOND:
        return estimated, False
    counted = begin.reach if begin.reach > MOST_ROWS else await snapshot.value(listing.count, values)
    return _total(counted, estimated)


def _total(counted: int, estimated: int) -> Total:
    """Of rows that are counted to MOST_ROWS and one, or beyond."""
    return (counted, True) if counted <= MOST_ROWS else (max(counted, estimated), False)


async def _planned(
    snapshot: Snapshot, listing: Listing, begin: Begin, values: Mapping[str, object], estimated: int
) -> Found:
    """The rows of a page to which the planner finds the way; and how many there are, if we came to know."""
    # A page far on is as far to go as to count; a first page is soon found, unless all are collected for it.
    most_counted = MOST_COLLECTED if begin.offset or listing.has_few else MOST_ROWS
    if begin.total is not None or estimated > most_counted:
        return await snapshot.rows(listing.planned, values), None
    rows = await snapshot.rows(listing.counted, values)
    return rows, _total(rows[0]["number"], estimated) if rows else None


async def _found(
    snapshot: Snapshot,
    listing: Listing,
    begin: Begin,
    values: Mapping[str, object],
    estimated: int,
    all_rows: int,
    let_go: LetGo,
) -> Found:
    """The rows of a page; and how many there are, if that is not known and we came to know.

    One can walk along the order and look at each row, or collect what fits the filters and sort it. The first costs
    more the rarer such rows are, the second the more there are. The planner would choose as well, but not know what we
    know: names that begin alike stand side by side. So no more is walked than could have been collected.
    """
    offset, known = begin.offset, begin.total is not None
    evenly = begin.reach * all_rows // estimated  # rows that hold the page, were they evenly spread
    stretch, worth = SLACK * evenly, CHEAPER * SLACK * estimated
    if offset and MOST_ROWS < stretch < worth:  # far on a walk in vain is long, and a part of it tells
        part = evenly // LONGER
        met = await snapshot.value(listing.met, {**values, "stretch": part})
        worth = worth if SLACK * met * all_rows > part * estimated else 0
    while stretch < worth:
        walk = {**values, "stretch": stretch}
        rows = await snapshot.rows(listing.walked, walk)
        # whether it went to the end is only asked where it may have
        may_end = stretch >= all_rows // LONGER
        if len(rows) == begin.most or (may_end and not await snapshot.rows(listing.beyond, walk)):
            return rows, None
        if not offset and LONGER * len(rows) < stretch * estimated // all_rows and estimated < MOST_COLLECTED:
            break  # either there are far fewer than it seemed, or they are all together somewhere else
        stretch, worth = stretch * LONGER, estimated
    if estimated > FAR_BEYOND:
        await let_go()
    if known or estimated > FAR_BEYOND:
        return await snapshot.rows(listing.collected, values), None
    rows = await snapshot.rows(listing.collected_and_counted, values)
    return rows, (rows[0]["number"], True) if rows else None

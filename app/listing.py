"""Lists that can grow: pages by number as far as those are cheap, by cursor to any depth, counted exactly to a bound.

Beside this module only `app/identity/listing.py`, `app/sessions/listing.py`, `app/sessions/filters.py` and
`app/sessions/ending.py` write statements with SQLAlchemy; nothing that a request of `/login`, `/refresh`, `/me` or
`/verify` can reach imports them.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from types import GenericAlias
from typing import Annotated, Any, TypeAlias

import asyncpg
import msgspec
from msgspec import Meta, Struct
from sqlalchemy import ColumnElement, Select, any_, func, literal, select, true, tuple_, union_all
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.util import LRUCache

from app.database import Database, Transaction, Watch
from app.errors import UseCursor
from app.keys.cursors import Cursors
from app.settings import Settings

MOST_ROWS = 10_000  # that page numbers reach, and that are counted exactly
FAR_BEYOND = 4 * MOST_ROWS  # rows: where the planner sees as many, there are more than MOST_ROWS
MOST_PER_PAGE = 200  # rows
LONGER = 8  # times as long is the next stretch, where one did not hold the page
MOST_COLLECTED = 2 * MOST_ROWS  # rows, as soon as walking seems in vain: some 30 ms
CHEAPER = 2  # rows are walked for one that is collected
SLACK = 2  # times as many rows are walked as should hold the page, were they evenly spread
CONNECTIONS = 2  # a process, beside its pool: a slow list holds up another list, never a login

# A page is found by indexes, row by row, however small the planner takes a table to be, and each by a plan of its own:
# one for all values would neither fold a constant into an index nor know a rare word from a common one.
PLANNING = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "plan_cache_mode": "force_custom_plan",
    "random_page_cost": "0.3",  # in memory: to read a long index for a second condition costs more than it saves
    "seq_page_cost": "0.3",
    "cpu_index_tuple_cost": "0.02",
    "work_mem": "32MB",  # a bitmap of some million rows; one that has no room for them has pages, and all their rows
    "max_parallel_workers_per_gather": "0",  # the other cores have logins to serve
}
DIALECT = dialect()  # type: ignore[no-untyped-call]
WRITTEN: LRUCache[Any, Any] = LRUCache(500)  # statements by their shape: some kB each

Total: TypeAlias = tuple[int, bool]  # how many rows, and whether that is exact
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


class Page(Struct, frozen=True):
    """Rows of a statement's columns."""

    rows: Sequence[asyncpg.Record]
    total: int  # over all pages
    total_exact: bool  # or else the planner's estimate
    number: int
    next_cursor: str | None


class Order:
    """By a column that every row has, and by the id where that is alike: one index on both serves either way."""

    def __init__(self, column: ColumnElement[Any], key: ColumnElement[Any], *, descending: bool) -> None:
        self.column = column
        self.key = key
        # what a cursor says: the page's number, its last row before it, and the total with whether that is exact
        self.place = GenericAlias(tuple, (int, column.type.python_type, key.type.python_type, int, bool))
        self.descending = descending

    def by(self) -> list[ColumnElement[Any]]:
        return [each.desc() if self.descending else each.asc() for each in (self.column, self.key)]

    def after(self, value: object, key: object) -> ColumnElement[bool]:
        """The rows behind this one, compared as one value, so that the index is searched and not walked."""
        there = tuple_(literal(value, self.column.type), literal(key, self.key.type))
        here = tuple_(self.column, self.key)
        return here < there if self.descending else here > there


class Snapshot:
    """One moment's state, read by statements of SQLAlchemy; they are run by asyncpg, as all of ours are."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def rows(self, statement: Select[*tuple[Any, ...]]) -> list[asyncpg.Record]:
        query, values = _written(statement)
        return await self._transaction.fetch(query, *values)

    async def value(self, statement: Select[Any]) -> Any:  # noqa: ANN401 - as the statement says
        """The first column of the first row."""
        query, values = _written(statement)
        return await self._transaction.fetchval(query, *values)

    async def estimate(self, statement: Select[Any]) -> int:
        """How many rows the planner sees, one at least."""
        query, values = _written(statement)
        (explained,) = msgspec.json.decode(await self._transaction.fetchval(f"EXPLAIN (FORMAT JSON) {query}", *values))
        rows: int = explained["Plan"]["Plan Rows"]
        return max(1, rows)


def _written(statement: Select[Any]) -> tuple[str, list[object]]:
    """A statement as PostgreSQL reads it, and its values in their order.

    Its words are those of the last statement of the same shape: to find them anew takes longer than most pages. No
    shape has an `IN` of a list, whose words are as many as its values: `= any_(…)` says the same.
    """
    compiled, values, collected, _ = statement._compile_w_cache(  # noqa: SLF001 - what an engine of SQLAlchemy does
        DIALECT, compiled_cache=WRITTEN, column_keys=[]
    )
    assert isinstance(compiled, SQLCompiler)  # noqa: S101 - what a SELECT is compiled to
    params = compiled.construct_params(extracted_parameters=values, _collected_params=collected)
    return compiled.string, [params[name] for name in compiled.positiontup or ()]


class Lists:
    """Reads pages, on a few connections of its own."""

    def __init__(self, settings: Settings, cursors: Cursors, watch: Watch | None = None) -> None:
        self._db = Database.of(settings, CONNECTIONS, "gatehouse lists", PLANNING, watch)
        self._cursors = cursors

    async def start(self) -> None:
        await self._db.start()

    async def stop(self) -> None:
        await self._db.stop()

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[Snapshot]:
        """What a page and its total are read from.

        Raises:
            DatabaseUnavailable: there is no connection to be had, or it broke, or a statement took too long.
        """
        async with self._db.snapshot() as transaction:
            yield Snapshot(transaction)

    async def page(
        self,
        snapshot: Snapshot,
        statement: Select[Any],
        order: Order,
        asked: Asked,
        about: bytes,
        *,
        fits: ColumnElement[bool] | None = None,
        parts: Sequence[Select[Any]] = (),
        estimated: Select[Any] | None = None,
    ) -> Page:
        """A page of a statement that has its columns and filters, but neither an order nor bounds.

        A cursor carries the total along: it is counted for the page where somebody began.

        `fits` says of one row what the statement's filters say of all, if that is to be said in other words.

        `parts` are the same rows, each once, where they say themselves by which index to go: their pages are the
        planner's to find.

        `estimated` are they in the fewest words: the planner would take for a filter what repeats another.

        Raises:
            UseCursor: it lies beyond the rows that page numbers reach.
            ValidationFailed: the cursor is none of this list.
        """
        keys = _keys(statement, order)
        number, offset = asked.page, 0
        after: ColumnElement[bool] = true()
        total: Total | None = None
        if asked.cursor is not None:
            number, value, key, *known = self._cursors.open(about, asked.cursor, order.place)
            after, total = order.after(value, key), (known[0], known[1])
        elif asked.page * asked.page_size > MOST_ROWS:
            raise UseCursor
        else:
            offset = (asked.page - 1) * asked.page_size
        most = asked.page_size + 1
        seen = await snapshot.estimate(keys if estimated is None else estimated)
        if parts:
            walks = [_keys(part, order).where(after) for part in parts]
            counts = total is None and seen <= MOST_ROWS
            places, counted = await _planned(snapshot, walks, order, offset, most, counts=counts)
        else:
            places, counted = await _places(snapshot, keys, fits, order, after, offset, most, seen)
        is_last = len(places) < most
        places = places[: asked.page_size]
        ids = literal([row["key"] for row in places], ARRAY(order.key.type))
        shown = select(*statement.selected_columns).where(order.key == any_(ids))
        rows = await snapshot.rows(shown.order_by(*order.by())) if places else []
        if total is None and is_last and (rows or number == 1):  # the last page tells the total
            total = offset + len(rows), True
        elif total is None:
            total = counted or await _count(snapshot, [_keys(part, order) for part in parts or (statement,)], seen)
        next_cursor = (
            None if is_last else self._cursors.seal(about, (number + 1, places[-1]["place"], places[-1]["key"], *total))
        )
        return Page(rows, *total, number, next_cursor)


def _keys(rows: Select[Any], order: Order) -> Select[Any]:
    return rows.with_only_columns(order.column.label("place"), order.key.label("key"), maintain_column_froms=True)


def _together(walks: Sequence[Select[Any]]) -> Select[Any]:
    """As many of all their rows as are counted, and one more."""
    rows = walks[0] if len(walks) == 1 else select(union_all(*walks).subquery())
    return rows.limit(MOST_ROWS + 1)


async def _count(snapshot: Snapshot, walks: Sequence[Select[Any]], estimated: int) -> Total:
    """How many rows, and whether that is exact; where the planner sees far more than MOST_ROWS nothing is counted."""
    if estimated > FAR_BEYOND:
        return estimated, False
    counted: int = await snapshot.value(select(func.count()).select_from(_together(walks).subquery()))
    return (counted, True) if counted <= MOST_ROWS else (max(counted, estimated), False)


def _walked(rows: Select[Any], fitting: ColumnElement[bool], order: Order, stretch: int) -> Select[Any]:
    """Of the first rows of an order, so many of them, those that fit."""
    place, key = order.column.label("place"), order.key.label("key")
    walk = rows.with_only_columns(place, key, fitting.label("fits")).order_by(*order.by()).limit(stretch).subquery()
    met = Order(walk.c.place, walk.c.key, descending=order.descending)
    return select(walk.c.place, walk.c.key).where(walk.c.fits).order_by(*met.by())


async def _places(
    snapshot: Snapshot,
    keys: Select[Any],
    fits: ColumnElement[bool] | None,
    order: Order,
    after: ColumnElement[bool],
    offset: int,
    most: int,
    estimated: int,
) -> tuple[Sequence[asyncpg.Record], Total | None]:
    """Where the rows of a page are in the order, and their ids; and how many there are, if we came to know.

    One can walk along the order and look at each row, or collect what fits the filters and sort it. The first costs
    more the rarer such rows are, the second the more there are. The planner would choose as well, but not know what we
    know: names that begin alike stand side by side. So no more is walked than could have been collected.
    """
    wanted = keys.where(after)
    fits = keys.whereclause if fits is None else fits
    if keys.whereclause is None or fits is None:
        return await snapshot.rows(wanted.order_by(*order.by()).offset(offset).limit(most)), None
    everything = select(order.column, order.key)
    behind = everything.where(after)
    all_rows = await snapshot.estimate(everything)
    stretch = SLACK * (offset + most) * all_rows // estimated
    worth = CHEAPER * SLACK * estimated
    while stretch < worth:
        walk = _walked(behind, fits, order, stretch)
        places = await snapshot.rows(walk.offset(offset).limit(most))
        # whether it went to the end is only asked where it may have
        may_end = not offset or stretch >= all_rows
        if len(places) == most or (
            may_end and not await snapshot.rows(behind.order_by(*order.by()).offset(stretch).limit(1))
        ):
            return places, None
        if not offset and LONGER * len(places) < stretch * estimated // all_rows and estimated < MOST_COLLECTED:
            break  # either there are far fewer than it seemed, or they are all together somewhere else
        stretch, worth = stretch * LONGER, estimated
    return await _collected(snapshot, wanted, order, offset, most)


async def _planned(
    snapshot: Snapshot, walks: Sequence[Select[Any]], order: Order, offset: int, most: int, *, counts: bool
) -> tuple[Sequence[asyncpg.Record], Total | None]:
    """As `_places`, where the planner finds the way.

    Rows that are to be counted one by one are collected, unless they are more than MOST_ROWS after all. Else each walk
    is told how many it gives at most, or it would be sorted as a whole.
    """
    total: Total | None = None
    if counts:
        places, total = await _collected(snapshot, _together(walks), order, offset, most)
        if total is not None and total[0] <= MOST_ROWS:
            return places, total
        total = total and (total[0], False)
    if len(walks) == 1:
        return await snapshot.rows(walks[0].order_by(*order.by()).offset(offset).limit(most)), total
    both = union_all(*(walk.order_by(*order.by()).limit(offset + most) for walk in walks)).subquery()
    merged = Order(both.c.place, both.c.key, descending=order.descending)
    return await snapshot.rows(select(both).order_by(*merged.by()).offset(offset).limit(most)), total


async def _collected(
    snapshot: Snapshot, keys: Select[Any], order: Order, offset: int, most: int
) -> tuple[Sequence[asyncpg.Record], Total | None]:
    """Where the rows of a page are, of all that fit, and how many fit; None if none is on this page."""
    found = keys.cte("found").prefix_with("MATERIALIZED")  # else the planner might walk after all
    collected = Order(found.c.place, found.c.key, descending=order.descending)
    number = select(func.count()).select_from(found).scalar_subquery()
    counted = select(found.c.place, found.c.key, number.label("number"))
    rows = await snapshot.rows(counted.order_by(*collected.by()).offset(offset).limit(most))
    return rows, (rows[0]["number"], True) if rows else None

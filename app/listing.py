"""Lists that can grow: pages by number as far as those are cheap, by cursor to any depth, counted exactly to a bound.

Beside this module only `app/identity/listing.py` and `app/sessions/listing.py` write statements with SQLAlchemy;
nothing that a request of `/login`, `/refresh`, `/me` or `/verify` can reach imports them.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from types import GenericAlias
from typing import Annotated, Any

import asyncpg
import msgspec
from msgspec import Meta, Struct
from sqlalchemy import ColumnElement, Select, Tuple, func, literal, select, tuple_
from sqlalchemy.dialects.postgresql.asyncpg import dialect

from app.database import Database, Transaction
from app.errors import UseCursor
from app.keys.cursors import Cursors

MOST_ROWS = 10_000  # that page numbers reach, and that are counted exactly
FAR_BEYOND = 10 * MOST_ROWS  # rows: where the planner sees as many, there are more than MOST_ROWS
MOST_PER_PAGE = 200  # rows
STRETCH = 20_000  # rows that are looked at along an order first: some milliseconds
STRETCH_A_ROW = 10  # and as many for each that is wanted, or skipped
ORDER_COLUMNS = 2  # of every row, behind the statement's own: what the order compares, and the id
CONNECTIONS = 2  # a process, beside its pool: a slow list holds up another list, never a login

# A page is found by an index however small the planner takes its part of a table to be, and each by a plan of its own:
# one for all values would neither fold a constant into an index nor know a rare word from a common one.
PLANNING = {"enable_seqscan": "off", "plan_cache_mode": "force_custom_plan"}
DIALECT = dialect()  # type: ignore[no-untyped-call]

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
    """Rows of a statement's columns, followed by ORDER_COLUMNS more."""

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
        self.place = GenericAlias(tuple, (int, column.type.python_type, key.type.python_type))
        self.descending = descending

    def by(self) -> list[ColumnElement[Any]]:
        return [each.desc() if self.descending else each.asc() for each in (self.column, self.key)]

    def after(self, value: object, key: object) -> ColumnElement[bool]:
        """The rows behind this one, compared as one value, so that the index is searched and not walked."""
        here, there = self._compared(value, key)
        return here < there if self.descending else here > there

    def before(self, value: object, key: object) -> ColumnElement[bool]:
        """The rows in front of this one."""
        here, there = self._compared(value, key)
        return here > there if self.descending else here < there

    def _compared(self, value: object, key: object) -> tuple[Tuple, Tuple]:
        there = tuple_(literal(value, self.column.type), literal(key, self.key.type))
        return tuple_(self.column, self.key), there


class Snapshot:
    """One moment's state, read by statements of SQLAlchemy; they are run by asyncpg, as all of ours are."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def rows(self, statement: Select[Any]) -> list[asyncpg.Record]:
        query, values = _written(statement)
        return await self._transaction.fetch(query, *values)

    async def value(self, statement: Select[Any]) -> Any:  # noqa: ANN401 - as the statement says
        """The first column of the first row."""
        query, values = _written(statement)
        return await self._transaction.fetchval(query, *values)

    async def count(self, statement: Select[Any]) -> tuple[int, bool]:
        """How many rows, and whether that is exact: beyond MOST_ROWS it is the planner's estimate.

        Where that is far beyond, nothing is counted.
        """
        query, values = _written(statement)
        (explained,) = msgspec.json.decode(await self._transaction.fetchval(f"EXPLAIN (FORMAT JSON) {query}", *values))
        estimated: int = explained["Plan"]["Plan Rows"]
        if estimated > FAR_BEYOND:
            return estimated, False
        some = statement.limit(MOST_ROWS + 1).subquery()
        counted: int = await self.value(select(func.count()).select_from(some))
        return (counted, True) if counted <= MOST_ROWS else (max(counted, estimated), False)

    async def ordered(
        self, statement: Select[Any], order: Order, place: Sequence[object], offset: int, most: int
    ) -> list[asyncpg.Record]:
        """Rows of a statement by an order, from behind a place on if there is one, with ORDER_COLUMNS behind each.

        Whether it is better to walk along the order and look at every row, or to collect by the filters and sort, the
        planner cannot know: names that begin alike stand side by side. So a stretch is walked, and where it does not
        hold enough, all that fit the filters are collected.
        """
        everything, wanted = select(order.column, order.key), statement
        if place:
            everything, wanted = everything.where(order.after(*place)), wanted.where(order.after(*place))
        page = wanted.add_columns(order.column, order.key).order_by(*order.by())
        if statement.whereclause is not None:
            stretch = max(STRETCH, STRETCH_A_ROW * (offset + most))
            ends = await self.rows(everything.order_by(*order.by()).offset(stretch).limit(1))
            if ends:
                rows = await self.rows(page.where(order.before(*ends[0])).offset(offset).limit(most))
                if len(rows) == most:
                    return rows
                page = page.where(order.key.in_(_collected(wanted, order, offset, most)))
                offset = 0
        return await self.rows(page.offset(offset).limit(most))


def _collected(wanted: Select[Any], order: Order, offset: int, most: int) -> Select[Any]:
    """The keys of a page, sorted out of all that fit: materialized, or the planner would walk after all."""
    fits = wanted.with_only_columns(order.column.label("place"), order.key.label("key"), maintain_column_froms=True)
    found = fits.cte("found").prefix_with("MATERIALIZED")
    by = Order(found.c.place, found.c.key, descending=order.descending).by()
    return select(found.c.key).order_by(*by).offset(offset).limit(most)


def _written(statement: Select[Any]) -> tuple[str, list[object]]:
    """A statement as PostgreSQL reads it, and its values in their order."""
    compiled = statement.compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True})
    return compiled.string, [compiled.params[name] for name in compiled.positiontup or ()]


class Lists:
    """Reads pages, on a few connections of its own."""

    def __init__(self, database_url: str, cursors: Cursors) -> None:
        self._db = Database(database_url, CONNECTIONS, "gatehouse lists", PLANNING)
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

    async def page(self, snapshot: Snapshot, statement: Select[Any], order: Order, asked: Asked, about: bytes) -> Page:
        """A page of a statement that has its columns and filters, but neither an order nor bounds.

        Raises:
            UseCursor: it lies beyond the rows that page numbers reach.
            ValidationFailed: the cursor is none of this list.
        """
        number, offset = asked.page, 0
        place: Sequence[object] = ()
        if asked.cursor is not None:
            number, *place = self._cursors.open(about, asked.cursor, order.place)
        elif asked.page * asked.page_size > MOST_ROWS:
            raise UseCursor
        else:
            offset = (asked.page - 1) * asked.page_size
        rows = await snapshot.ordered(statement, order, place, offset, asked.page_size + 1)
        next_cursor = None
        if len(rows) > asked.page_size:
            rows = rows[: asked.page_size]
            next_cursor = self._cursors.seal(about, (number + 1, rows[-1][-2], rows[-1][-1]))
        elif asked.cursor is None and (rows or number == 1):  # the last page tells the total
            return Page(
                rows, (number - 1) * asked.page_size + len(rows), total_exact=True, number=number, next_cursor=None
            )
        total, exact = await snapshot.count(statement.with_only_columns(order.key))
        return Page(rows, total, exact, number, next_cursor)

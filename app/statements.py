"""The statements of lists: put into words once for each shape of a list, and read in one moment's state.

Beside this module only `app/identity/listing.py`, `app/sessions/listing.py`, `app/sessions/filters.py` and
`app/sessions/ending.py` write statements with SQLAlchemy; nothing that a request of `/login`, `/refresh`, `/me` or
`/verify` can reach imports them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from types import GenericAlias, MappingProxyType
from typing import Any

import asyncpg
import msgspec
from msgspec import Struct, field
from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Select,
    Subquery,
    bindparam,
    func,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.sql.compiler import SQLCompiler

from app.database import Transaction

MOST_ROWS = 10_000  # that page numbers reach, and that are counted exactly
DIALECT = dialect()  # type: ignore[no-untyped-call]
SHAPES = 200  # of a list are kept, by the words that are said: some 30 kB each, which take longer to make than a page

OFFSET, MOST, REACH, STRETCH = (bindparam(name, type_=BigInteger) for name in ("offset", "most", "reach", "stretch"))
COUNTED = func.count().over().label("number")  # of all rows, beside each
NOTHING: Mapping[str, object] = MappingProxyType({})


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

    def after(self) -> ColumnElement[bool]:
        """The rows behind `after_place` and `after_key`, as one value, so that the index is searched and not walked."""
        there = tuple_(bindparam("after_place", type_=self.column.type), bindparam("after_key", type_=self.key.type))
        here = tuple_(self.column, self.key)
        return here < there if self.descending else here > there

    def of(self, rows: Any) -> "Order":  # noqa: ANN401 - a subquery or a CTE
        """The same of what has been selected as `place` and `key`."""
        return Order(rows.c.place, rows.c.key, descending=self.descending)


class Statement:
    """What PostgreSQL reads: the words of a SELECT, and the names of its values in their order.

    To find the words takes longer than most pages do, so whoever asks often keeps it.
    """

    def __init__(self, rows: Select[*tuple[Any, ...]]) -> None:
        compiled = rows.compile(dialect=DIALECT)
        assert isinstance(compiled, SQLCompiler)  # noqa: S101 - what a SELECT is compiled to
        self.words = compiled.string
        self._names = compiled.positiontup or []
        self._own = {name: compiled.binds[name].value for name in self._names if not compiled.binds[name].required}

    def values(self, given: Mapping[str, object]) -> list[object]:
        """Its own, and those that are given."""
        return [self._own[name] if name in self._own else given[name] for name in self._names]


class Listing:
    """The statements of a list's pages, all of one shape: the same words are said, it is in one order.

    Args:
        rows: have the columns and filters, but neither an order nor bounds.
        order: of the list.
        behind: the rows of a cursor alone are meant, else those of page numbers.
        fits: says of one row what the filters of `rows` say of all, if that is to be said in other words.
        beside: says of its key what is looked up in another table.
        parts: are the same rows, each once, where they say themselves by which index to go: their pages are the
            planner's to find.
        few: are they once more, as they are found if they are few.
        estimated: are they in the fewest words: the planner would take for a filter what repeats another.
    """

    def __init__(
        self,
        rows: Select[Any],
        order: Order,
        *,
        behind: bool,
        fits: ColumnElement[bool] | None = None,
        beside: Callable[[ColumnElement[Any]], Iterable[ColumnElement[bool]]] = lambda _: (),
        parts: Sequence[Select[Any]] = (),
        few: Select[Any] | None = None,
        estimated: Select[Any] | None = None,
    ) -> None:
        self.order = order
        self.width = len(rows.selected_columns)
        self.has_few = few is not None
        self.by_plan = bool(parts) or rows.whereclause is None
        self._rows = rows
        self._after = order.after() if behind else true()
        self._fits = rows.whereclause if fits is None else fits
        self._beside = beside
        self._parts = [self._keys(part) for part in parts or [rows]]
        self._few = self._parts if few is None else [self._keys(few)]
        self._estimated = self._keys(rows if estimated is None else estimated)

    def _keys(self, rows: Select[Any]) -> Select[Any]:
        place, key = self.order.column.label("place"), self.order.key.label("key")
        return rows.with_only_columns(place, key, maintain_column_froms=True)

    @property
    def _everything(self) -> Select[Any]:
        return select(self.order.column.label("place"), self.order.key.label("key"))

    @cached_property
    def estimated(self) -> Statement:
        """What the planner is asked for how many there are."""
        return Statement(self._estimated)

    @cached_property
    def sizes(self) -> Statement:
        """The same, and before that how many there would be without filters."""
        return Statement(select(union_all(self._everything, self._estimated).subquery()))

    @cached_property
    def planned(self) -> Statement:
        """A page, where the planner finds the way."""
        walks = [part.where(self._after) for part in self._parts]
        return self._page(self._first(walks, REACH))

    @cached_property
    def counted(self) -> Statement:
        """The same, and how many rows there are to MOST_ROWS and one."""
        first = self._first(self._few, MOST_ROWS + 1).subquery()
        return self._page(select(first, COUNTED).order_by(*self.order.of(first).by()))

    @cached_property
    def count(self) -> Statement:
        """How many rows there are to MOST_ROWS and one."""
        rows = self._parts[0] if len(self._parts) == 1 else select(union_all(*self._parts).subquery())
        return Statement(select(func.count()).select_from(rows.limit(MOST_ROWS + 1).subquery()))

    @cached_property
    def _walk(self) -> Subquery:
        """Of the first rows of the order, so many of them, those that fit."""
        assert self._fits is not None  # noqa: S101 - there are filters
        rows = self._everything.add_columns(self._fits.label("fits")).where(self._after)
        walk = rows.order_by(*self.order.by()).limit(STRETCH).subquery()
        return select(walk.c.place, walk.c.key).where(walk.c.fits, *self._beside(walk.c.key)).subquery()

    @cached_property
    def met(self) -> Statement:
        """How many these are."""
        return Statement(select(func.count()).select_from(self._walk))

    @cached_property
    def walked(self) -> Statement:
        """A page of these."""
        return self._page(select(self._walk).order_by(*self.order.of(self._walk).by()))

    @cached_property
    def beyond(self) -> Statement:
        """A row, if there is one, that lies behind these first rows of the order."""
        return Statement(self._everything.where(self._after).order_by(*self.order.by()).offset(STRETCH).limit(1))

    @cached_property
    def collected(self) -> Statement:
        """A page of all rows that fit."""
        return self._sorted()

    @cached_property
    def collected_and_counted(self) -> Statement:
        """The same, and how many fit."""
        return self._sorted(COUNTED)

    def _sorted(self, *more: ColumnElement[Any]) -> Statement:
        found = self._keys(self._rows).where(self._after).offset(0).subquery()  # an offset, or the planner might walk
        return self._page(select(found, *more).order_by(*self.order.of(found).by()))

    def _page(self, places: Select[Any]) -> Statement:
        """The columns of a page of these, with what else is known of them: `place` and `key`, and `number`."""
        page = places.offset(OFFSET).limit(MOST).subquery()
        rows = select(*self._rows.selected_columns, *page.c).where(self.order.key == page.c.key)
        return Statement(rows.order_by(*self.order.of(page).by()))

    def _first(self, walks: Sequence[Select[Any]], most: int | BindParameter[int]) -> Select[Any]:
        """The first rows of all these.

        Each says how many it gives at most, or it would be sorted as a whole. The planner would take it that the first
        rows come from all alike; all but the last are read for themselves, by the index that is best for so many.
        """
        *others, last = (walk.order_by(*self.order.by()).limit(most) for walk in walks)
        if not others:
            return last
        read = [select(each.cte().prefix_with("MATERIALIZED")) for each in others]
        rows = union_all(*read, last).subquery()
        return select(rows).order_by(*self.order.of(rows).by()).limit(most)


class Plan(Struct, frozen=True):
    """A node of what the planner means to do, as EXPLAIN says it."""

    seen: int = field(name="Plan Rows")
    relation: str = field(name="Parent Relationship", default="")
    parts: Sequence["Plan"] = field(name="Plans", default=())

    @property
    def rows(self) -> int:
        return max(1, self.seen)


class Explained(Struct, frozen=True):
    plan: Plan = field(name="Plan")


class Snapshot:
    """One moment's state, read by statements of SQLAlchemy; they are run by asyncpg, as all of ours are."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def rows(self, statement: Statement, values: Mapping[str, object] = NOTHING) -> list[asyncpg.Record]:
        return await self._transaction.fetch(statement.words, *statement.values(values))

    async def value(self, statement: Statement, values: Mapping[str, object] = NOTHING) -> Any:  # noqa: ANN401
        """The first column of the first row."""
        return await self._transaction.fetchval(statement.words, *statement.values(values))

    async def estimate(self, statement: Statement, values: Mapping[str, object] = NOTHING) -> int:
        """How many rows the planner sees, one at least."""
        return (await self._plan(statement, values)).rows

    async def estimates(self, union: Statement, values: Mapping[str, object] = NOTHING) -> tuple[int, int]:
        """The same of either part; of the second it may see that there are none."""
        plan = await self._plan(union, values)
        first, *second = [part for part in plan.parts if part.relation == "Member"] or [plan]
        return first.rows, second[0].rows if second else 1

    async def _plan(self, statement: Statement, values: Mapping[str, object]) -> Plan:
        explained = await self._transaction.fetchval(
            f"EXPLAIN (FORMAT JSON) {statement.words}", *statement.values(values)
        )
        return msgspec.json.decode(explained, type=list[Explained])[0].plan

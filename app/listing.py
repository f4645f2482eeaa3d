"""Lists that can grow: pages by number as far as those are cheap, by cursor to any depth, counted exactly to a bound.

Beside this module only `app/identity/listing.py` and `app/sessions/listing.py` read with SQLAlchemy; nothing that a
request of `/login`, `/refresh`, `/me` or `/verify` can reach imports them.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from types import GenericAlias
from typing import Annotated, Any

import asyncpg
from msgspec import Meta, Struct
from sqlalchemy import ColumnElement, Select, and_, func, literal, or_, select, tuple_
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ClauseElement, Executable

from app.database import (
    ACQUIRE_TIMEOUT,
    CONNECT_TIMEOUT,
    IDLE_SECONDS,
    STATEMENT_TIMEOUT,
    DatabaseUnavailable,
    reachable,
)
from app.errors import UseCursor
from app.keys.cursors import Cursors

MOST_ROWS = 10_000  # that page numbers reach, and that are counted exactly
MOST_PER_PAGE = 200  # rows
ORDER_COLUMNS = 2  # of every row, behind the statement's own: what the order compares, and the id
CONNECTIONS = 2  # a process, beside its pool: a slow list holds up another list, never a login

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

    rows: Sequence[Sequence[Any]]
    total: int  # over all pages
    total_exact: bool  # or else the planner's estimate
    number: int
    next_cursor: str | None


class Order:
    """By a column, and by the id where that is alike. Who has no value comes last, either way."""

    def __init__(
        self, column: ColumnElement[Any], key: ColumnElement[Any], *, descending: bool, nullable: bool = False
    ) -> None:
        self.column = column
        self.key = key
        self.place = GenericAlias(tuple, (int, column.type.python_type | None, key.type.python_type))
        self._descending = descending
        self._nullable = nullable

    def by(self) -> list[ColumnElement[Any]]:
        column, key = (each.desc() if self._descending else each.asc() for each in (self.column, self.key))
        return [column.nulls_last() if self._nullable else column, key]  # an index has nulls on one side only

    def after(self, value: object, key: object) -> ColumnElement[bool]:
        """The rows behind this one; where there is an index on both, it is searched and not walked."""
        if value is None:
            return and_(self.column.is_(None), self.key < key if self._descending else self.key > key)
        here, there = (
            tuple_(self.column, self.key),
            tuple_(literal(value, self.column.type), literal(key, self.key.type)),
        )
        follows = here < there if self._descending else here > there
        return or_(follows, self.column.is_(None)) if self._nullable else follows


class Lists:
    """Reads pages, on a few connections of its own that can change nothing."""

    def __init__(self, database_url: str, cursors: Cursors) -> None:
        self._url = database_url
        self._cursors = cursors
        self._engine: AsyncEngine | None = None

    async def start(self) -> None:
        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._connect,
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=ACQUIRE_TIMEOUT,
            pool_recycle=int(IDLE_SECONDS),
            pool_pre_ping=True,
            isolation_level="REPEATABLE READ",  # a page and its total are of one moment
            execution_options={"postgresql_readonly": True},
        )

    async def _connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(
            self._url,
            timeout=CONNECT_TIMEOUT,
            command_timeout=STATEMENT_TIMEOUT,
            server_settings={"application_name": "gatehouse lists", "timezone": "UTC", "jit": "off"},
        )

    async def stop(self) -> None:
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await engine.dispose()

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[AsyncConnection]:
        """A connection in a transaction that reads one moment's state.

        Raises:
            DatabaseUnavailable: there is none to be had, or it broke, or a statement took too long.
        """
        if self._engine is None:
            raise DatabaseUnavailable
        async with reachable():  # judges the driver's own error, which SQLAlchemy wraps
            try:
                async with self._engine.connect() as connection:
                    yield connection
            except NoConnection as error:
                raise DatabaseUnavailable from error
            except DBAPIError as error:
                raise error.driver_exception from error

    async def page(
        self, connection: AsyncConnection, statement: Select[Any], order: Order, asked: Asked, about: bytes
    ) -> Page:
        """A page of a statement that has its columns and filters, but neither an order nor bounds.

        Raises:
            UseCursor: it lies beyond the rows that page numbers reach.
            ValidationFailed: the cursor is none of this list.
        """
        number, wanted = asked.page, statement
        if asked.cursor is not None:
            number, value, key = self._cursors.open(about, asked.cursor, order.place)
            wanted = wanted.where(order.after(value, key))
        elif asked.page * asked.page_size > MOST_ROWS:
            raise UseCursor
        else:
            wanted = wanted.offset((asked.page - 1) * asked.page_size)
        wanted = wanted.add_columns(order.column, order.key).order_by(*order.by()).limit(asked.page_size + 1)
        rows = (await connection.execute(wanted)).all()
        next_cursor = None
        if len(rows) > asked.page_size:
            rows = rows[: asked.page_size]
            next_cursor = self._cursors.seal(about, (number + 1, rows[-1][-2], rows[-1][-1]))
        elif asked.cursor is None and (rows or number == 1):  # the last page tells the total
            return Page(
                rows, (number - 1) * asked.page_size + len(rows), total_exact=True, number=number, next_cursor=None
            )
        total, exact = await _count(connection, statement.with_only_columns(order.key))
        return Page(rows, total, exact, number, next_cursor)


async def _count(connection: AsyncConnection, statement: Select[Any]) -> tuple[int, bool]:
    """How many rows, and whether that is exact: beyond MOST_ROWS it is the planner's estimate."""
    some = statement.limit(MOST_ROWS + 1).subquery()
    counted: int = (await connection.execute(select(func.count()).select_from(some))).scalar_one()
    if counted <= MOST_ROWS:
        return counted, True
    (explained,) = (await connection.execute(Explain(statement))).scalar_one()
    return max(counted, explained["Plan"]["Plan Rows"]), False


class Explain(Executable, ClauseElement):
    """`EXPLAIN (FORMAT JSON)` of a statement."""

    inherit_cache = False

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement


@compiles(Explain)
def _explain(explain: Explain, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's signature
    return f"EXPLAIN (FORMAT JSON) {compiler.process(explain.statement, **options)}"

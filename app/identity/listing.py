"""The list of users: the one part of this room that writes statements with SQLAlchemy (app/listing.py)."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct
from sqlalchemy import ColumnElement, Select, String, and_, exists, func, literal, literal_column, or_, select, true
from sqlalchemy.dialects.postgresql import ARRAY, TEXT

from app.identity import names
from app.identity.entry import People
from app.identity.models import NEVER, UserRole
from app.identity.models import User as UserRow
from app.identity.structs import RoleName, UserEntry, UserPage
from app.listing import Asked, Lists, Order
from app.models import Time
from app.sessions.structs import ADMIN

UserSort = Literal[
    "username",
    "-username",
    "email",
    "-email",
    "created_at",
    "-created_at",
    "last_login",
    "-last_login",
]

# Text is compared by code points, which is the same on every system and lets an index find what begins with a word. Who
# has no address, and who has never signed in, is before all others.
USERNAME = func.lower(UserRow.username).collate("C")
ADDRESS = func.coalesce(UserRow.email, literal_column("''", String)).collate("C")
FULL_NAME = func.lower(UserRow.full_name).collate("C")
SORTS: Mapping[str, ColumnElement[Any]] = {
    "username": USERNAME,
    "email": ADDRESS,
    "created_at": UserRow.created_at.expression,
    "last_login": func.coalesce(UserRow.last_login, literal_column(NEVER, Time)),
}
WORD = re.compile(r"[^\W_]{3}")  # three letters or digits together: a trigram, of which there is an index

Condition: TypeAlias = Callable[[str], ColumnElement[bool]]  # of a user, about this word

Search = Annotated[
    str,
    Meta(
        max_length=255,
        description="A part of the username, the e-mail address or the full name, in any case. Of less than three "
        "letters or digits together: the beginning of one of them; and if these are ASCII and the list is sorted by "
        "`username` or `email`, the beginning of that one, as in a directory.",
    ),
]


class UserFilter(Struct, frozen=True):
    """Whom to list; what is None makes no difference."""

    search: Search | None
    is_active: bool | None
    is_admin: bool | None
    role: RoleName | None


class UserList:
    def __init__(self, lists: Lists, people: People) -> None:
        self._lists = lists
        self._people = people

    async def page(self, wanted: UserFilter, sort: UserSort, asked: Asked) -> UserPage:
        """A page of users, each with what the roles allow now.

        Raises:
            UseCursor, ValidationFailed: as they say.
        """
        wanted = msgspec.structs.replace(wanted, search=names.label(wanted.search, "search"))
        about = msgspec.json.encode(("users", sort, wanted))
        order = _order(sort)
        async with self._lists.reading() as snapshot:
            if wanted.search and _as_in_a_directory(wanted.search, sort):
                statement = _statement(wanted, begins=(order.column,))
                page = await self._lists.page(snapshot, statement, order, asked, about, parts=[statement])
            else:
                statement, estimated = _statement(wanted), _ids(_statement(wanted, begins=(USERNAME,)))
                page = await self._lists.page(
                    snapshot, statement, order, asked, about, fits=_row_by_row(wanted), estimated=estimated
                )
        return UserPage(
            items=await self._people.show_all([UserEntry(*row) for row in page.rows]),
            total=page.total,
            total_exact=page.total_exact,
            page=page.number,
            page_size=asked.page_size,
            next_cursor=page.next_cursor,
        )


def _order(sort: UserSort) -> Order:
    name = sort.removeprefix("-")
    return Order(SORTS[name], UserRow.id.expression, descending=name != sort)


def _as_in_a_directory(words: str, sort: UserSort) -> bool:
    """Whether these words lead to a place in this order, where what is meant stands together.

    Who begins so by another of his names stands anywhere: a hundred thousand would be collected and sorted for a page.
    What is not ASCII is mostly of a full name, so all of them are looked at.
    """
    return words.isascii() and not WORD.search(words) and sort.removeprefix("-") in {"username", "email"}


def _ids(statement: Select[Any]) -> Select[Any]:
    return statement.with_only_columns(UserRow.id)


def _statement(
    wanted: UserFilter, begins: Sequence[ColumnElement[str]] = (USERNAME, ADDRESS, FULL_NAME)
) -> Select[Any]:
    held = select(UserRole.role).where(UserRole.user_id == UserRow.id)
    roles = func.array(held.order_by(UserRole.role).scalar_subquery(), type_=ARRAY(TEXT))
    columns = {name: getattr(UserRow, name, roles) for name in UserEntry.__struct_fields__}
    return select(*columns.values()).where(*_conditions(wanted, _first_of(begins), lambda role: exists(_holding(role))))


def _row_by_row(wanted: UserFilter) -> ColumnElement[bool]:
    """The same of a user who is at hand.

    For an EXISTS PostgreSQL would read all who hold a role, and look him up; and each name of his it would bring into
    small letters, which his words are in already.
    """
    return and_(
        true(), *_conditions(wanted, _first_of_a_line, lambda role: _holding(role).scalar_subquery().is_not(None))
    )


def _first_of(columns: Sequence[ColumnElement[str]]) -> Condition:
    return lambda words: or_(*(column.like(_lower(f"{words}%")) for column in columns))


def _first_of_a_line(words: str) -> ColumnElement[bool]:
    return or_(UserRow.words.like(_lower(f"{words}%")), UserRow.words.like(_lower(f"%\n{words}%")))


def _lower(pattern: str) -> ColumnElement[str]:
    return func.lower(literal(pattern))


def _holding(role: str) -> Select[Any]:
    return select(UserRole.role).where(UserRole.user_id == UserRow.id, UserRole.role == role)


def _conditions(wanted: UserFilter, begins: Condition, holds: Condition) -> Iterator[ColumnElement[bool]]:
    if wanted.search:
        yield _has(wanted.search, begins)
    if wanted.is_active is not None:
        yield UserRow.is_active.expression if wanted.is_active else ~UserRow.is_active
    if wanted.is_admin is not None:
        yield holds(ADMIN) if wanted.is_admin else ~holds(ADMIN)
    if wanted.role is not None:
        yield holds(wanted.role)


def _has(words: str, begins: Condition) -> ColumnElement[bool]:
    """Whether these words are somewhere in the name, the address or the full name; or one of the three `begins` so."""
    escaped = re.sub(r"([\\%_])", r"\\\1", words)
    return UserRow.words.like(_lower(f"%{escaped}%")) if WORD.search(words) else begins(escaped)

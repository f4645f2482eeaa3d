"""The list of users: the one part of this room that writes statements with SQLAlchemy (app/statements.py)."""

import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache, partial
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct
from sqlalchemy import (
    ColumnElement,
    Select,
    String,
    and_,
    any_,
    bindparam,
    exists,
    func,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, TEXT

from app.identity import names
from app.identity.entry import People
from app.identity.models import NEVER, UserRole
from app.identity.models import User as UserRow
from app.identity.structs import RoleName, UserEntry, UserPage
from app.listing import Asked, Begin, Lists
from app.models import Time
from app.sessions.structs import ADMIN
from app.statements import SHAPES, Listing, Order, Snapshot, Statement

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
# has no address, and who has never signed in, is before all others. The words begin with the username in small letters,
# and the line break behind it is before all that print.
USERNAME = UserRow.words.collate("C")
ADDRESS = func.coalesce(UserRow.email, literal_column("''", String)).collate("C")
FULL_NAME = func.lower(UserRow.full_name).collate("C")
SORTS: Mapping[str, ColumnElement[Any]] = {
    "username": USERNAME,
    "email": ADDRESS,
    "created_at": UserRow.created_at.expression,
    "last_login": func.coalesce(UserRow.last_login, literal_column(NEVER, Time)),
}
WORD = re.compile(r"[^\W_]{3}")  # three letters or digits together: a trigram, of which there is an index

PART, BEGINNING, LINE = (func.lower(bindparam(name, type_=TEXT)) for name in ("part", "beginning", "line"))
ROLE = bindparam("role", type_=TEXT)
HOLDERS = select(UserRole.user_id).where(UserRole.role == ROLE)
THOSE = Statement(HOLDERS)

Kind: TypeAlias = Literal["part", "beginning", "directory"]  # of search
Holding: TypeAlias = Literal["each", "those"]  # of a role: each user is asked for it, or those who hold it are

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


class Said(Struct, frozen=True):
    """Of what a filter says something, and what it says where there are but two answers."""

    search: Kind | None
    is_active: bool | None
    is_admin: bool | None
    role: Holding | None


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
        kind = _kind(wanted.search, sort) if wanted.search else None
        begin = _behind_words(self._lists.begin(_order(sort), asked, about), sort)
        values = {**_patterns(wanted.search or ""), "role": wanted.role}
        async with self._lists.turn() as let_go, self._lists.reading() as snapshot:
            role = None if wanted.role is None else await _holding(snapshot, kind, begin, values)
            said = Said(kind, wanted.is_active, wanted.is_admin, role)
            listing = _listing(said, sort, behind=begin.behind)
            page = await self._lists.page(snapshot, listing, begin, values, let_go)
        return UserPage(
            items=await self._people.show_all([UserEntry(*row) for row in page.rows]),
            total=page.total,
            total_exact=page.total_exact,
            page=page.number,
            page_size=asked.page_size,
            next_cursor=page.next_cursor,
        )


def _behind_words(begin: Begin, sort: UserSort) -> Begin:
    """A cursor of before migration 0012 has the username alone: behind it is who has another, downwards and upwards.

    To go as soon as no replica of that time runs beside one of ours.
    """
    place = begin.after.get("after_place")
    if sort.removeprefix("-") != "username" or not isinstance(place, str) or "\n" in place:
        return begin
    end = "\n" if sort.startswith("-") else "\x0b"  # the line break behind it, and what follows that
    return msgspec.structs.replace(begin, after={**begin.after, "after_place": f"{place}{end}"})


async def _holding(snapshot: Snapshot, kind: Kind | None, begin: Begin, values: Mapping[str, object]) -> Holding:
    """Those who hold a role are asked for, unless fewer are searched for, or they are soon met on the way."""
    if kind == "directory" or (kind is None and begin.behind):
        return "each"
    if kind is None:
        return "those"
    searched = _listing(Said(kind, None, None, None), "-created_at", behind=False)
    found = await snapshot.estimate(searched.estimated, values)
    return "those" if await snapshot.estimate(THOSE, values) <= found else "each"


def _kind(words: str, sort: UserSort) -> Kind:
    """How these words are looked for.

    As in a directory they lead to a place in the order, where what is meant stands together: who begins so by another
    of his names stands anywhere, and a hundred thousand would be collected and sorted for a page. What is not ASCII is
    mostly of a full name, so all names are looked at.
    """
    if WORD.search(words):
        return "part"
    return "directory" if words.isascii() and sort.removeprefix("-") in {"username", "email"} else "beginning"


def _patterns(words: str) -> Mapping[str, object]:
    escaped = re.sub(r"([\\%_])", r"\\\1", words)
    return {"part": f"%{escaped}%", "beginning": f"{escaped}%", "line": f"%\n{escaped}%"}


@cache
def _order(sort: UserSort) -> Order:
    name = sort.removeprefix("-")
    return Order(SORTS[name], UserRow.id.expression, descending=name != sort)


@lru_cache(SHAPES)
def _listing(said: Said, sort: UserSort, *, behind: bool) -> Listing:
    """The list of those of whom this is said."""
    order = _order(sort)
    if said.search == "directory":
        rows = _rows(said, order.column)
        return Listing(rows, order, behind=behind, parts=[rows])
    each = msgspec.structs.replace(said, role=said.role and "each")
    return Listing(
        _rows(said, USERNAME, ADDRESS, FULL_NAME),
        order,
        behind=behind,
        fits=_row_by_row(said),
        beside=partial(_roles, each),
        estimated=_rows(each, USERNAME),  # of those who are asked for otherwise the planner expects ten
    )


def _rows(said: Said, *begin: ColumnElement[str]) -> Select[Any]:
    """The columns of a user, where one of these begins with what is searched for, if it is no part of a word."""
    held = select(UserRole.role).where(UserRole.user_id == UserRow.id)
    roles = func.array(held.order_by(UserRole.role).scalar_subquery(), type_=ARRAY(TEXT))
    columns = {name: getattr(UserRow, name, roles) for name in UserEntry.__struct_fields__}
    begins = or_(*(column.like(BEGINNING) for column in begin))
    return select(*columns.values()).where(*_conditions(said, begins), *_roles(said, UserRow.id.expression))


def _row_by_row(said: Said) -> ColumnElement[bool]:
    """The same of a user who is at hand, but for his roles.

    Each name of his PostgreSQL would bring into small letters, which his words are in already.
    """
    begins = or_(UserRow.words.like(BEGINNING), UserRow.words.like(LINE))
    return and_(true(), *_conditions(said, begins))


def _conditions(said: Said, begins: ColumnElement[bool]) -> Iterator[ColumnElement[bool]]:
    if said.search is not None:
        yield UserRow.words.like(PART) if said.search == "part" else begins
    if said.is_active is not None:
        yield UserRow.is_active.expression if said.is_active else ~UserRow.is_active


def _roles(said: Said, user_id: ColumnElement[int]) -> Iterator[ColumnElement[bool]]:
    of_his = select(UserRole.role).where(UserRole.user_id == user_id)
    if said.is_admin is not None:
        is_admin = exists(of_his.where(UserRole.role == ADMIN))
        yield is_admin if said.is_admin else ~is_admin
    if said.role == "those":
        yield user_id == any_(func.array(HOLDERS.scalar_subquery()))
    elif said.role == "each":
        yield exists(of_his.where(UserRole.role == ROLE))

"""The list of sessions: what it shows of them, and in which order (app/listing.py)."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal, TypeAlias
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct
from sqlalchemy import BigInteger, ColumnElement, Select, column, exists, func, or_, select, table

from app.errors import NotFound, ValidationFailed
from app.listing import Asked, Lists, Order
from app.sessions.census import Analytics, Census
from app.sessions.filters import EXPIRED, LIVE, REVOKED, SessionFilter, conditions, expiry, lifetimes
from app.sessions.models import Session as SessionRow
from app.sessions.service import Sessions
from app.sessions.structs import Session, SessionList

SessionSort = Literal["created_at", "-created_at", "last_accessed", "-last_accessed", "expires_at", "-expires_at"]

Spans: TypeAlias = tuple[timedelta, timedelta]  # the shortest and the longest lifetime
FIELDS = [name for name in Session.__struct_fields__ if name != "current"]
NAMES = table("user_names", column("id", BigInteger), column("username"))  # the view that identity keeps for others


class SessionPage(Struct, frozen=True, kw_only=True):
    items: list[Session]
    total: int
    total_exact: bool
    page: int
    page_size: int
    next_cursor: str | None
    analytics: Analytics


class SessionDirectory:
    """Who is signed in."""

    def __init__(self, lists: Lists, sessions: Sessions, census: Census) -> None:
        self._lists = lists
        self._sessions = sessions
        self._census = census

    async def page(
        self, wanted: SessionFilter, sort: SessionSort, asked: Asked, current: UUID, *, active: bool
    ) -> SessionPage:
        """A page of sessions, `current` among them marked.

        Raises:
            UseCursor, ValidationFailed: as they say.
        """
        name = sort.removeprefix("-")
        if name == "last_accessed" and wanted.user_id is None:
            raise ValidationFailed(("sort", "by last_accessed is for the sessions of one user: name him by user_id"))
        about = msgspec.json.encode(("sessions", sort, wanted, active))
        async with self._lists.reading() as snapshot:
            meant = await conditions(snapshot, wanted)
            spans = await lifetimes(snapshot)
            kept, began = [*meant, *expiry(wanted, spans)], spans if name == "created_at" else None
            if active:
                statement, parts = _shown().where(LIVE, *meant), [_live(kept, began)]
            else:
                statement, parts = _shown().where(or_(REVOKED, EXPIRED), *meant), _ended(meant, kept, began)
            page = await self._lists.page(snapshot, statement, _order(sort), asked, about, parts=parts)
        return SessionPage(
            items=[_entry(row, current) for row in page.rows],
            total=page.total,
            total_exact=page.total_exact,
            page=page.number,
            page_size=asked.page_size,
            next_cursor=page.next_cursor,
            analytics=await self._census.figures(),
        )

    async def live_of(self, user_id: int, current: UUID) -> SessionList:
        """The live sessions of a user.

        Raises:
            NotFound: there is no such user.
        """
        items = await self._sessions.live_of(user_id, current)
        if not items:
            await self.require(user_id)
        return SessionList(items)

    async def require(self, user_id: int) -> None:
        """Raises NotFound where there is no such user."""
        known = select(exists().where(NAMES.c.id == user_id))
        async with self._lists.reading() as snapshot:
            found = await snapshot.value(known)
        if not found:
            raise NotFound


def _order(sort: SessionSort) -> Order:
    name = sort.removeprefix("-")
    return Order(getattr(SessionRow, name), SessionRow.id.expression, descending=name != sort)


def _shown() -> Select[Any]:
    made = {
        "ip_address": func.host(SessionRow.ip_address),
        "username": select(NAMES.c.username).where(NAMES.c.id == SessionRow.user_id).scalar_subquery(),
    }
    return select(*(made[name] if name in made else getattr(SessionRow, name) for name in FIELDS))


def _entry(row: asyncpg.Record, current: UUID) -> Session:
    shown = dict(zip(FIELDS, row, strict=True))
    return Session(**shown, current=shown["id"] == current)


def _live(meant: Sequence[ColumnElement[bool]], spans: Spans | None) -> Select[Any]:
    """The live ones of those that are meant.

    They began at most the longest lifetime ago. With these `spans` that is said, so that the index on `created_at` is
    entered there, behind what may be millions that have expired.
    """
    since = [] if spans is None else [SessionRow.created_at > func.now() - spans[1]]
    return _shown().where(LIVE, *since, *meant)


def _ended(
    revoked: Sequence[ColumnElement[bool]], expired: Sequence[ColumnElement[bool]], spans: Spans | None
) -> list[Select[Any]]:
    """The ended ones of those that are meant: the revoked and the expired, each of which has indexes of its own.

    What has expired began at least the shortest lifetime ago: see `_live`.
    """
    until = [] if spans is None else [SessionRow.created_at < func.now() - spans[0]]
    return [_shown().where(REVOKED, *revoked), _shown().where(EXPIRED, *until, *expired)]

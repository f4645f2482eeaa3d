"""The list of sessions: what it shows of them, and in which order (app/listing.py)."""

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import BigInteger, Select, bindparam, column, exists, func, or_, select, table, true

from app.errors import NotFound, ValidationFailed
from app.listing import Asked, Lists
from app.sessions.census import Analytics, Census
from app.sessions.filters import (
    CONDITIONS,
    EXPIRED,
    LIVE,
    LONGEST,
    REVOKED,
    SHORTEST,
    SessionFilter,
    conditions,
    expiry,
    meant,
    said,
)
from app.sessions.models import Session as SessionRow
from app.sessions.service import Sessions
from app.sessions.structs import Session, SessionList
from app.statements import SHAPES, Listing, Order, Statement

SessionSort = Literal["created_at", "-created_at", "last_accessed", "-last_accessed", "expires_at", "-expires_at"]

FIELDS = [name for name in Session.__struct_fields__ if name != "current"]
NAMES = table("user_names", column("id", BigInteger), column("username"))  # the view that identity keeps for others
KNOWN = Statement(select(exists().where(NAMES.c.id == bindparam("user_id", type_=BigInteger))))
ENDED = or_(REVOKED, EXPIRED)
# Of these words one index has the revoked and all others; of an address, a time or a factor each have their own.
ALIKE = CONDITIONS.keys() - {"ip", "created_before", "created_after", "factor"}


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
        if sort.removeprefix("-") == "last_accessed" and wanted.user_id is None:
            raise ValidationFailed(("sort", "by last_accessed is for the sessions of one user: name him by user_id"))
        about = msgspec.json.encode(("sessions", sort, wanted, active))
        filtered = said(wanted)
        begin = self._lists.begin(_order(sort), asked, about)
        async with self._lists.turn() as let_go, self._lists.reading() as snapshot:
            found = await meant(snapshot, filtered)
            listing = _listing(found.words, sort, active=active, behind=begin.behind)
            page = await self._lists.page(snapshot, listing, begin, found.values, let_go)
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
        async with self._lists.reading() as snapshot:
            found = await snapshot.value(KNOWN, {"user_id": user_id})
        if not found:
            raise NotFound


@cache
def _order(sort: SessionSort) -> Order:
    name = sort.removeprefix("-")
    return Order(getattr(SessionRow, name), SessionRow.id.expression, descending=name != sort)


@lru_cache(SHAPES)
def _listing(words: Sequence[str], sort: SessionSort, *, active: bool, behind: bool) -> Listing:
    """The list of those that are meant by these words."""
    order = _order(sort)
    all_of, kept = conditions(words), [*conditions(words), *expiry(words)]
    # In this order the index of those that are not revoked is entered where they may be live, or may have expired.
    since, until = (SessionRow.created_at > func.now() - LONGEST, SessionRow.created_at < func.now() - SHORTEST)
    if sort.removeprefix("-") != "created_at":
        since = until = true()
    if active:
        live = _shown().where(LIVE, since, *kept)
        return Listing(_shown().where(LIVE, *all_of), order, behind=behind, parts=[live])
    parts = [_shown().where(REVOKED, *all_of), _shown().where(EXPIRED, until, *kept)]
    ended = _shown().where(ENDED, *all_of)
    return Listing(ended, order, behind=behind, parts=parts, few=ended if ALIKE.issuperset(words) and words else None)


def _shown() -> Select[Any]:
    made = {
        "ip_address": func.host(SessionRow.ip_address),
        "username": select(NAMES.c.username).where(NAMES.c.id == SessionRow.user_id).scalar_subquery(),
    }
    return select(*(made[name] if name in made else getattr(SessionRow, name) for name in FIELDS))


def _entry(row: Sequence[Any], current: UUID) -> Session:
    shown = dict(zip(FIELDS, row, strict=True))
    return Session(**shown, current=shown["id"] == current)

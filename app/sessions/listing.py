"""The list of sessions: the one part of this room that writes statements with SQLAlchemy (app/listing.py)."""

import ipaddress
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from advanced_alchemy.filters import SearchFilter
from msgspec import Meta, Struct
from sqlalchemy import BigInteger, ColumnElement, Select, and_, case, cast, column, exists, func, select, table
from sqlalchemy.dialects.postgresql import INET

from app.client import address
from app.errors import NotFound, ValidationFailed
from app.listing import Asked, Lists, Order, Snapshot
from app.sessions.models import Session as SessionRow
from app.sessions.service import Sessions
from app.sessions.structs import Session, SessionList

SessionSort = Literal["created_at", "-created_at", "last_accessed", "-last_accessed", "expires_at", "-expires_at"]
Family = Literal["Desktop", "Mobile", "Tablet", "Bot", "Other"]

SORTS: Mapping[str, ColumnElement[Any]] = {
    "created_at": SessionRow.created_at.expression,
    "last_accessed": SessionRow.last_accessed.expression,
    "expires_at": SessionRow.expires_at.expression,
}
FIELDS = [name for name in Session.__struct_fields__ if name != "current"]
SEARCHED = {"device_name", "user_agent"}
NAMES = table("user_names", column("id", BigInteger), column("username"))  # the view that identity keeps for others

LIVE = and_(SessionRow.revoked_at.is_(None), SessionRow.expires_at > func.now())

# A family is told by the first of these patterns that the user agent fits, whatever its case.
FAMILIES: Mapping[Family, str] = {
    "Bot": r"bot|crawl|spider|curl|wget|python|headless|http-client|\+http",
    "Tablet": r"ipad|tablet|android(?!.*mobile)",
    "Mobile": r"mobi|iphone|ipod|android",
    "Desktop": r"windows|macintosh|linux|x11|cros",
}


OwnerId = Annotated[int, Meta(ge=1, le=2**63 - 1, description="The user's id. Below 2^53.")]
Network = Annotated[str, Meta(max_length=64, description="An address, or a network in CIDR notation.")]
Device = Annotated[str, Meta(max_length=255, description="A part of the device's name or of the user agent; any case.")]


class SessionFilter(Struct, frozen=True):
    """Which sessions to list; what is None makes no difference."""

    user_id: OwnerId | None
    ip: Network | None
    device: Device | None
    active: bool


class Analytics(Struct, frozen=True, kw_only=True):
    """Over all sessions there are, whatever the page shows. `by_device` are the live ones by family of user agent."""

    active_sessions: int
    active_users: int
    created_last_24h: int
    by_device: dict[Family, int]


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

    def __init__(self, lists: Lists, sessions: Sessions) -> None:
        self._lists = lists
        self._sessions = sessions

    async def page(self, wanted: SessionFilter, sort: SessionSort, asked: Asked, current: UUID) -> SessionPage:
        """A page of sessions, `current` among them marked.

        Raises:
            UseCursor, ValidationFailed: as they say.
        """
        statement = _statement(wanted)
        name = sort.removeprefix("-")
        order = Order(SORTS[name], SessionRow.id.expression, descending=name != sort)
        about = msgspec.json.encode(("sessions", sort, wanted))
        async with self._lists.reading() as snapshot:
            page = await self._lists.page(snapshot, statement, order, asked, about)
            analytics = await _analytics(snapshot)
        return SessionPage(
            items=[Session(**dict(zip(FIELDS, row, strict=True)), current=row[0] == current) for row in page.rows],
            total=page.total,
            total_exact=page.total_exact,
            page=page.number,
            page_size=asked.page_size,
            next_cursor=page.next_cursor,
            analytics=analytics,
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


def _statement(wanted: SessionFilter) -> Select[Any]:
    username = select(NAMES.c.username).where(NAMES.c.id == SessionRow.user_id).scalar_subquery()
    columns = {name: getattr(SessionRow, name, username) for name in FIELDS}
    columns["ip_address"] = func.host(SessionRow.ip_address)
    statement = select(*columns.values()).where(LIVE if wanted.active else ~LIVE)
    if wanted.user_id is not None:
        statement = statement.where(SessionRow.user_id == wanted.user_id)
    if wanted.ip is not None:
        statement = statement.where(SessionRow.ip_address.op("<<=")(cast(_network(wanted.ip), INET)))
    if wanted.device:
        if not wanted.device.isprintable():
            raise ValidationFailed(("device", "has characters that do not print"))
        found = SearchFilter(SEARCHED, wanted.device, ignore_case=True, escape_wildcards=True)
        statement = found.append_to_statement(statement, SessionRow)
    return statement


def _network(text: str) -> str:
    """An address or a network, as PostgreSQL reads it.

    Raises:
        ValidationFailed: it is neither.
    """
    try:
        return str(address(text) or ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise ValidationFailed(("ip", "is neither an address nor a network (CIDR)")) from None


async def _analytics(snapshot: Snapshot) -> Analytics:
    """Counted by PostgreSQL; user agents are put together before they are told apart, for there are few of them."""
    agents = select(SessionRow.user_agent, func.count().label("sessions")).where(LIVE)
    by_agent = agents.group_by(SessionRow.user_agent).subquery()
    fits = [(by_agent.c.user_agent.regexp_match(pattern, flags="i"), family) for family, pattern in FAMILIES.items()]
    family = case(*fits, else_="Other")
    families = select(family, func.sum(by_agent.c.sessions)).group_by(family)
    counted: dict[str, int] = {name: int(number) for name, number in await snapshot.rows(families)}
    users = select(func.count(SessionRow.user_id.distinct())).where(LIVE)
    recent = select(func.count()).where(SessionRow.created_at > func.now() - timedelta(hours=24))
    return Analytics(
        active_sessions=sum(counted.values()),
        active_users=await snapshot.value(users),
        created_last_24h=await snapshot.value(recent),
        by_device={name: counted.get(name, 0) for name in (*FAMILIES, "Other")},
    )

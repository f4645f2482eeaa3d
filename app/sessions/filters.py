"""Which sessions are meant: the same words, and the same conditions, for the list and for ending what it shows."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

from msgspec import Meta, Struct
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Interval,
    and_,
    any_,
    bindparam,
    cast,
    false,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, INET, TEXT

from app.asked import NetworkText, network, utc
from app.errors import ValidationFailed
from app.listing import PLANNING
from app.models import Time
from app.sessions.amr import Factor
from app.sessions.models import Session as SessionRow
from app.statements import Snapshot, Statement

# Different names of devices, and different user agents, that are looked through for a part of them: some 20 ms. Where
# there are more, people name their devices themselves, and the rows are looked through (docs/administration.md).
MOST_NAMES = 5_000

OwnerId = Annotated[int, Meta(ge=1, le=2**63 - 1, description="The user's id. Below 2^53.")]
Device = Annotated[str, Meta(max_length=255, description="A part of the device's name or of the user agent; any case.")]
BEFORE, AFTER = "Signed in before this time (RFC 3339, with `Z` or an offset).", "Signed in at this time or after it."
Before = Annotated[datetime, Meta(tz=True, description=BEFORE)]
After = Annotated[datetime, Meta(tz=True, description=AFTER)]
# Of a query, where Litestar would take a number of seconds for a time.
BeforeText = Annotated[str, Meta(max_length=40, description=BEFORE, extra_json_schema={"format": "date-time"})]
AfterText = Annotated[str, Meta(max_length=40, description=AFTER, extra_json_schema={"format": "date-time"})]
Shown = Annotated[
    Factor,
    Meta(
        description="How the user has shown who he is (RFC 8176): `pwd` password, `otp` code, `pop` passkey, `user` "
        "verified by it, `mfa` more than one factor, `fed` another provider, `offline` while GPUStack was away."
    ),
]


class SessionFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which sessions are meant: those that fit all of it; what is not said makes no difference."""

    user_id: OwnerId | None = None
    ip: NetworkText | None = None
    device: Device | None = None
    created_before: Before | None = None
    created_after: After | None = None
    factor: Shown | None = None


class Meant(Struct, frozen=True):
    """The sessions that are meant: `words`, each with a condition, and their values."""

    words: tuple[str, ...]
    values: Mapping[str, object]


def _named(column: Any) -> Statement:  # noqa: ANN401 - a mapped attribute
    """How many values a column has, to one beyond MOST_NAMES, and those that have a `device` in them.

    An index begins with it: a look into that for each value; the last is NULL.
    """
    first = select(func.min(column).label("value"), literal(1).label("number"))
    names = first.cte("names", recursive=True)
    following = select(column).where(column > names.c.value).order_by(column).limit(1)  # twice as fast as min()
    names = names.union_all(
        select(following.scalar_subquery(), names.c.number + 1).where(
            names.c.value.is_not(None), names.c.number <= MOST_NAMES
        )
    )
    fitting = func.array_agg(names.c.value).filter(names.c.value.ilike(DEVICE))
    return Statement(select(func.count(names.c.value), fitting))


def _lifetimes() -> Statement:
    """The shortest and the longest that a session, not revoked, was ever to last, in seconds."""
    lifetime = literal_column("extract(epoch FROM expires_at - created_at)::bigint", BigInteger)
    ends = (func.coalesce(each(lifetime), 0) for each in (func.min, func.max))
    return Statement(select(*ends).select_from(SessionRow).where(~REVOKED))


REVOKED = SessionRow.revoked_at.is_not(None)
EXPIRED = and_(SessionRow.revoked_at.is_(None), SessionRow.expires_at <= func.now())
LIVE = and_(SessionRow.revoked_at.is_(None), SessionRow.expires_at > func.now())

BEFORE_IT, AFTER_IT = (bindparam(name, type_=Time) for name in ("created_before", "created_after"))
SHORTEST, LONGEST = (bindparam(name, type_=Interval) for name in ("shortest", "longest"))  # lifetimes
DEVICE = bindparam("device", type_=TEXT)
ON_NAME, ON_AGENT = (
    column == any_(bindparam(column.key, type_=ARRAY(TEXT)))
    for column in (SessionRow.device_name, SessionRow.user_agent)
)
CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    "user_id": SessionRow.user_id == bindparam("user_id", type_=BigInteger),
    "ip": SessionRow.ip_address.op("<<=")(cast(bindparam("ip", type_=INET), INET)),  # an index has it as a range
    "created_before": SessionRow.created_at < BEFORE_IT,
    "created_after": SessionRow.created_at >= AFTER_IT,
    "factor": SessionRow.amr.contains(bindparam("factor", type_=ARRAY(TEXT))),
    "device": or_(SessionRow.device_name.ilike(DEVICE), SessionRow.user_agent.ilike(DEVICE)),
    "device_name": ON_NAME,
    "user_agent": ON_AGENT,
    "device_name or user_agent": or_(ON_NAME, ON_AGENT),
    "no device": false(),
}
EXPIRY: Mapping[str, ColumnElement[bool]] = {
    "created_before": SessionRow.expires_at < BEFORE_IT + LONGEST,
    "created_after": SessionRow.expires_at >= AFTER_IT + SHORTEST,
}
LIFETIMES = _lifetimes()
NAMED = {column.key: _named(column) for column in (SessionRow.device_name, SessionRow.user_agent)}
AS_LISTS_DO = Statement(select(*(func.set_config(name, value, true()) for name, value in PLANNING.items())))


def said(wanted: SessionFilter) -> Mapping[str, object]:
    """What a filter says, by its words.

    Raises:
        ValidationFailed: one does not mean anything.
    """
    values: dict[str, object] = {}
    if wanted.user_id is not None:
        values["user_id"] = wanted.user_id
    if wanted.ip is not None:
        values["ip"] = str(network(wanted.ip))
    if wanted.created_before is not None:
        values["created_before"] = utc(wanted.created_before, "created_before")
    if wanted.created_after is not None:
        values["created_after"] = utc(wanted.created_after, "created_after")
    if wanted.factor is not None:
        values["factor"] = [wanted.factor]
    if wanted.device:
        if not wanted.device.isprintable():
            raise ValidationFailed(("device", "has characters that do not print"))
        values["device"] = "%{}%".format(wanted.device.translate({ord(char): f"\\{char}" for char in "\\%_"}))
    return values


async def meant(snapshot: Snapshot, filtered: Mapping[str, object]) -> Meant:
    """The same of the sessions that there are: a device by the names that it has, and how long sessions last."""
    words, values = tuple(word for word in filtered if word != "device"), dict(filtered)
    if "device" in filtered:
        word, names = await _device(snapshot, filtered)
        words += (word,)
        values |= names
    ((shortest, longest),) = await snapshot.rows(LIFETIMES)
    values["shortest"], values["longest"] = timedelta(seconds=shortest - 1), timedelta(seconds=longest + 1)  # rounded
    return Meant(words, values)


def conditions(words: Iterable[str]) -> list[ColumnElement[bool]]:
    """What is so of the rows that are meant."""
    return [CONDITIONS[word] for word in words]


def expiry(words: Iterable[str]) -> list[ColumnElement[bool]]:
    """When those that began in the time asked for expire, unless they are revoked: there is an index on that, too."""
    return [EXPIRY[word] for word in words if word in EXPIRY]


def live(words: Iterable[str]) -> list[ColumnElement[bool]]:
    """What is so of the live ones among those that are meant."""
    return [LIVE, *conditions(words), *expiry(words)]


async def plan_by_indexes(snapshot: Snapshot) -> None:
    """Until the transaction ends, look for rows as lists do.

    PostgreSQL would look for them from the beginning of the table, where the oldest sessions are, all of them ended.
    """
    await snapshot.value(AS_LISTS_DO)


async def _device(snapshot: Snapshot, values: Mapping[str, object]) -> tuple[str, Mapping[str, object]]:
    """Millions of sessions are on some hundred devices: these are looked through, and found by their whole names."""
    found = {}
    for name, statement in NAMED.items():
        ((number, names),) = await snapshot.rows(statement, values)
        if number > MOST_NAMES:
            return "device", {}
        if names:
            found[name] = names
    return " or ".join(found) or "no device", found

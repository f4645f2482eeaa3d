"""Which sessions are meant: the same words, and the same conditions, for the list and for ending what it shows."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from msgspec import Meta, Struct
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    and_,
    any_,
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
from app.listing import PLANNING, Snapshot
from app.models import Time
from app.sessions.amr import Factor
from app.sessions.models import Session as SessionRow

# Different names of devices, and different user agents, that are looked through for a part of them: some 20 ms. Where
# there are more, people name their devices themselves, and the rows are looked through (docs/administration.md).
MOST_NAMES = 5_000

REVOKED = SessionRow.revoked_at.is_not(None)
EXPIRED = and_(SessionRow.revoked_at.is_(None), SessionRow.expires_at <= func.now())
LIVE = and_(SessionRow.revoked_at.is_(None), SessionRow.expires_at > func.now())

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


async def conditions(snapshot: Snapshot, wanted: SessionFilter) -> list[ColumnElement[bool]]:
    """What is so of the rows that are meant.

    Raises:
        ValidationFailed: a word does not mean anything.
    """
    found: list[ColumnElement[bool]] = []
    if wanted.user_id is not None:
        found.append(SessionRow.user_id == wanted.user_id)
    if wanted.ip is not None:
        found.append(SessionRow.ip_address.op("<<=")(cast(str(network(wanted.ip)), INET)))  # an index has it as a range
    if wanted.created_before is not None:
        found.append(SessionRow.created_at < utc(wanted.created_before, "created_before"))
    if wanted.created_after is not None:
        found.append(SessionRow.created_at >= utc(wanted.created_after, "created_after"))
    if wanted.factor is not None:
        found.append(SessionRow.amr.contains([wanted.factor]))
    if wanted.device:
        found.append(await _device(snapshot, wanted.device))
    return found


async def plan_by_indexes(snapshot: Snapshot) -> None:
    """Until the transaction ends, look for rows as lists do.

    PostgreSQL would look for them from the beginning of the table, where the oldest sessions are, all of them ended.
    """
    await snapshot.value(select(*(func.set_config(name, value, true()) for name, value in PLANNING.items())))


async def lifetimes(snapshot: Snapshot) -> tuple[timedelta, timedelta]:
    """The shortest and the longest that a session, not revoked, was ever to last."""
    lifetime = literal_column("extract(epoch FROM expires_at - created_at)::bigint", BigInteger)
    ends = (func.coalesce(each(lifetime), 0) for each in (func.min, func.max))
    ((shortest, longest),) = await snapshot.rows(select(*ends).select_from(SessionRow).where(~REVOKED))
    return timedelta(seconds=shortest - 1), timedelta(seconds=longest + 1)  # they are rounded


def expiry(wanted: SessionFilter, spans: tuple[timedelta, timedelta]) -> list[ColumnElement[bool]]:
    """When those that began in the time asked for expire, unless they are revoked: there is an index on that, too."""
    shortest, longest = spans
    found: list[ColumnElement[bool]] = []
    if wanted.created_before is not None:
        found.append(SessionRow.expires_at < literal(utc(wanted.created_before, "created_before"), Time) + longest)
    if wanted.created_after is not None:
        found.append(SessionRow.expires_at >= literal(utc(wanted.created_after, "created_after"), Time) + shortest)
    return found


async def live(snapshot: Snapshot, wanted: SessionFilter) -> list[ColumnElement[bool]]:
    """What is so of the live ones among those that are meant.

    Raises:
        ValidationFailed: a word does not mean anything.
    """
    return [LIVE, *await conditions(snapshot, wanted), *expiry(wanted, await lifetimes(snapshot))]


async def _device(snapshot: Snapshot, part: str) -> ColumnElement[bool]:
    """Millions of sessions are on some hundred devices: these are looked through, and found by their whole names.

    Raises:
        ValidationFailed: no device has such a name.
    """
    if not part.isprintable():
        raise ValidationFailed(("device", "has characters that do not print"))
    pattern = "%{}%".format(part.translate({ord(char): f"\\{char}" for char in "\\%_"}))
    columns: Sequence[Any] = (SessionRow.device_name, SessionRow.user_agent)
    named = [await _names(snapshot, each, pattern) for each in columns]
    if any(names is None for names in named):
        return or_(*(each.ilike(pattern) for each in columns))
    alike = [each == any_(literal(names, ARRAY(TEXT))) for each, names in zip(columns, named, strict=True) if names]
    return or_(*alike) if alike else false()


async def _names(snapshot: Snapshot, of: Any, pattern: str) -> list[str] | None:  # noqa: ANN401 - a mapped attribute
    """The values of an indexed column that fit, a look into the index each; None if there are more than MOST_NAMES."""
    names = select(func.min(of).label("name"), literal(1).label("number")).cte("names", recursive=True)
    following = select(of).where(of > names.c.name).order_by(of).limit(1).scalar_subquery()  # twice as fast as min()
    names = names.union_all(
        select(following, names.c.number + 1).where(names.c.name.is_not(None), names.c.number <= MOST_NAMES)
    )
    fitting = func.array_agg(names.c.name).filter(names.c.name.ilike(pattern))
    ((number, found),) = await snapshot.rows(select(func.count(names.c.name), fitting))
    return None if number > MOST_NAMES else found or []

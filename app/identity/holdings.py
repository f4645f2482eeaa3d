"""What is held on a user: all of it for himself, and how he signs in for whoever looks after accounts."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from types import GenericAlias
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from app.audit.activity import ActivityItem, ActivityPage, activity
from app.database import Database
from app.errors import NotFound
from app.identity import queries
from app.identity.entry import People
from app.identity.identities import Identity
from app.identity.passkeys import Passkey
from app.identity.structs import User
from app.keys.cursors import Cursors
from app.proofs import queries as proofs
from app.sessions.structs import Session, Time

EVENTS_A_QUERY = 1000  # of an export: some hundred kB at a time
EVENT = GenericAlias(tuple, (int,))  # the last one of a page: what a cursor says

Section = Callable[[int], Awaitable[Any]]


class HeldFactor(Struct, frozen=True, kw_only=True):
    """What is held of a second factor, but for its secret."""

    totp_since: Annotated[Time | None, Meta(description="When the authenticator was confirmed.")]
    recovery_codes: Annotated[int, Meta(description="How many are left; the codes themselves are not held.")]


class UserCredentials(Struct, frozen=True, kw_only=True):
    """How a user can show who he is, but for every secret."""

    has_password: bool
    second_factor: HeldFactor
    passkeys: list[Passkey]
    identities: list[Identity]


class Export(Struct, frozen=True, kw_only=True):
    """Everything that is held on a user."""

    exported_at: Time
    user: User
    pending_email: Annotated[str | None, Meta(description="The address that waits to be proved.")]
    second_factor: HeldFactor
    passkeys: list[Passkey]
    identities: list[Identity]
    sessions: Annotated[list[Session], Meta(description="The ended ones too; at most the newest 10,000.")]
    preferences: dict[str, Any]
    activity: list[ActivityItem]


class Holdings:
    """Reads everything of a user.

    Args:
        db: where it is.
        people: for the user himself.
        cursors: of his activity.
        sections: what other rooms hold, by the name in the document.
    """

    def __init__(self, db: Database, people: People, cursors: Cursors, sections: Mapping[str, Section]) -> None:
        self._db = db
        self._people = people
        self._cursors = cursors
        self._sections = sections

    async def activity(self, user_id: int, cursor: str | None, page_size: int) -> ActivityPage:
        """What happened to a user, from where the cursor says.

        Raises:
            ValidationFailed: the cursor is none of his.
        """
        about = b"activity %d" % user_id
        before = None if cursor is None else self._cursors.open(about, cursor, EVENT)[0]
        items, last = await activity(self._db, user_id, before, page_size)
        return ActivityPage(items=items, next_cursor=None if last is None else self._cursors.seal(about, (last,)))

    async def credentials(self, user_id: int) -> UserCredentials:
        """Raises NotFound: there is no such user."""
        row = await queries.by_id(self._db, user_id)
        if row is None:
            raise NotFound
        read = self._sections
        return UserCredentials(
            has_password=row["password_hash"] is not None,
            second_factor=await read["second_factor"](user_id),
            passkeys=await read["passkeys"](user_id),
            identities=await read["identities"](user_id),
        )

    async def export(self, user_id: int) -> AsyncIterator[bytes]:
        """An `Export` in pieces; all but the activity, which may be long, is read before the first.

        Raises:
            NotFound: there is no such user.
        """
        row = await queries.by_id(self._db, user_id)
        if row is None:
            raise NotFound
        held: dict[str, object] = {
            "exported_at": datetime.now(UTC),
            "user": await self._people.show(queries.entry(row)),
            "pending_email": await proofs.newest_email(self._db, user_id),
            **{name: await read(user_id) for name, read in self._sections.items()},
        }
        return self._pieces(user_id, msgspec.json.encode(held))

    async def _pieces(self, user_id: int, head: bytes) -> AsyncIterator[bytes]:
        yield head.removesuffix(b"}") + b',"activity":['
        last, separator = None, b""
        while True:
            items, last = await activity(self._db, user_id, last, EVENTS_A_QUERY, with_acts=True)
            for item in items:
                yield separator + msgspec.json.encode(item)
                separator = b","
            if last is None:
                yield b"]}"
                return

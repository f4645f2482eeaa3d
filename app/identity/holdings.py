"""What is held on a user, for himself."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from app.audit.activity import ActivityItem, ActivityPage, activity
from app.database import Database
from app.errors import NotFound
from app.identity import queries
from app.identity.entry import People
from app.identity.passkeys import Passkey
from app.identity.structs import User
from app.proofs import queries as proofs
from app.sessions.structs import Session, Time

EVENTS_A_QUERY = 1000  # of an export: some hundred kB at a time

Section = Callable[[int], Awaitable[object]]


class HeldFactor(Struct, frozen=True, kw_only=True):
    """What is held of a second factor, but for its secret."""

    totp_since: Annotated[Time | None, Meta(description="When the authenticator was confirmed.")]
    recovery_codes: Annotated[int, Meta(description="How many are left; the codes themselves are not held.")]


class Export(Struct, frozen=True, kw_only=True):
    """Everything that is held on a user."""

    exported_at: Time
    user: User
    pending_email: Annotated[str | None, Meta(description="The address that waits to be proved.")]
    second_factor: HeldFactor
    passkeys: list[Passkey]
    sessions: Annotated[list[Session], Meta(description="The ended ones too; at most the newest 10,000.")]
    preferences: dict[str, Any]
    activity: list[ActivityItem]


class Holdings:
    """Reads everything of a user.

    Args:
        db: where it is.
        people: for the user himself.
        sections: what other rooms hold, by the name in the document.
    """

    def __init__(self, db: Database, people: People, sections: Mapping[str, Section]) -> None:
        self._db = db
        self._people = people
        self._sections = sections

    async def activity(self, user_id: int, cursor: str | None, page_size: int) -> ActivityPage:
        return await activity(self._db, user_id, cursor, page_size)

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
        cursor, separator = None, b""
        while True:
            page = await activity(self._db, user_id, cursor, EVENTS_A_QUERY, with_acts=True)
            for item in page.items:
                yield separator + msgspec.json.encode(item)
                separator = b","
            cursor = page.next_cursor
            if cursor is None:
                yield b"]}"
                return

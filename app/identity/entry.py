"""The user's entry of the cache, read and composed with the role table; what `/me` answers."""

from collections.abc import Sequence

import msgspec

from app.cache.entries import Entries
from app.identity.rights import RoleTable
from app.identity.structs import CachedUser, User, UserEntry
from app.sessions import amr
from app.sessions.structs import ADMIN, RIGHTS_KEY, user_key

decode = msgspec.msgpack.Decoder(CachedUser).decode


class People:
    """Reads people as the cache's rules allow: as good as PostgreSQL, mostly without it."""

    def __init__(self, entries: Entries, rights: RoleTable) -> None:
        self._entries = entries
        self._rights = rights

    async def get(self, user_id: int, ways: Sequence[str] = ()) -> User | None:
        """The person, with what his roles allow in a session that was opened in these ways; None if there is none.

        Raises:
            Unavailable: neither store can tell.
        """
        key = user_key(user_id)
        found = await self._entries.get((key, RIGHTS_KEY))
        await self._catch_up(found[RIGHTS_KEY] or b"")
        raw = found[key] or b""
        person = _read(raw)
        if raw and (person is None or person.id != user_id or not self._rights.fits(person)):
            person = _read(await self._entries.renew(key, raw))
        return self._shown(person, ways) if person is not None and person.id == user_id else None

    async def show(self, person: UserEntry, ways: Sequence[str] = ()) -> User:
        """A person read from PostgreSQL just now, with what his roles allow in a session that was opened in these ways.

        Without any it is somebody else who looks.
        """
        await self._look_at_rights()
        return self._shown(person, ways)

    async def show_all(self, people: Sequence[UserEntry]) -> list[User]:
        """People read from PostgreSQL just now, with what their roles allow: for somebody else who looks."""
        await self._look_at_rights()
        return [self._shown(person, ()) for person in people]

    def _shown(self, person: UserEntry, ways: Sequence[str]) -> User:
        if amr.OFFLINE in ways:
            person = person.without(ADMIN)
        return person.shown(self._rights.of(person.roles))

    async def _look_at_rights(self) -> None:
        found = await self._entries.get((RIGHTS_KEY,))
        await self._catch_up(found[RIGHTS_KEY] or b"")

    async def _catch_up(self, snapshot: bytes) -> None:
        if snapshot != self._rights.snapshot:
            await self._rights.reload(snapshot)


def _read(raw: bytes) -> CachedUser | None:
    try:
        return decode(raw) if raw else None
    except msgspec.MsgspecError:
        return None

"""The user's entry of the cache, read and composed with the role table; what `/me` answers."""

import msgspec

from app.cache.entries import Entries
from app.identity.rights import RoleTable
from app.identity.structs import User, UserEntry
from app.sessions.structs import RIGHTS_KEY, user_key

decode = msgspec.msgpack.Decoder(UserEntry).decode


class People:
    """Reads people as the cache's rules allow: as good as PostgreSQL, mostly without it."""

    def __init__(self, entries: Entries, rights: RoleTable) -> None:
        self._entries = entries
        self._rights = rights

    async def get(self, user_id: int) -> User | None:
        """The person, with what his roles allow; None if there is none.

        Raises:
            Unavailable: neither store can tell.
        """
        key = user_key(user_id)
        found = await self._entries.get((key, RIGHTS_KEY))
        await self._catch_up(found[RIGHTS_KEY] or b"")
        raw = found[key] or b""
        person = _read(raw)
        if raw and (person is None or person.id != user_id):
            person = _read(await self._entries.renew(key, raw))
        return person.shown(self._rights.of(person.roles)) if person is not None and person.id == user_id else None

    async def show(self, person: UserEntry) -> User:
        """A person read from PostgreSQL just now, with what his roles allow."""
        found = await self._entries.get((RIGHTS_KEY,))
        await self._catch_up(found[RIGHTS_KEY] or b"")
        return person.shown(self._rights.of(person.roles))

    async def _catch_up(self, snapshot: bytes) -> None:
        if snapshot != self._rights.snapshot:
            await self._rights.reload(snapshot)


def _read(raw: bytes) -> UserEntry | None:
    try:
        return decode(raw) if raw else None
    except msgspec.MsgspecError:
        return None

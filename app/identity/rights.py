"""The role table of a process: what a set of roles may do, reloaded when its number in the cache is newer."""

import asyncio
from collections.abc import Mapping, Sequence

from app.cache.entries import Truth
from app.database import Database
from app.identity import queries


class RoleTable:
    """A copy of the whole table; it is small and seldom changes, and its number tells when it has."""

    def __init__(self, db: Database) -> None:
        self.snapshot = b""
        self._db = db
        self._permissions: dict[str, frozenset[str]] = {}
        self._sets: dict[tuple[str, ...], frozenset[str]] = {}
        self._loading = asyncio.Lock()

    def of(self, roles: list[str]) -> frozenset[str]:
        """What these roles may do together; a role that is no more may do nothing."""
        key = tuple(roles)
        found = self._sets.get(key)
        if found is None:
            found = frozenset().union(*(self._permissions.get(role, frozenset()) for role in roles))
            self._sets[key] = found
        return found

    async def reload(self, snapshot: bytes) -> None:
        """Have at least the table of this number.

        Raises:
            Unavailable: PostgreSQL cannot say what the roles may do now.
        """
        async with self._loading:
            if self.snapshot == snapshot:
                return
            number, permissions = await queries.role_table(self._db)
            self._permissions = permissions
            self._sets = {}
            self.snapshot = number


async def truths(db: Database, _: Sequence[str]) -> Mapping[str, Truth]:
    """The number of the table, for the cache."""
    return {"table": Truth(await queries.role_table_number(db))}

"""The role table of a process: what a set of roles may do, reloaded when its number in the cache is newer."""

import asyncio
from collections.abc import Mapping, Sequence

from app.cache.entries import Truth
from app.database import Database
from app.identity import queries
from app.identity.structs import CachedUser

REMEMBERED_SETS = 10_000  # of roles that people hold together; of a hundred permissions each they are some 50 MB


class RoleTable:
    """A copy of the whole table; it is small and seldom changes, and its number tells when it has."""

    def __init__(self, db: Database) -> None:
        self.snapshot = b""
        self._db = db
        self._permissions: dict[str, frozenset[str]] = {}
        self._made: dict[str, int] = {}  # microseconds since 1970
        self._sets: dict[tuple[str, ...], frozenset[str]] = {}
        self._loading = asyncio.Lock()

    def of(self, roles: list[str]) -> frozenset[str]:
        """What these roles may do together; a role that is no more may do nothing."""
        key = tuple(roles)
        found = self._sets.get(key)
        if found is None:
            found = frozenset().union(*(self._permissions.get(role, frozenset()) for role in roles))
            if len(self._sets) >= REMEMBERED_SETS:
                self._sets = {}
            self._sets[key] = found
        return found

    def fits(self, person: CachedUser) -> bool:
        """Whether the roles that this entry names are the ones that have these names now.

        A role that is renamed or deleted leaves the entries of those who had it as they are: it may be a million of
        them. So an entry tells a role by its name and when it was made, and is read anew where that is not so any more.
        """
        return [self._made.get(role) for role in person.roles] == person.roles_made

    async def reload(self, snapshot: bytes | None = None) -> None:
        """Have at least the table of this number, or else of this moment.

        Raises:
            Unavailable: PostgreSQL cannot say what the roles may do now.
        """
        async with self._loading:
            if self.snapshot == snapshot:
                return
            number, rows = await queries.role_table(self._db)
            self._permissions = {row["name"]: frozenset(row["permissions"]) for row in rows}
            self._made = {row["name"]: row["made"] for row in rows}
            self._sets = {}
            self.snapshot = number


async def truths(db: Database, _: Sequence[str]) -> Mapping[str, Truth]:
    """The number of the table, for the cache."""
    return {"table": Truth(await queries.role_table_number(db))}

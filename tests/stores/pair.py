"""Two replicas of the service on the same stores, in this process."""

from dataclasses import dataclass

from app.cache.entries import Found
from tests.kit import SignedIn, log_in, register
from tests.replica import Replica


@dataclass
class Pair:
    """Two replicas of the service, and how they are asked."""

    here: Replica
    there: Replica

    async def statuses(self, session: SignedIn) -> list[int]:
        """What `/me` answers at both."""
        return [(await session.ask("GET", "/me", at=each.client)).status_code for each in (self.here, self.there)]

    def connected(self) -> bool:
        return all(each.parts.entries.links.current is not None for each in (self.here, self.there))

    async def by_valkey(self, session: SignedIn) -> bool:
        """Whether both take this session's entry from there."""
        found = [await each.parts.entries.get([f"s:{session.id}"]) for each in (self.here, self.there)]
        return all(each.source == Found.source for each in found)

    async def later(self) -> None:
        """As if the last epoch had been granted long ago."""
        await self.here.parts.db.execute("UPDATE cache_epoch SET granted_at = '-infinity'")

    async def epoch(self) -> int:
        (row,) = await self.here.parts.db.fetch("SELECT epoch FROM cache_epoch")
        return int(row["epoch"])


async def signed_in(pair: Pair) -> SignedIn:
    session = await log_in(pair.here.client, await register(pair.here.client))
    assert await pair.statuses(session) == [200, 200]
    return session

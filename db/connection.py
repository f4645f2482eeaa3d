"""The way to the database that is migrated, granted or restored."""

from typing import Any, Protocol

CONNECT_TIMEOUT = 10  # seconds until a database that does not answer is called unreachable


class Connection(Protocol):
    """What asyncpg's connections, pooled or not, have in common."""

    async def fetchval(self, query: str, *args: object) -> Any: ...  # noqa: ANN401 - as the statement says
    async def fetch(self, query: str, *args: object) -> Any: ...  # noqa: ANN401 - as the statement says

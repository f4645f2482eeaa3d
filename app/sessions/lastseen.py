"""When sessions were last seen: collected in memory, written in one statement every few seconds."""

import asyncio
import time

import asyncpg
import structlog

from app.background import end
from app.database import Database
from app.errors import Unavailable
from app.sessions import queries

log = structlog.get_logger(__name__)

WRITE_INTERVAL = 5.0  # seconds; nobody needs to know it finer
MOST = 5_000  # sessions a statement


class LastSeen:
    """Loses at most WRITE_INTERVAL of news when a process dies: it is a convenience, not a promise."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._seen: dict[str, float] = {}
        self._writer: asyncio.Task[None] | None = None

    def note(self, session_id: str) -> None:
        self._seen[session_id] = time.monotonic()

    def start(self) -> None:
        self._writer = asyncio.create_task(self._keep_writing())

    async def stop(self) -> None:
        await end(self._writer)
        await self.write()

    async def _keep_writing(self) -> None:
        while True:
            await asyncio.sleep(WRITE_INTERVAL)
            await self.write()

    async def write(self) -> None:
        seen, self._seen = self._seen, {}
        now = time.monotonic()
        news = list(seen.items())
        try:
            for start in range(0, len(news), MOST):
                await queries.touch(self._db, {sid: now - at for sid, at in news[start : start + MOST]})
        except (Unavailable, asyncpg.PostgresError) as error:
            log.warning("last_seen.not_written", sessions=len(news), reason=repr(error)[:200])

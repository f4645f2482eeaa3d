"""Refusals by a limit: counted each time, audited once a key and window, so that an attacker cannot fill the trail."""

import time
from collections.abc import Sequence

from valkey.exceptions import ResponseError

from app.audit.events import Event, record
from app.cache.link import Links, ValkeyAway
from app.client import Client
from app.database import Database
from app.errors import RateLimited, Unavailable
from app.limits.attempts import Counter
from app.limits.counters import digest
from app.metrics import Metrics

REMEMBERED = 10_000  # keys a process while Valkey is away


class Violations:
    """Notes who was refused."""

    def __init__(self, db: Database, links: Links, metrics: Metrics) -> None:
        self._db = db
        self._links = links
        self._metrics = metrics
        self._noted: dict[str, float] = {}

    async def note(
        self, limited: RateLimited, counters: Sequence[Counter], client: Client, user_id: int | None
    ) -> None:
        """Count the refusal, and audit it if it is the first of this key in its window."""
        self._metrics.rate_limited(limited.limit)
        counter = next(counter for counter in counters if counter.name == limited.limit)
        seconds = counter.rate.seconds if counter.rate else 0
        if not await self._is_first(f"gatehouse:limited:{counter.name}:{digest(counter.key)}", seconds):
            return
        try:
            async with self._db.transaction() as tx:
                details = {"limit": limited.limit}
                await record(tx, Event.RATE_LIMITED, client, user_id=user_id, details=details, forget_deleted=True)
        except Unavailable:
            return  # the refusal is the answer, with or without its row

    async def _is_first(self, key: str, seconds: int) -> bool:
        try:
            async with self._links.use() as link:
                return bool(await link.at(key).set(key, b"", nx=True, ex=max(1, seconds)))
        except (ValkeyAway, ResponseError):
            now = time.monotonic()
            if self._noted.get(key, 0.0) > now:
                return False
            if len(self._noted) >= REMEMBERED:
                self._noted.clear()
            self._noted[key] = now + seconds
            return True

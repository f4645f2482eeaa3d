"""What a provider publishes of itself, read by one of a process for all, and kept."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from app.federation.answers import ProviderUnusable

KEEP_SECONDS = 3600.0  # that it is good for, and a key that was taken back; one that is not known is looked for at once
AWAY_SECONDS = 2.0  # that nobody asks again for what could not be read

T = TypeVar("T")


class Published(Generic[T]):
    """One document. Who comes while it is read waits for it; another document keeps nobody waiting."""

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        self._one = asyncio.Lock()
        self._found: T | None = None
        self._read_at = 0.0
        self._away_until = 0.0

    async def get(self, newer_than: float | None = None) -> T:
        """The document, at most an hour old, or at most so many seconds.

        Raises:
            ProviderUnusable: it cannot be read, or could not a moment ago.
        """
        async with self._one:
            most = KEEP_SECONDS if newer_than is None else newer_than
            if self._found is None or time.monotonic() - self._read_at > most:
                if time.monotonic() < self._away_until:
                    raise ProviderUnusable("what it publishes could not be read a moment ago")
                try:
                    self._found = await self._read()
                except BaseException:  # who could wait no longer is cancelled
                    self._away_until = time.monotonic() + AWAY_SECONDS
                    raise
                self._read_at = time.monotonic()
            return self._found

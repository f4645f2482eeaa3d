"""Many lookups, one call: whoever asks while a call is under way travels together in the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

from app.background import end

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Batch(Generic[K, T]):
    """Gathers keys and loads them, one call in flight at a time.

    A lookup joins only a call that has not been sent: an answer that was already on its way when a request began may be
    older than a change that was acknowledged before it (docs/decisions/0001-cache.md, C1). A call that fails releases
    everybody, also those who wait for the next one, so that nobody pays for two timeouts (C10).
    """

    def __init__(self, load: Callable[[list[K]], Awaitable[T]], *, most: int) -> None:
        self._load = load
        self._most = most  # keys a call; what is above it travels in the call after
        self._waiting: list[tuple[asyncio.Future[T], Sequence[K]]] = []
        self._running: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def get(self, keys: Sequence[K]) -> "asyncio.Future[T]":
        """What `load` finds under these keys (among others); its error if it fails."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()  # a system call each time, up to Python 3.11
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.append((future, keys))
        if self._running is None:
            self._running = loop.create_task(self._run())
        return future

    async def _run(self) -> None:
        futures: list[asyncio.Future[T]] = []
        try:
            while self._waiting:
                futures, keys = self._take()
                found = await self._load(keys)
                for future in futures:
                    if not future.done():
                        future.set_result(found)
        except Exception as error:  # noqa: BLE001 - it is handed to everybody who waits
            futures += [future for future, _ in self._waiting]
            self._waiting.clear()
            for future in futures:
                if not future.done():
                    future.set_exception(error)
            futures.clear()  # they hold the error, and its traceback this frame
        except asyncio.CancelledError:
            for future in [*futures, *(future for future, _ in self._waiting)]:
                future.cancel()
            self._waiting.clear()
            raise
        finally:
            self._running = None

    def _take(self) -> tuple[list[asyncio.Future[T]], list[K]]:
        keys: dict[K, None] = {}
        futures = []
        taken = 0
        for future, wanted in self._waiting:
            if taken and len(keys) + len(wanted) > self._most:
                break
            taken += 1
            if not future.done():  # its caller has gone
                futures.append(future)
                for key in wanted:
                    keys[key] = None
        del self._waiting[:taken]
        return futures, list(keys)

    async def stop(self) -> None:
        """Cancel what is under way, and whoever waits for it."""
        await end(self._running)

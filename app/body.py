"""A request's body on its way in: it has to make progress, and what nobody reads of it is dropped."""

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from litestar.types import Receive

from app.deadlines import Deadlines
from app.errors import AppError, ClientGone, Overloaded

T = TypeVar("T")

UNKNOWN_LENGTH = -1  # of a body that comes in chunks
MAX_HELD_BYTES = 64 * 1024 * 1024  # of a process: sixty of the longest at once
MAX_DRAINED_BYTES = 8 * 1024 * 1024  # what a client that does not know the limit may have begun to send
MAX_DRAIN_SECONDS = 5.0
MAX_BODY_SECONDS = 120.0  # for all of it: 1 MiB over a line of 70 kbit/s
MAX_STREAM_SECONDS = 3600.0  # for one that is worked on as it comes: 100,000 passwords to be hashed
MAX_STALL_SECONDS = 30.0  # without a byte of the body; a sign-in over a bad line pauses for less


class BodyStalled(AppError):
    """The client stopped sending; the connection is closed after the answer (RFC 9110 §15.5.9)."""

    status = 408
    code = "request_timeout"
    title = "The request body did not come."

    def __init__(self) -> None:
        super().__init__(headers={"Connection": "close"})


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Do the work for a client whose body has come; cancel it once he has gone.

    Raises:
        ClientGone: he has, before it was done.
    """
    task, gone = asyncio.create_task(work), asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            raise ClientGone from None
    finally:
        task.cancel()
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Held:
    """How many bytes of bodies that are under way this process holds: 10,000 connections could bring 10 GB."""

    def __init__(self) -> None:
        self.size = 0


class Body:
    """The `receive` of one request.

    A client that is answered before its body was read would see a cut connection instead of the answer, so what is left
    of it is read and dropped, up to bounds, before the answer ends.

    One that is `streamed` is worked on while it comes: it may take long in all, and is never held as a whole.
    """

    def __init__(
        self,
        receive: Receive,
        deadlines: Deadlines,
        held: Held,
        length: int = UNKNOWN_LENGTH,
        *,
        streamed: bool = False,
    ) -> None:
        self._receive = receive
        self._held = held
        self._size = 0  # of what is held of this one
        self._to_come = length  # bytes; below 0 where they were not announced
        self._deadlines = deadlines
        self._more = True
        self._streamed = streamed
        self._until = time.monotonic() + (MAX_STREAM_SECONDS if streamed else MAX_BODY_SECONDS)

    async def __call__(self) -> Any:  # noqa: ANN401 - ASGI's messages
        if not self._more:
            return await self._receive()  # the end of the connection, for who waits for that
        if self._streamed:
            self.release()  # who asks for more is done with what came
        try:
            with self._deadlines.within(min(MAX_STALL_SECONDS, self._until - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            self._more = False
            raise BodyStalled from None
        self._more = message["type"] == "http.request" and message.get("more_body", False)
        if message["type"] == "http.request":
            size = len(message.get("body", b""))
            self._hold(size)
            if self._more and size == self._to_come:  # Granian says only with the next message that this was the last
                self._more = message["more_body"] = False
            self._to_come -= size
        return message

    def _hold(self, size: int) -> None:
        """Raises Overloaded where there is no room for as much."""
        self._size += size
        self._held.size += size
        if self._held.size > MAX_HELD_BYTES:
            raise Overloaded

    def release(self) -> None:
        """Nothing of it is held any more."""
        self._held.size -= self._size
        self._size = 0

    async def drain(self) -> None:
        self.release()
        if not self._more:
            return
        left = MAX_DRAINED_BYTES
        with suppress(TimeoutError, BodyStalled, Overloaded):
            async with asyncio.timeout(MAX_DRAIN_SECONDS):
                while self._more and left > 0:
                    message = await self()
                    self.release()
                    left -= len(message.get("body", b""))
        self.release()

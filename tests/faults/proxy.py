"""A TCP proxy that can fail: one for every replica and store, so that one replica alone loses a store."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum

from tests.listener import Listener

Address = tuple[str, int]

CHUNK_BYTES = 65_536


class Mode(Enum):
    """What a proxy does with the bytes that it is given."""

    PASS = "pass"
    CUT = "cut"  # connections are reset, new ones too as soon as they are made
    HANG = "hang"  # accepts, forwards nothing; what was sent arrives when the mode ends, as from a network that stalled
    MUTE = "mute"  # requests arrive, answers do not until the mode ends
    SLOW = "slow"  # every piece is late


class _Gate:
    """One direction of one connection."""

    def __init__(self, proxy: "Proxy", *, answers: bool) -> None:
        self._proxy = proxy
        self._answers = answers

    async def passes(self) -> None:
        proxy = self._proxy
        if not self._answers:
            proxy.requests += 1
            proxy.noticed()
        if proxy.mode is Mode.SLOW:
            await asyncio.sleep(proxy.delay_ms / 1000)
        while proxy.mode is Mode.HANG or (proxy.mode is Mode.MUTE and self._answers):
            proxy.held_answers += self._answers
            proxy.held_requests += not self._answers
            proxy.noticed()
            try:
                await proxy.changed()
            finally:
                proxy.held_answers -= self._answers
                proxy.held_requests -= not self._answers


class Proxy(Listener):
    """Forwards from a port of its own to wherever `target` says at the time of each connection."""

    def __init__(self, target: Callable[[], Address]) -> None:
        super().__init__()
        self.target = target
        self.mode = Mode.PASS
        self.delay_ms = 0.0
        self.held_requests = 0  # pieces that wait at the moment
        self.held_answers = 0
        self.requests = 0  # pieces so far
        self._changed = asyncio.Event()  # replaced at every change, so that each wakes who waits then
        self._noticed = asyncio.Event()

    # ---- what it does ---------------------------------------------------------------------------------------------

    def set(self, mode: Mode, *, delay_ms: float = 0.0) -> None:
        self.mode, self.delay_ms = mode, delay_ms
        if mode is Mode.CUT:
            self.reset()
        before, self._changed = self._changed, asyncio.Event()
        before.set()

    def reset(self) -> None:
        """End the connections there are; as after a fail-over of whoever stands behind."""
        for connection in self._connections:
            connection.cancel()

    async def changed(self) -> None:
        await self._changed.wait()

    def noticed(self) -> None:
        self._noticed.set()

    async def sees(self, what: Callable[[], bool]) -> None:
        """Return once this is true of what has come in and of what is held back."""
        while not what():
            self._noticed.clear()
            await self._noticed.wait()

    # ---- connections ----------------------------------------------------------------------------------------------

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode is Mode.CUT:
            return
        while self.mode is Mode.HANG:
            await self.changed()
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(*self.target())
            try:
                await _first_of(
                    _pump(reader, far_writer, _Gate(self, answers=False)),
                    _pump(far_reader, writer, _Gate(self, answers=True)),
                )
            finally:
                far_writer.transport.abort()


async def _first_of(*pumps: Awaitable[None]) -> None:
    """Both directions, until one of them has ended."""
    tasks = [asyncio.ensure_future(pump) for pump in pumps]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: _Gate) -> None:
    while data := await reader.read(CHUNK_BYTES):
        await gate.passes()
        writer.write(data)
        await writer.drain()

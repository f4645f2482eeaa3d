"""A server on a port of loopback, in the loop of the test, whose connections end with it."""

import asyncio
import ssl
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Self

from app.background import end


class Listener(ABC):
    """Serves each connection in a task of its own; with TLS if it is given a context."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0  # from the start on

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._context, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        await end(*self._connections)
        await asyncio.sleep(0)  # the transports close their sockets in the loop's next turn

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self.serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        task.add_done_callback(lambda _: _abort(writer))  # also of one that was cancelled before it began

    @abstractmethod
    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk to whoever has connected; the connection ends with this."""


def _abort(writer: asyncio.StreamWriter) -> None:
    with suppress(AttributeError):  # Python 3.11.2 cannot abort what was closed twice, by TLS
        writer.transport.abort()

"""A server with the least of applications, so that its ways can be seen by themselves.

Run as `python -m tests.cli.stub PORT WORKERS DRAIN_SECONDS`. A worker says `up` and its number when it has started, and
`held` when it holds a request back until the file that the query names is there.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from app.cli import runtime
from app.cli.interruption import interruption
from app.cli.server import Server
from app.cli.terminal import say

STOP_SECONDS = 10


def create() -> Any:
    if os.environ.get("STUB_FAILS"):
        sys.exit("the stub cannot start")
    shared = os.environ["GATEHOUSE_RUNTIME_DIR"]

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            say(f"up {os.getpid()}")
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        draining = os.path.exists(f"{shared}/draining")  # noqa: ASYNC240, PTH110 (as short as it gets)
        status = 503 if scope["path"] == "/ready" and draining else 200
        if scope["path"] == "/held":
            await _released(scope["query_string"].decode())
        body = f"{os.getpid()} {os.getsid(0)} {shared}".encode()
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return application


async def _released(path: str) -> None:
    say("held")
    while not os.path.exists(path):  # noqa: ASYNC240, PTH110 (the test is another process)
        await asyncio.sleep(0.01)


class Dying:
    """Hears Ctrl-C where Python drops what a handler raises."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def main(port: str, workers: str, drain_seconds: str) -> None:
    interruption.listen()
    if os.environ.get("STUB_INTERRUPTED"):
        Dying()
    with runtime.directory(int(workers)) as shared:
        Server(
            "tests.cli.stub:create",
            "127.0.0.1",
            int(port),
            int(workers),
            draining=Path(shared) / "draining",
            drain_seconds=float(drain_seconds),
            stop_seconds=STOP_SECONDS,
        ).run()


if __name__ == "__main__":
    main(*sys.argv[1:])

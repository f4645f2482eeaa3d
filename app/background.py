"""Tasks that run beside requests, and how they end."""

import asyncio
from typing import Any

PATIENCE = 0.5  # seconds between two cancellations


async def end(*tasks: "asyncio.Task[Any] | None") -> None:
    """Cancel these tasks and wait for them; again if need be, for a library on the way may swallow a cancellation."""
    waiting = {task for task in tasks if task is not None}
    while waiting:
        for task in waiting:
            task.cancel()
        done, waiting = await asyncio.wait(waiting, timeout=PATIENCE)
        for task in done:
            if not task.cancelled():
                task.exception()  # seen: nobody else will ask for it

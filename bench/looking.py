"""How long answers take: of one request from many clients, and of /me while something else is going on."""

import asyncio
import itertools
import math
import statistics
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from bench.load import Connection, Person
from bench.stack import refuse

OK = 200
LOOKS, LOOK_SECONDS = 8, 0.02  # connections that look at /me, and from a look of one to its next: some 400 a second


@dataclass(frozen=True)
class Taken:
    """Milliseconds that answers took."""

    each: list[float] = field(default_factory=list)

    def of(self, share: float) -> float:
        """What this share of the answers took at most."""
        ordered = sorted(self.each)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    @property
    def half(self) -> float:
        return statistics.median(self.each)

    @property
    def most(self) -> float:
        """99 of a hundred."""
        return self.of(0.99)


async def ask(clients: Sequence[Connection], token: str, path: str, number: int) -> Taken:
    """The same from all clients at once, so often in all."""
    return await ask_each(clients, token, [path] * number)


async def ask_each(clients: Sequence[Connection], token: str, paths: Iterable[str]) -> Taken:
    """Each of these once, by whichever client is free; anything but 200 is no answer, and takes for ever."""
    taken: list[float] = []
    turns = iter(paths)

    async def go_on(client: Connection) -> None:
        for path in turns:
            started = time.perf_counter()
            status, _ = await client.get(path, token)
            taken.append(1000 * (time.perf_counter() - started) if status == OK else math.inf)

    await asyncio.gather(*map(go_on, clients))
    return Taken(taken)


@asynccontextmanager
async def looking(urls: Sequence[str], people: Sequence[Person]) -> AsyncGenerator[Taken]:
    """Whoever is signed in looks at /me all the while, at every replica in turn; what that takes.

    Each look has its time, whether the one before it was late or not.
    """
    taken = Taken()
    turns = itertools.cycle(people)

    async def go_on(url: str, number: int) -> None:
        connection = await Connection(url).open()
        due = time.perf_counter() + LOOK_SECONDS * number / LOOKS
        while True:
            await asyncio.sleep(due - time.perf_counter())
            status, body = await connection.get("/me", next(turns).access_token)
            taken.each.append(1000 * (time.perf_counter() - due))
            if status != OK:
                refuse(f"/me answers {status}: {body.decode()[:300]}")
            due = max(due + LOOK_SECONDS, time.perf_counter())

    looks = [asyncio.create_task(go_on(urls[number % len(urls)], number)) for number in range(LOOKS)]
    try:
        yield taken
    finally:
        for look in looks:
            look.cancel()
        for look in looks:
            with suppress(asyncio.CancelledError):
                await look

"""`make bench-gpustack`: what a GPUStack that hangs costs its own users, and everybody else.

A hundred logins of its users at once, most of whom have signed in before, alone and while local users sign in one after
the other; and the same local logins without them. The server is held to one core, all else to the other.
"""

import asyncio
import os
import secrets
import statistics
import sys
import time
from collections import Counter

from bench import load
from bench.stack import Stack, processors, refuse, running
from tests.gpustack.scripted import Scripted
from tests.gpustack.upstream import PASSWORD

ROUNDS = 5  # hung, calm, hung beside local logins; medians are printed
LOCAL = 20  # users, who sign in in turn
KNOWN, UNKNOWN = 80, 20  # users of GPUStack: who have signed in and may do so offline, and who have not
CALM_SECONDS = 4.0
BOUND, SLOWER_AIM = 5.0, 1.1  # seconds that any answer may take; times the calm login
BACK_SECONDS = 30.0
OK, UNAVAILABLE = 200, 503


async def take(url: str, username: str, password: str) -> tuple[int, float]:
    """Status and seconds of a login, on a connection of its own."""
    connection = await load.Connection(url).open()
    started = time.perf_counter()
    status, _ = await connection.post("/login", {"username": username, "password": password})
    taken = time.perf_counter() - started
    connection.close()
    return status, taken


async def local_logins(url: str, people: list[load.Person], over: asyncio.Event) -> list[float]:
    """The seconds of each, one after the other."""
    connection = await load.Connection(url).open()
    taken = []
    while not over.is_set():
        for person in people:
            started = time.perf_counter()
            await load.login(connection, person)
            taken.append(time.perf_counter() - started)
            if over.is_set():
                break
    connection.close()
    return taken


async def calm(url: str, people: list[load.Person]) -> float:
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(CALM_SECONDS, over.set)
    return statistics.median(await local_logins(url, people, over))


async def hung(url: str, names: list[str]) -> list[tuple[int, float]]:
    return list(await asyncio.gather(*(take(url, name, PASSWORD) for name in names)))


async def hung_beside(url: str, names: list[str], people: list[load.Person]) -> tuple[list[tuple[int, float]], float]:
    """The same, and the median of local logins meanwhile."""
    over = asyncio.Event()
    beside = asyncio.create_task(local_logins(url, people, over))
    answers = await hung(url, names)
    over.set()
    return answers, statistics.median(await beside)


async def signs_in(url: str, username: str) -> bool:
    return (await take(url, username, PASSWORD))[0] == OK


async def measure(stack: Stack, server: Scripted) -> bool:
    people = await load.sign_in(stack.url, LOCAL)
    known = [f"known-{each}" for each in range(KNOWN)]
    for name in known:
        await server.add(name)
        if not await signs_in(stack.url, name):
            refuse("a login by GPUStack does not work")
    quiet, loud, alone, beside = [], [], [], []
    for _ in range(ROUNDS):
        names = [*known, *(f"unknown-{secrets.token_hex(4)}" for _ in range(UNKNOWN))]
        async with server.outage("hung"):
            alone += await hung(stack.url, names)
        await back(stack.url, server)
        quiet.append(await calm(stack.url, people))
        async with server.outage("hung"):
            answers, median = await hung_beside(stack.url, names, people)
        beside += answers
        loud.append(median)
        await back(stack.url, server)
    good = all([told("alone", alone), told("beside local logins", beside)])
    ratio = statistics.median(one / other for one, other in zip(loud, quiet, strict=True))  # of neighbours in time
    print(  # noqa: T201
        f"a local login meanwhile {statistics.median(loud) * 1000:.1f} ms of {statistics.median(quiet) * 1000:.1f} ms"
        f" = {ratio:.2f} times (at most {SLOWER_AIM})"
    )
    return good and ratio <= SLOWER_AIM


def told(how: str, answers: list[tuple[int, float]]) -> bool:
    counted = Counter(status for status, _ in answers)
    slowest = max(taken for _, taken in answers)
    statuses = ", ".join(f"{count // ROUNDS} x {status}" for status, count in sorted(counted.items()))
    print(  # noqa: T201
        f"{KNOWN} of {KNOWN + UNKNOWN} users of GPUStack may sign in while it hangs, all at once, {how}: {statuses}; "
        f"the slowest took {slowest:.2f} s (at most {BOUND})"
    )
    return slowest <= BOUND and set(counted) <= {OK, UNAVAILABLE}


async def back(url: str, server: Scripted) -> None:
    """Until it is used again."""
    name = f"back-{secrets.token_hex(4)}"
    await server.add(name)
    until = time.monotonic() + BACK_SECONDS
    while not await signs_in(url, name):
        if time.monotonic() > until:
            refuse("GPUStack is not used again")
        await asyncio.sleep(0.2)


async def run(server_core: int) -> bool:
    async with Scripted() as server:
        settings = {
            "ENVIRONMENT": "development",  # as in production GPUStack would have to speak TLS
            "GPUSTACK_URL": server.url,
            "RATE_LIMIT_ACCOUNT": "off",
        }
        with running(server_core, **settings) as stack:
            return await measure(stack, server)


def main() -> int:
    server_core, load_core = processors()
    os.sched_setaffinity(0, {load_core})
    return 0 if asyncio.run(run(server_core)) else 1


if __name__ == "__main__":
    sys.exit(main())

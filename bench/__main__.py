"""`make bench`: prints the table of docs/performance.md; `python -m bench /me /refresh` prints these lines alone.

The server is held to core 0; the stores and the load are on core 1, and with them, for the logins, all of the server
but the thread that hashes. Every pair of figures is taken in turns, A B A B …, so that whatever else the machine does
falls on both. Needs two cores and wrk.
"""

import asyncio
import os
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass

from bench import load, reference
from bench.stack import Stack, processors, refuse, running, wrk

ROUNDS = 5  # pairs of runs; the median of their ratios is printed
SECONDS = 4  # of each run
SESSIONS = 100  # different tokens in turn, as a front end has them
CONNECTIONS = 64
LOGIN_CONNECTIONS = 8  # enough to keep one hashing thread busy; more would only wait
REFRESH_CONNECTIONS = 32


@dataclass(frozen=True)
class Line:
    """A line of the table."""

    name: str
    aim: float | None  # None: for comparison
    own: Callable[[], float]
    reference: Callable[[], float]
    reference_name: str

    def measure(self) -> bool:
        """Measure both in turns and print the line; whether the aim is met."""
        ratios, own, other = [], [], []
        for _ in range(ROUNDS):
            other.append(self.reference())
            own.append(self.own())
            ratios.append(own[-1] / other[-1])
        ratio = statistics.median(ratios)
        rates = f"{statistics.median(own):,.0f}/s | {statistics.median(other):,.0f}/s {self.reference_name}"
        spread = f"**{ratio:.2f}** ({min(ratios):.2f} to {max(ratios):.2f})"
        aim = "" if self.aim is None else f"{self.aim:.2f}"
        print(f"| {self.name} | {rates} | {spread} | {aim} |", flush=True)  # noqa: T201 - the table itself
        return self.aim is None or ratio >= self.aim


def main() -> int:
    server_core, load_core = processors()
    os.sched_setaffinity(0, {load_core})
    with running(server_core) as stack:
        return 0 if measure(stack, server_core, load_core) else 1


def measure(stack: Stack, server_core: int, load_core: int) -> bool:
    people = asyncio.run(load.sign_in(stack.url, SESSIONS))
    tokens = [session.access_token for session in people]
    print("| what | Gatehouse | reference | ratio, median of 5 pairs (range) | aim |")  # noqa: T201
    print("| --- | --- | --- | --- | --- |", flush=True)  # noqa: T201

    def logins() -> float:
        stack.place(hashing=server_core, others=load_core)
        try:
            return asyncio.run(load.logins(stack.url, people, LOGIN_CONNECTIONS, SECONDS))
        finally:
            stack.place(hashing=server_core, others=server_core)

    def bare() -> float:
        return wrk(f"{stack.bare_url}/me", tokens, CONNECTIONS, SECONDS)

    lines: list[Line] = [
        Line("`GET /me`", 0.90, lambda: wrk(f"{stack.url}/me", tokens, CONNECTIONS, SECONDS), bare, "bare handler"),
        Line(
            "`GET /verify`", 1.3, lambda: wrk(f"{stack.url}/verify", tokens, CONNECTIONS, SECONDS), bare, "bare handler"
        ),
        Line(
            "`POST /login`",
            0.95,
            logins,
            lambda: reference.hashes(server_core, SECONDS),
            "argon2id alone",
        ),
        Line(
            "`POST /refresh`",
            0.60,
            lambda: asyncio.run(load.refreshes(stack.url, people, REFRESH_CONNECTIONS, SECONDS)),
            lambda: reference.swaps(server_core, stack.database_url, REFRESH_CONNECTIONS, SECONDS),
            "bare asyncpg compare-and-set",
        ),
        Line(
            "`POST /refresh`",
            None,
            lambda: asyncio.run(load.refreshes(stack.url, people, REFRESH_CONNECTIONS, SECONDS)),
            lambda: reference.rotations(server_core, stack.database_url, REFRESH_CONNECTIONS, SECONDS),
            "rotation and audit, no reset",
        ),
    ]
    met = [line.measure() for line in lines if not sys.argv[1:] or line.name.strip("`").split()[1] in sys.argv[1:]]
    return all(met)


if __name__ == "__main__":
    if sys.platform != "linux":
        refuse("the bench needs Linux: it holds processes to cores")
    sys.exit(main())

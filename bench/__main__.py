"""`make bench`: prints the table of docs/performance.md.

The server is held to core 0; the stores and the load are on core 1. Every pair of figures is taken in turns, A B A B …,
so that whatever else the machine does falls on both. Needs two cores and wrk.
"""

import asyncio
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from app.cli.embedded import Postgres, Valkey
from bench import load, reference
from bench.stack import Stack, processors, refuse, wrk

ROUNDS = 5  # pairs of runs; the median of their ratios is printed
SECONDS = 4  # of each run
SESSIONS = 100  # different tokens in turn, as a front end has them
CONNECTIONS = 64
LOGIN_CONNECTIONS = 8  # enough to keep one hashing thread busy; more would only wait
REFRESH_CONNECTIONS = 32


def paired(
    name: str,
    aim: float,
    measured: Callable[[], float],
    compared_to: Callable[[], float],
    unit: str,
    reference_name: str,
) -> bool:
    """Measure both in turns and print the line of the table; whether the aim is met."""
    ratios, own, other = [], [], []
    for _ in range(ROUNDS):
        other.append(compared_to())
        own.append(measured())
        ratios.append(own[-1] / other[-1])
    ratio = statistics.median(ratios)
    spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
    print(  # noqa: T201 - the table is what this command is for
        f"| {name} | {statistics.median(own):,.0f}/s | {statistics.median(other):,.0f}/s ({reference_name}) "
        f"| {unit} | **{ratio:.2f}** ({spread}) | {aim:.2f} |",
        flush=True,
    )
    return ratio >= aim


def main() -> int:
    server_core, load_core = processors()
    os.sched_setaffinity(0, {load_core})
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        directory.chmod(0o711)  # PostgreSQL runs as somebody else where we are root
        with (
            Postgres(directory / "postgres") as postgres,
            Valkey(directory / "valkey") as valkey,
            Stack(postgres, valkey, server_core) as stack,
        ):
            return 0 if measure(stack, server_core) else 1


def measure(stack: Stack, server_core: int) -> bool:
    people = asyncio.run(load.sign_in(stack.url, SESSIONS))
    tokens = [session.access_token for session in people]
    print("| what | Gatehouse | reference | unit | ratio (lowest-highest) | aim |")  # noqa: T201
    print("| --- | --- | --- | --- | --- | --- |", flush=True)  # noqa: T201

    def bare() -> float:
        return wrk(f"{stack.bare_url}/me", tokens, CONNECTIONS, SECONDS)

    met = [
        paired(
            "`GET /me`", 0.70, lambda: wrk(f"{stack.url}/me", tokens, CONNECTIONS, SECONDS), bare, "requests", "bare"
        ),
        paired(
            "`GET /verify`",
            1.0,
            lambda: wrk(f"{stack.url}/verify", tokens, CONNECTIONS, SECONDS),
            bare,
            "requests",
            "bare",
        ),
        paired(
            "`POST /login`",
            0.85,
            lambda: asyncio.run(load.logins(stack.url, people, LOGIN_CONNECTIONS, SECONDS)),
            lambda: reference.hashes(server_core, SECONDS),
            "logins",
            "argon2id alone",
        ),
        paired(
            "`POST /refresh`",
            0.35,
            lambda: asyncio.run(load.refreshes(stack.url, people, REFRESH_CONNECTIONS, SECONDS)),
            lambda: reference.swaps(server_core, stack.database_url, REFRESH_CONNECTIONS, SECONDS),
            "refreshes",
            "asyncpg compare-and-set",
        ),
    ]
    return all(met)


if __name__ == "__main__":
    if sys.platform != "linux":
        refuse("the bench needs Linux: it holds processes to cores")
    sys.exit(main())

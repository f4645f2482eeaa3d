"""`make bench-storm`: what four times the logins that hashing can bear do to everybody else.

The server is held to one core, wrk, the storm and the stores to the other.
"""

import asyncio
import itertools
import os
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence

from bench import load, reference
from bench.stack import Stack, processors, running, wrk_with_latency

ROUNDS = 3  # calm, storm, calm, storm …; medians are printed
SECONDS = 6
FORCE = 4  # times the logins that one core can hash
CONNECTIONS = 64
SESSIONS = 100
RATE_AIM, P99_AIM, REFUSAL_AIM = 0.5, 5.0, 1.0  # of the calm rate, times the calm p99, seconds


class Storm(threading.Thread):
    """Logins at a fixed rate, whether they are answered or not."""

    def __init__(self, url: str, people: Sequence[load.Person], rate: float) -> None:
        super().__init__()
        self.answers: Counter[int] = Counter()
        self.slowest_refusal = 0.0  # seconds
        self.over = False
        self._url = url
        self._people = itertools.cycle(people)
        self._rate = rate

    def run(self) -> None:
        asyncio.run(self._blow())

    async def _blow(self) -> None:
        free: list[load.Connection] = []
        under_way: set[asyncio.Task[None]] = set()
        started, sent = time.perf_counter(), 0
        while not self.over:
            while sent < (time.perf_counter() - started) * self._rate:
                sent += 1
                task = asyncio.create_task(self._try(free))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            await asyncio.sleep(0.001)
        await asyncio.gather(*under_way)

    async def _try(self, free: list[load.Connection]) -> None:
        connection = free.pop() if free else await load.Connection(self._url).open()
        started = time.perf_counter()
        person = next(self._people)
        credentials = {"username": person.username, "password": person.password}
        status, _ = await connection.post("/login", credentials)
        self.answers[status] += 1
        if status == 503:  # noqa: PLR2004 - overloaded
            self.slowest_refusal = max(self.slowest_refusal, time.perf_counter() - started)
        free.append(connection)


def main() -> int:
    server_core, load_core = processors()
    os.sched_setaffinity(0, {load_core})
    with running(server_core) as stack:
        return 0 if measure(stack, FORCE * reference.hashes(server_core, SECONDS)) else 1


def measure(stack: Stack, rate: float) -> bool:
    people = asyncio.run(load.sign_in(stack.url, SESSIONS))
    tokens = [person.access_token for person in people]
    calm, stormy, answers, slowest = [], [], Counter[int](), 0.0
    for _ in range(ROUNDS):
        calm.append(wrk_with_latency(f"{stack.url}/me", tokens, CONNECTIONS, SECONDS))
        storm = Storm(stack.url, people, rate)
        storm.start()
        stormy.append(wrk_with_latency(f"{stack.url}/me", tokens, CONNECTIONS, SECONDS))
        storm.over = True
        storm.join()
        answers += storm.answers
        slowest = max(slowest, storm.slowest_refusal)
    rates = [statistics.median(each[0] for each in runs) for runs in (calm, stormy)]
    p99s = [statistics.median(each[1] for each in runs) for runs in (calm, stormy)]
    told = ", ".join(f"{count} x {status}" for status, count in sorted(answers.items()))
    print(f"a storm of {rate:.0f} logins/s: {told}; the slowest refusal took {slowest:.2f} s (at most {REFUSAL_AIM})")  # noqa: T201
    print(f"/me meanwhile {rates[1]:,.0f}/s of {rates[0]:,.0f}/s = {rates[1] / rates[0]:.2f} (aim {RATE_AIM})")  # noqa: T201
    print(f"  p99 {p99s[1]:.1f} ms of {p99s[0]:.1f} ms = {p99s[1] / p99s[0]:.1f} times (at most {P99_AIM})")  # noqa: T201
    return rates[1] >= RATE_AIM * rates[0] and p99s[1] <= P99_AIM * p99s[0] and slowest <= REFUSAL_AIM


if __name__ == "__main__":
    sys.exit(main())

"""`make steady MINUTES=10`: two replicas at half of what they carry; do memory or connections grow, does a 5xx come?

What they carry is measured first. The memory of verified tokens (app/sessions/authenticator.py) is filled before that,
for it grows by design until it is full; and then the load replaces all of it once, for what lives long comes to lie
elsewhere than it did while nothing else went on. What grows afterwards is something else.
"""

import argparse
import asyncio
import csv
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from app.cache.server import CONNECTIONS
from app.cli.database import BESIDE_THE_POOL
from app.sessions.authenticator import REMEMBERED_TOKENS
from app.settings import Settings
from bench import load
from bench.ballast import ballast
from bench.meters import Meters, proportional_memory
from bench.scale import IN_TIME, Lab, Travel, lab, travel
from bench.scale_report import Tried
from bench.slope import Slope
from bench.stack import BASE, leave_by_all_doors, refuse, say
from bench.staircase import Staircase

REPLICAS = 2
SHARE = 0.3  # of a core a replica
SAMPLE_SECONDS = 5.0
HALF = 0.5
FIRST = 300.0  # requests a second of both, to begin with
ROUNDS, PART_SECONDS = 8, 10  # half of it is no finer a figure
GROWTH = 1.0  # MiB in ten minutes, which may be more than noise, and is still none
BUDGET = Settings.database_pool_size + BESIDE_THE_POOL  # connections to PostgreSQL a worker
FILLERS = 64  # people at once who refresh until all memories are full
REQUESTS_A_TOKEN = 60  # of the load, which then refreshes (REFRESH_AFTER of loadtests/scale.py)


@dataclass(frozen=True)
class Sample:
    at: float  # seconds
    memory: dict[int, float]  # PSS by worker, MiB
    links: tuple[int, int]  # connections to PostgreSQL and to Valkey


class Recorder(threading.Thread):
    """Looks every few seconds, until it is over."""

    def __init__(self, meters: Meters, workers: list[int]) -> None:
        super().__init__(daemon=True)
        self.samples: list[Sample] = []
        self._meters = meters
        self._workers = workers
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            memory = {pid: proportional_memory(pid) for pid in self._workers}
            self.samples.append(Sample(time.monotonic(), memory, self._meters.links()))

    def end(self) -> list[Sample]:
        self._over.set()
        self.join()
        return self.samples


def workers(made: Lab) -> list[int]:
    """The process of each replica that serves: it has the most memory."""
    return [max(share.pids, key=proportional_memory) for share in made.held]


async def fill(urls: list[str]) -> None:
    """Show every replica as many tokens as it remembers."""
    bases = [f"{url}{BASE}" for url in urls]
    people = await load.sign_in(bases[0], FILLERS)

    async def refresh_and_show(person: load.Person) -> None:
        connections = [await load.Connection(base).open() for base in bases]
        for _ in range(REMEMBERED_TOKENS // FILLERS + 1):
            await load.refresh(connections[0], person)
            for connection in connections:
                await connection.get("/verify", person.access_token)
        for connection in connections:
            connection.close()

    await asyncio.gather(*(refresh_and_show(person) for person in people))


def capacity(crowd: Travel) -> float:
    """Requests a second that both carry, so far as half of it is to be known."""
    stairs, misses = Staircase(FIRST), []
    for _ in range(ROUNDS):
        misses.append(crowd.attempt(stairs.rate, PART_SECONDS).miss(IN_TIME))
        stairs.heard(misses[-1])
    if max(misses) < 1 or min(misses) > 1:
        refuse("what they carry was not found")
    return stairs.rate


def settle(crowd: Travel, carried: float) -> None:
    """As fast as they can, until each remembered token is one of the load's."""
    crowd.attempt(carried, REMEMBERED_TOKENS * REQUESTS_A_TOKEN / carried)


def go_on(made: Lab, crowd: Travel, rate: float, minutes: float) -> tuple[list[Sample], Tried]:
    recorder = Recorder(crowd.meters, workers(made))
    recorder.start()
    tried = crowd.attempt(rate, 60 * minutes)
    return recorder.end(), tried


def keep(samples: list[Sample], path: Path) -> None:
    """Every look, for whoever wants to see the curve."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        numbers = range(1, len(samples[0].memory) + 1)
        rows.writerow(["seconds", *(f"PSS of worker {number}, MiB" for number in numbers), "PostgreSQL", "Valkey"])
        for sample in samples:
            memory = [f"{each:.2f}" for each in sample.memory.values()]
            rows.writerow([f"{sample.at - samples[0].at:.0f}", *memory, *sample.links])


def report(samples: list[Sample], tried: Tried, carried: float) -> bool:
    """For docs/performance.md; whether all is as it should be."""
    minutes = [(sample.at - samples[0].at) / 60 for sample in samples]
    say(f"\n{tried.rate:.0f} requests/s, half of {carried:.0f}, for {tried.seconds / 60:.1f} minutes: ")
    say(f"{tried.requests:,} requests, {tried} (5xx are failures)\n")
    say("| worker | PSS at first, MiB | at last | most | growth in ten minutes, 95 % | within noise |")
    say("| --- | --- | --- | --- | --- | --- |")
    grows = False
    for number, pid in enumerate(samples[0].memory):
        memory = [sample.memory[pid] for sample in samples]
        slope = Slope.of(minutes, memory)
        grows |= 10 * (slope.growth - slope.off) > GROWTH
        growth = f"{10 * slope.growth:+.2f} ± {10 * slope.off:.2f} MiB"
        figures = f"{memory[0]:.1f} | {memory[-1]:.1f} | {max(memory):.1f}"
        say(f"| {number + 1} | {figures} | {growth} | {'yes' if slope.is_noise else 'no'} |")
    most = [max(sample.links[which] for sample in samples) for which in (0, 1)]
    say(f"\nConnections to PostgreSQL: {most[0]} at most, of {BUDGET * REPLICAS};")
    say(f"to Valkey: {most[1]} at most, of {CONNECTIONS * REPLICAS}.\n")
    kept = not grows and not tried.failures and most[0] <= BUDGET * REPLICAS and most[1] <= CONNECTIONS * REPLICAS
    say(f"steady: {'all bounds were kept' if kept else 'BROKEN'}")
    return kept


def main() -> int:
    parser = argparse.ArgumentParser("python -m bench.steady", description="Half of what two replicas carry, for long.")
    parser.add_argument("--minutes", type=float, default=10.0, help="(default %(default)s)")
    parser.add_argument("--rate", type=float, help="requests a second instead of half of what is carried")
    parser.add_argument("--reports", type=Path, default=Path(".reports"), metavar="DIR", help="(default .reports)")
    chosen = parser.parse_args()
    chosen.reports.mkdir(parents=True, exist_ok=True)
    leave_by_all_doors()
    with ballast() as idlers, lab(REPLICAS, SHARE, chosen.reports) as made:
        asyncio.run(fill(made.urls))
        with travel(made, chosen.reports / "steady.html", idlers) as crowd:
            carried = chosen.rate / HALF if chosen.rate else capacity(crowd)
            settle(crowd, carried)
            samples, tried = go_on(made, crowd, HALF * carried, chosen.minutes)
            nothing_seen = crowd.end()
        keep(samples, chosen.reports / "steady.csv")
        return 0 if report(samples, tried, carried) and nothing_seen else 1


if __name__ == "__main__":
    sys.exit(main())

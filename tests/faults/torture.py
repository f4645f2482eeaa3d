"""A run: people live, the nemesis breaks and mends, everybody comes to rest, and the checker looks at it all."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import ledger
from tests.faults.checker import Violation, check
from tests.faults.cluster import Cluster
from tests.faults.history import History
from tests.faults.nemesis import KINDS, Nemesis, broken_by
from tests.faults.people import Admin, Person
from tests.faults.recorder import Recorder

PEOPLE = 5  # at a time
ACTS = (10, 40)  # of a person, before another one comes
DOUBLE = 0.5  # of the faults come in twos where STRICT_REVOCATION closes what two at once leave open
AGED = 0.7  # of the faults come long after the last fail-over; of the others some within the 10 s that bind the epoch
SHORT, LONG = (0.2, 0.6), (0.3, 10.0)  # seconds of a fault


@dataclass
class Report:
    """What a run has shown."""

    seed: int
    history: History
    violations: list[Violation]
    faults: Counter[str]
    seconds: float
    logged: list[str] = field(default_factory=list)  # errors that replicas have noted of themselves

    def told(self, most: int = 20) -> str:
        outcomes = Counter((each.kind, each.outcome) for each in self.history)
        lines = [f"seed {self.seed}, {self.seconds:.0f} s, {len(self.history.operations)} operations:"]
        for kind in sorted({kind for kind, _ in outcomes}):
            counts = sorted(((count, name) for (each, name), count in outcomes.items() if each == kind), reverse=True)
            lines.append(f"  {kind:16}" + ", ".join(f"{count} {name}" for count, name in counts))
        lines.append("faults: " + ", ".join(f"{count} {kind}" for kind, count in sorted(self.faults.items())))
        lines += [f"logged: {line}" for line in self.logged[:10]]
        lines.append(f"violations: {len(self.violations)}")
        lines += [each.told(self.history) for each in self.violations[:most]]
        return "\n".join(lines)


async def run(
    directory: Path,
    seed: int,
    *,
    seconds: float | None = None,
    kinds: Sequence[str] = tuple(KINDS),
    strict: bool = False,
    source: Path | None = None,
) -> Report:
    """So long, with faults at random; or, without a time, each of these kinds once and short."""
    dice = random.Random(seed)
    history = History()
    started = time.monotonic()
    async with Cluster(directory, strict=strict, source=source) as cluster:
        recorder = Recorder(cluster, history)
        nemesis = Nemesis(cluster, history, random.Random(dice.random()))
        admin = Admin(recorder, random.Random(dice.random()), cluster.admin_password)
        await admin.sign_in()
        people = [asyncio.create_task(_live_on(recorder, admin, random.Random(dice.random()))) for _ in range(PEOPLE)]
        try:
            for kind, length in _plan(dice, seconds, kinds):
                if seconds is None or dice.random() < AGED:
                    await cluster.let_epoch_age()
                second = [_another(dice, kind)] if strict and dice.random() < DOUBLE else []
                await nemesis.inflict(length, kind, *second)
                _see(people)
        finally:
            for task in people:
                task.cancel()
            await asyncio.gather(*people, return_exceptions=True)
        await cluster.recovered()
        await cluster.stop_replicas()
        async with cluster.connection() as connection:
            last = await ledger.look(connection)
        logged = [line for replica in cluster.replicas for line in replica.errors()]
    violations = check(history, last)
    return Report(seed, history, violations, nemesis.done, time.monotonic() - started, logged)


def _plan(dice: random.Random, seconds: float | None, kinds: Sequence[str]) -> Iterator[tuple[str, float]]:
    if seconds is None:
        for kind in kinds:
            yield kind, dice.uniform(*SHORT)
        return
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        order = list(KINDS)
        dice.shuffle(order)  # all of them before any comes again
        for kind in order:
            if time.monotonic() < until:
                yield kind, min(dice.uniform(*LONG), dice.uniform(*LONG))


async def _live_on(recorder: Recorder, admin: Admin, dice: random.Random) -> None:
    """One person after another."""
    while True:
        await Person(recorder, admin, dice).live(dice.randint(*ACTS))
        await asyncio.sleep(0)


def _another(dice: random.Random, kind: str) -> str:
    """A fault that can last at the same time: of another store, or of a process."""
    return dice.choice([each for each in KINDS if broken_by(each) != broken_by(kind)])


def _see(people: list[asyncio.Task[None]]) -> None:
    """An actor that broke down is a fault of the harness."""
    for task in people:
        if task.done():
            task.result()

"""`make bench-faults`: how soon a token that was ended here is refused there, and what a killed Valkey costs.

Sessions are ended on one replica while a fault goes on, and from the moment of the answer on their tokens are tried on
the other. A try that began after that answer may be refused (401) or not be told (503); one that is let in makes the
run fail.
"""

import asyncio
import itertools
import random
import statistics
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.cluster import Cluster
from tests.faults.history import History
from tests.faults.nemesis import KINDS, Nemesis
from tests.faults.wire import NoAnswer, ask
from tests.kit import new_password

TRIES = 10_000  # that were answered, with each fault
TRIES_A_TOKEN, AT_ONCE = 100, 10
SESSIONS = 30  # that are ended while a fault lasts
ROUNDS = 20  # of a fault; one that leaves fewer tries than asked for is said to have
FAULT_SECONDS = 3.0
ENDING_SECONDS = 10.0  # in which a logout is asked for again, until a replica can do it
CALM = "nothing"

WATCHERS = 16  # clients who ask without a pause while Valkey is killed
AWAY_SECONDS = 6.0
FIRST_SECONDS = 2.0  # after the kill, in which a hundredth of the answers may be errors
FIRST_SHARE = 0.01


@dataclass
class Hunted:
    """What became of the tries with one fault."""

    kind: str
    ended: int = 0  # sessions, by a 204
    statuses: Counter[int] = field(default_factory=Counter)  # 0: no answer
    refused_after_ms: list[float] = field(default_factory=list)  # from the 204 to the first 401, a session each

    @property
    def tried(self) -> int:
        """Tries that were answered."""
        return self.statuses.total() - self.statuses[0]

    def told(self) -> str:
        delays = self.refused_after_ms
        first = f"{statistics.median(delays):.0f} ms | {max(delays):.0f} ms" if delays else "- | -"
        let_in, refused, untold = (f"{self.statuses[status]:,}" for status in (200, 401, 503))
        return f"| {self.kind} | {self.ended} | {self.tried:,} | {let_in} | {refused} | {untold} | {first} |"


class Figures:
    def __init__(self, cluster: Cluster, dice: random.Random) -> None:
        self._cluster = cluster
        self._nemesis = Nemesis(cluster, History(), dice)
        self._dice = dice
        self._turns = itertools.count()
        self._credentials = {"username": "ada", "password": new_password()}

    async def register(self) -> None:
        await ask(self._cluster.replicas[0].port, "POST", "/register", body=self._credentials)

    # ---- after the answer -------------------------------------------------------------------------------------------

    async def hunt(self, kind: str) -> Hunted:
        found = Hunted(kind)
        for _ in range(ROUNDS):
            if found.tried < TRIES:
                await self._round(found)
        return found

    async def _round(self, found: Hunted) -> None:
        tokens = [await self._sign_in() for _ in range(SESSIONS)]
        await self._cluster.let_epoch_age()
        async with AsyncExitStack() as stack:
            if found.kind != CALM:
                await stack.enter_async_context(KINDS[found.kind](self._nemesis, FAULT_SECONDS))
            endings = [asyncio.create_task(self._end(token, found)) for token in tokens]
            await asyncio.sleep(FAULT_SECONDS)  # the fault's own length: nothing is awaited
        await asyncio.gather(*endings)
        await self._cluster.recovered()

    async def _sign_in(self) -> str:
        """A token that every replica has seen."""
        answer = await ask(self._cluster.replicas[0].port, "POST", "/login", body=self._credentials)
        token: str = answer.body["access_token"]
        for replica in self._cluster.replicas:
            await ask(replica.port, "GET", "/me", headers=bearer(token))
        return token

    async def _end(self, token: str, found: Hunted) -> None:
        """End a session here or, if that fails, there, at some moment of the fault; then try its token on the other."""
        await asyncio.sleep(self._dice.uniform(0, FAULT_SECONDS / 2))
        here = next(self._turns) % 2
        until = time.monotonic() + ENDING_SECONDS
        for replica in itertools.cycle((here, 1 - here)):
            if time.monotonic() > until:
                return
            if await self._asked(replica, "POST", "/logout", token) == 204:
                found.ended += 1
                await self._try(1 - replica, token, time.monotonic(), found)
                return
            await asyncio.sleep(0.05)

    async def _try(self, there: int, token: str, ended: float, found: Hunted) -> None:
        refused = 0.0

        async def once() -> None:
            nonlocal refused
            status = await self._asked(there, "GET", "/me", token)
            found.statuses[status] += 1
            if status == 401 and not refused:
                refused = time.monotonic()
                found.refused_after_ms.append(1000 * (refused - ended))

        for _ in range(TRIES_A_TOKEN // AT_ONCE):
            await asyncio.gather(*(once() for _ in range(AT_ONCE)))

    async def _asked(self, replica: int, method: str, path: str, token: str) -> int:
        try:
            return (await ask(self._cluster.replicas[replica].port, method, path, headers=bearer(token))).status
        except NoAnswer:
            return 0

    # ---- Valkey killed ----------------------------------------------------------------------------------------------

    async def kill_valkey(self) -> list[tuple[str, Counter[int]]]:
        """What was answered before, in the first two seconds, later, and until it is back and again trusted."""
        tokens = [await self._sign_in() for _ in range(WATCHERS)]
        windows: list[tuple[str, Counter[int]]] = [("before", Counter())]
        watching = [asyncio.create_task(self._watch(token, number % 2, windows)) for number, token in enumerate(tokens)]
        try:
            await asyncio.sleep(FIRST_SECONDS)
            async with self._nemesis.valkey_killed(AWAY_SECONDS):
                windows.append(("the first two seconds", Counter()))
                await asyncio.sleep(FIRST_SECONDS)
                windows.append(("while it is away", Counter()))
                await asyncio.sleep(AWAY_SECONDS - FIRST_SECONDS)
                windows.append(("until it is trusted again", Counter()))
            await self._cluster.recovered()
            windows.append(("afterwards", Counter()))
            await asyncio.sleep(FIRST_SECONDS)
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
        return windows

    async def _watch(self, token: str, replica: int, windows: list[tuple[str, Counter[int]]]) -> None:
        while True:
            _, answers = windows[-1]  # of the moment in which it is asked
            status = await self._asked(replica, "GET", "/me", token)
            answers[status] += 1


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def errors(answers: Counter[int]) -> int:
    return answers.total() - answers[200]


async def run(directory: Path, seed: int, source: Path | None = None) -> bool:
    """Print the figures; whether they are as promised."""
    good = True
    async with Cluster(directory, source=source) as cluster:
        figures = Figures(cluster, random.Random(seed))
        await figures.register()
        say("| while Valkey is killed | answers | errors |")
        say("| --- | --- | --- |")
        for number, (name, answers) in enumerate(await figures.kill_valkey()):
            say(f"| {name} | {answers.total():,} | {errors(answers)} |")
            good &= errors(answers) <= (FIRST_SHARE * answers.total() if number == 1 else 0)
        say("")
        say("| fault | sessions ended | tries answered | let in | 401 | 503 | first 401, median | latest |")
        say("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for kind in (CALM, *KINDS):
            found = await figures.hunt(kind)
            say(found.told())
            good &= found.statuses[200] == 0 and found.tried >= TRIES
    return good


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - that is what it is for

"""Shows that the checker can find: each rule is switched off once, in a copy of the source, and it has to turn red.

A replacement has to fit exactly once: when the code changes under it, this says so, and is not a mutant that lives.
"""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from tests.faults import ledger, scenes
from tests.faults.checker import Violation, check
from tests.faults.cluster import Cluster
from tests.faults.history import History
from tests.faults.proxy import Mode
from tests.faults.scenes import Scene

ROOT = Path(__file__).parents[2]

Schedule = Callable[[Scene], Awaitable[None]]


class DoesNotFit(Exception):
    """The text that a mutant replaces is not there, or there several times."""


@dataclass(frozen=True)
class Mutant:
    rule: str  # which of the trust rules, or what else, it breaks
    file: str
    old: str
    new: str
    schedule: Schedule
    finds: str  # the rule of the checker that has to see it

    def switch_off(self, source: Path) -> None:
        """Switch this rule off in a copy of the source."""
        file = source / self.file
        text = file.read_text()
        if text.count(self.old) != 1:
            raise DoesNotFit(f"{self.rule}: {text.count(self.old)} times in {self.file}")
        file.write_text(text.replace(self.old, self.new))


def without(directory: Path, *mutants: Mutant) -> Path:
    """A copy of the source with these rules switched off."""
    for package in ("app", "db"):
        shutil.copytree(ROOT / package, directory / package, ignore=shutil.ignore_patterns("__pycache__"))
    for mutant in mutants:
        mutant.switch_off(directory)
    return directory


ENTRIES, OUTBOX, LINK, SERVER, BATCH = (
    f"app/cache/{name}.py" for name in ("entries", "outbox", "link", "server", "batch")
)
AUTHENTICATOR = "app/sessions/authenticator.py"
ASKED = "        found = await self._entries.get(keys)\n        self.checks"
FAILS = (
    "        try:\n            found = await self._entries.get(keys)\n        except Exception:\n            {}\n"
    "        self.checks"
)

MUTANTS = (
    Mutant(
        "1: a fill writes without its lease",
        ENTRIES,
        "if redis.call('GET', KEYS[1]) == ARGV[1] then",
        "if true then",
        scenes.late_fill,
        "ended_credentials",
    ),
    Mutant(
        "2: a revocation deletes nothing",
        OUTBOX,
        "                await link.delete(list(set(rows.values())))",
        "                pass",
        scenes.plain,
        "ended_credentials",
    ),
    Mutant(
        "2: a revocation announces nothing",
        OUTBOX,
        "        if not keys:\n",
        "        if True:\n",
        scenes.plain,
        "ended_credentials",
    ),
    Mutant(
        "3: the lease is never looked at",
        ENTRIES,
        "if time.monotonic() >= self.outbox.trusted_until and not await self._trusted():",
        "if False:",
        scenes.slept_through,
        "ended_credentials",
    ),
    Mutant(
        "3: the rows of the outbox are not read",
        OUTBOX,
        'pending = {row["id"]: row["key"] for row in rows if row["id"] is not None}',
        "pending: dict[int, str] = {}",
        scenes.unheard,
        "ended_credentials",
    ),
    Mutant(
        "3: a change does not wait for its deletion",
        OUTBOX,
        "committed + WAIT - time.monotonic()",
        "committed + 0.05 - time.monotonic()",
        scenes.slept_through,
        "ended_credentials",
    ),
    Mutant(
        "4: the epoch is never raised",
        LINK,
        "SET epoch = epoch + 1, identity = $1",
        "SET epoch = epoch, identity = $1",
        scenes.older_dump,
        "ended_credentials",
    ),
    Mutant(
        "4: a connection does not ask who answers",
        SERVER,
        "if identity is not None and await identity_of(connection) != identity:",
        "if False:",
        scenes.older_dump_unnoticed,
        "ended_credentials",
    ),
    Mutant(
        "4: an identity without `master_replid`",
        SERVER,
        "return f\"{said['run_id']}:{said['master_replid']}\"",
        'return said["run_id"]',
        scenes.back_again,
        "ended_credentials",
    ),
    Mutant(
        "4: a row goes whatever the epoch",
        OUTBOX,
        "id = ANY($1) AND $2 = (SELECT epoch FROM cache_epoch)",
        "id = ANY($1) AND $2 > 0",
        scenes.new_primary_of_the_reader,
        "ended_credentials",
    ),
    Mutant(
        "4: an epoch is good as soon as it is known",
        OUTBOX,
        "if time.monotonic() < self._links.learned_at + WAIT:",
        "if False:",
        scenes.new_primary_of_the_writer,
        "ended_credentials",
    ),
    Mutant(
        "5: a lookup joins the call under way",
        BATCH,
        "                found = await self._load(keys)\n",
        "                found = await self._load(keys)\n"
        "                late = [each for each in self._waiting if set(each[1]) <= set(keys)]\n"
        "                self._waiting = [each for each in self._waiting if each not in late]\n"
        "                futures += [future for future, _ in late]\n",
        scenes.joined_lookup,
        "ended_credentials",
    ),
    Mutant(
        "6: stores that are away count as yes",
        AUTHENTICATOR,
        ASKED,
        FAILS.format("return known.caller"),
        scenes.alone,
        "ended_credentials",
    ),
    Mutant(
        "6: stores that are away count as no",
        AUTHENTICATOR,
        ASKED,
        FAILS.format("raise SessionRevoked from None"),
        scenes.alone,
        "good_credentials",
    ),
    Mutant(
        "refresh: any old token is answered",
        "app/sessions/service.py",
        "token.generation == found.session.generation - 1",
        "token.generation < found.session.generation",
        scenes.replayed,
        "successors",
    ),
    Mutant(
        "audit: a refresh writes no row",
        "app/sessions/queries.py",
        "ip_address, user_agent, request_id FROM rotated",
        "ip_address, user_agent, request_id FROM rotated WHERE false",
        scenes.replayed,
        "books",
    ),
    Mutant(
        "writes: a name is acknowledged and not written",
        "app/identity/accounts.py",
        "            await queries.set_full_name(tx, caller.user_id, full_name)\n",
        "",
        scenes.renamed,
        "values",
    ),
)


async def play(cluster: Cluster, name: str, schedules: tuple[Schedule, ...], source: Path | None) -> "Played":
    """Run these schedules on replicas of this source, with a database of their own, and check."""
    history = History()
    await cluster.begin_anew(name)
    await cluster.start_replicas(source)
    try:
        scene = Scene(cluster, history)
        await scene.settle_in()
        for schedule in schedules:
            await schedule(scene)
            await mend(cluster)
    finally:
        for replica in cluster.replicas:
            replica.signal(signal.SIGCONT)
        await cluster.stop_replicas()
    async with cluster.connection() as connection:
        last = await ledger.look(connection)
    return Played(history, check(history, last))


@dataclass
class Played:
    history: History
    violations: list[Violation]

    def told(self) -> str:
        return "\n".join(each.told(self.history) for each in self.violations)


async def mend(cluster: Cluster) -> None:
    """All ways open, and everybody well, before the next schedule."""
    for replica in cluster.replicas:
        cluster.send(replica)
        for proxy in (replica.postgres, replica.valkey):
            proxy.set(Mode.PASS)
    await cluster.recovered()
    await cluster.let_epoch_age()


async def hunt(directory: Path, mutants: tuple[Mutant, ...]) -> list[str]:
    """Which mutants live, and what a schedule shows of the source as it is; both should be nothing."""
    wrong = []
    async with Cluster(directory, workers=1, idle=True) as cluster:
        schedules = tuple(dict.fromkeys(mutant.schedule for mutant in mutants))
        played = await play(cluster, "as_it_is", schedules, None)
        if played.violations:
            wrong.append(f"as it is: {played.told()}")
        for number, mutant in enumerate(mutants):
            with tempfile.TemporaryDirectory(prefix="gatehouse-mutant-") as copy:
                source = without(Path(copy), mutant)
                played = await play(cluster, f"mutant_{number}", (mutant.schedule,), source)
            found = sorted({each.rule for each in played.violations})
            print(f"{mutant.rule}: {', '.join(found) or 'LIVES'}", flush=True)  # noqa: T201 - a long run says how far it is
            if mutant.finds not in found:
                wrong.append(f"lives: {mutant.rule}")
    return wrong


def named(part: str) -> tuple[Mutant, ...]:
    """Those whose name has this in it."""
    return tuple(mutant for mutant in MUTANTS if part in mutant.rule)


def main(part: str = "") -> int:
    with tempfile.TemporaryDirectory(prefix="gatehouse-faults-") as directory:
        Path(directory).chmod(0o755)
        wrong = asyncio.run(hunt(Path(directory) / "cluster", named(part)))
    for line in wrong:
        print(line)  # noqa: T201
    return 1 if wrong else 0

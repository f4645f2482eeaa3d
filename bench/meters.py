"""What replicas, stores and the load take: processors, statements, commands, memory, connections."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import valkey

from app.cli.embedded import Postgres, Valkey

KIB = 1024
STATEMENTS = "shared_preload_libraries=pg_stat_statements"  # a setting that PostgreSQL has to be started with
CALLS = (
    "SELECT sum(s.calls) FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = 'gatehouse'"
)
COMMITS = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'gatehouse'"
LINKS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'gatehouse%'"


@dataclass(frozen=True)
class Reading:
    """Sums since the processes began; processors in seconds."""

    at: float  # on the monotonic clock
    processors: Mapping[str, float]  # by what they are of
    load: Mapping[int, float]  # by process of the load
    machine: float  # all that was not idle, but for ballast
    statements: int
    transactions: int
    commands: int


@dataclass(frozen=True)
class Use:
    """Between two readings; processors in cores."""

    seconds: float
    processors: Mapping[str, float]
    busiest_load: float  # the one process of the load that took the most
    machine: float
    statements: int
    transactions: int
    commands: int

    @classmethod
    def between(cls, first: Reading, last: Reading) -> "Use":
        seconds = last.at - first.at
        return cls(
            seconds,
            {name: (last.processors[name] - first.processors[name]) / seconds for name in last.processors},
            max((taken - first.load.get(pid, 0.0) for pid, taken in last.load.items()), default=0.0) / seconds,
            (last.machine - first.machine) / seconds,
            last.statements - first.statements,
            last.transactions - first.transactions,
            last.commands - first.commands,
        )

    @classmethod
    def together(cls, uses: Sequence["Use"]) -> "Use":
        """Several as one."""
        seconds = sum(use.seconds for use in uses)

        def mean(cores: Callable[[Use], float]) -> float:
            return sum(cores(use) * use.seconds for use in uses) / seconds

        return cls(
            seconds,
            {name: mean(lambda use: use.processors[name]) for name in uses[0].processors},  # noqa: B023 - used at once
            mean(lambda use: use.busiest_load),
            mean(lambda use: use.machine),
            sum(use.statements for use in uses),
            sum(use.transactions for use in uses),
            sum(use.commands for use in uses),
        )

    def __str__(self) -> str:
        taken = ", ".join(f"{name} {cores:.2f}" for name, cores in self.processors.items())
        return f"cores: {taken}, machine {self.machine:.2f}"


class Meters:
    """Reads them; `replicas` and `load` name the processes of the moment, `ballast` those that are not of it."""

    def __init__(
        self,
        postgres: Postgres,
        store: Valkey,
        replicas: Callable[[], Iterable[int]],
        load: Callable[[], Iterable[int]],
        ballast: Iterable[int],
    ) -> None:
        self._postgres = postgres
        self._valkey = valkey.Valkey.from_url(store.url)
        self._store = store
        self._replicas = replicas
        self._load = load
        self._ballast = list(ballast)
        postgres.sql("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")

    def read(self) -> Reading:
        load = {pid: _seconds(pid) for pid in self._load()}
        machine = psutil.cpu_times()
        return Reading(
            time.monotonic(),
            {
                "replicas": sum(map(_seconds, self._replicas())),
                "PostgreSQL": sum(map(_seconds, family(self._postgres.pid))) + _of_the_dead(self._postgres.pid),
                "Valkey": _seconds(self._store.pid),
                "load": sum(load.values()),
            },
            load,
            sum(machine) - machine.idle - machine.iowait - sum(map(_seconds, self._ballast)),
            int(self._postgres.sql(CALLS) or 0),
            int(self._postgres.sql(COMMITS)),
            sum(each["calls"] for each in self._commands().values()),
        )

    def links(self) -> tuple[int, int]:
        """Connections of the service to PostgreSQL and to Valkey."""
        clients: int = self._valkey.info("clients")["connected_clients"]  # type: ignore[index]
        return int(self._postgres.sql(LINKS)), clients - 1  # one is ours

    def _commands(self) -> Mapping[str, Mapping[str, int]]:
        """By command; those of a script count each."""
        return {
            name: figures
            for name, figures in self._valkey.info("commandstats").items()  # type: ignore[union-attr]
            if name != "cmdstat_info"  # is ours
        }


def family(pid: int) -> list[int]:
    """A process, and all that came of it and lives."""
    try:
        process = psutil.Process(pid)
        return [pid, *(child.pid for child in process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def proportional_memory(pid: int) -> float:
    """Resident MiB, what is shared counted by its part (PSS)."""
    figures = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return int(figures["Pss"].split()[0]) / KIB


def _seconds(pid: int) -> float:
    try:
        taken = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(taken.user + taken.system)


def _of_the_dead(pid: int) -> float:
    taken = psutil.Process(pid).cpu_times()
    return float(taken.children_user + taken.children_system)

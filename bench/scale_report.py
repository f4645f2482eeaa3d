"""What was carried, as a table, a picture and a verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.meters import Use

CARRY = 0.9  # of so many times what one carries
FLAT = 0.10  # that statements and commands for a thousand requests may differ by, over the numbers of replicas
FULL = 0.8  # of a core for a process that has no more than one (Valkey, each of the load), and of the machine


@dataclass(frozen=True)
class Tried:
    """A rate, and what it gave; milliseconds from when a request was due, requests a second."""

    rate: float
    seconds: float
    requests: int
    failures: int
    p50: float
    p99: float
    sign_ins: int
    sign_in_p50: float
    sign_in_p99: float
    holds: bool
    use: Use

    @property
    def answered(self) -> float:
        return self.requests / self.seconds

    def __str__(self) -> str:
        word = "holds" if self.holds else "does not hold"
        return (
            f"{self.rate:.0f}/s due, {self.answered:.0f}/s answered, {self.failures} failed, "
            f"p50 {self.p50:.0f} ms, p99 {self.p99:.0f} ms, sign-ins p99 {self.sign_in_p99:.0f} ms, {word} "
            f"({self.use})"
        )


@dataclass(frozen=True)
class Carried:
    replicas: int
    share: float  # of a core, each
    idle: Use
    tried: Sequence[Tried]

    @property
    def best(self) -> Tried:
        """The highest rate that held; a search that ended has one."""
        return max((each for each in self.tried if each.holds), key=lambda each: each.rate)

    @property
    def idle_statements(self) -> float:
        """A second, of all replicas: polls, and what else they do by themselves."""
        return self.idle.statements / self.idle.seconds

    @property
    def asked_statements(self) -> float:
        """For a thousand requests, less what idle replicas would have sent in the time; BEGIN and COMMIT among them."""
        sent = sum(each.use.statements - self.idle_statements * each.use.seconds for each in self._whole)
        return 1000 * sent / self._requests

    @property
    def statements(self) -> float:
        """With what idle replicas send, at the highest rate."""
        return self.asked_statements + 1000 * self.idle_statements / self.best.answered

    @property
    def transactions(self) -> float:
        return 1000 * sum(each.use.transactions for each in self._whole) / self._requests

    @property
    def commands(self) -> float:
        return 1000 * sum(each.use.commands for each in self._whole) / self._requests

    @property
    def _whole(self) -> list[Tried]:
        """All in which nothing failed and so all was asked: one rate alone has too few sign-ins to count by."""
        return [each for each in self.tried if not each.failures]

    @property
    def _requests(self) -> int:
        return sum(each.requests for each in self._whole)


@dataclass(frozen=True)
class Finding:
    text: str
    holds: bool

    def __str__(self) -> str:
        return f"  {'ok    ' if self.holds else 'BROKEN'}  {self.text}"


COLUMNS = (
    "replicas",
    "requests/s",
    "times one",
    "p50",
    "p99",
    "sign-ins p50, p99",
    "cores: replicas",
    "PostgreSQL",
    "Valkey",
    "load (its busiest process)",
    "machine",
    "statements",
    "less idle ones",
    "transactions",
    "Valkey commands",
)


def table(carried: Sequence[Carried], in_time: float) -> str:
    """For docs/performance.md."""
    lines = [
        f"\n{carried[0].share:g} of a core a replica; 99 of 100 requests, but sign-ins, within {in_time:g} ms.",
        "Statements, transactions and commands are for 1,000 requests.\n",
        f"| {' | '.join(COLUMNS)} |",
        f"|{' --- |' * len(COLUMNS)}",
    ]
    one = carried[0].best.answered / carried[0].replicas
    for each in carried:
        best, cores = each.best, each.best.use.processors
        cells = [
            f"{each.replicas}",
            f"{best.answered:,.0f}",
            f"{best.answered / one:.2f}",
            f"{best.p50:.0f} ms",
            f"{best.p99:.0f} ms",
            f"{best.sign_in_p50:.0f}, {best.sign_in_p99:.0f} ms",
            f"{cores['replicas']:.2f}",
            f"{cores['PostgreSQL']:.2f}",
            f"{cores['Valkey']:.2f}",
            f"{cores['load']:.2f} ({best.use.busiest_load:.2f})",
            f"{best.use.machine:.2f}",
            f"{each.statements:.0f}",
            f"{each.asked_statements:.0f}",
            f"{each.transactions:.0f}",
            f"{each.commands:,.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    idle = ", ".join(f"{each.idle_statements / each.replicas:.1f} ({each.replicas})" for each in carried)
    return "\n".join([*lines, f"\nAn idle replica sends {idle} statements a second.\n"])


def findings(carried: Sequence[Carried], cores: int) -> list[Finding]:
    first, last = carried[0], carried[-1]
    ratio = last.best.answered / first.best.answered
    aim = CARRY * last.replicas / first.replicas
    found = [
        Finding(f"{last.replicas} carry {ratio:.2f} times what {first.replicas} does, at least {aim:.2f}", ratio >= aim)
    ]
    for what, figures in (
        ("statements", [each.statements for each in carried]),
        ("statements less idle ones", [each.asked_statements for each in carried]),
        ("Valkey commands", [each.commands for each in carried]),
    ):
        spread = max(figures) / min(figures) - 1
        found.append(Finding(f"{what} for 1,000 requests differ by {spread:.1%}, at most {FLAT:.0%}", spread <= FLAT))
    for what, taken, full in (
        ("the busiest process of the load", max(each.best.use.busiest_load for each in carried), FULL),
        ("Valkey", max(each.best.use.processors["Valkey"] for each in carried), FULL),
        ("PostgreSQL", max(each.best.use.processors["PostgreSQL"] for each in carried), FULL),
        ("the machine", max(each.best.use.machine for each in carried), FULL * cores),
    ):
        found.append(Finding(f"{what}: {taken:.2f} cores at most, of {full:.2f} that leave room", taken <= full))
    return found


def plot(carried: Sequence[Carried], in_time: float, path: Path) -> None:
    """Throughput by replicas beside what as many times one would be, and p99 by rate."""
    from matplotlib import pyplot as plt  # noqa: PLC0415 - there for `make scale` alone

    figure, (grown, times) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    numbers = [each.replicas for each in carried]
    one = carried[0].best.answered / carried[0].replicas
    grown.plot(numbers, [one * number for number in numbers], linestyle=":", color="0.6", label="as many times one")
    grown.plot(numbers, [each.best.answered for each in carried], marker="o", label="carried")
    grown.set(xlabel="replicas", ylabel="requests/s", xticks=numbers, ylim=(0, None))
    grown.set_title(f"Requests/s at p99 ≤ {in_time:g} ms, {carried[0].share:g} of a core a replica")
    grown.legend(frameon=False)
    for each in carried:
        points = sorted((tried.rate / each.replicas, tried.p99) for tried in each.tried)
        times.plot(*zip(*points, strict=True), marker=".", label=f"{each.replicas}")
    times.axhline(in_time, linestyle=":", color="0.6")
    times.set(xlabel="requests/s and replica, due", ylabel="p99, ms", yscale="log")
    times.set_title("p99 by rate")
    times.legend(title="replicas", frameon=False)
    for axes in (grown, times):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(visible=True, alpha=0.25)
    figure.savefig(path, dpi=110)

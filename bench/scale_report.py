"""What was carried, as a table, a picture and a verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.meters import Use
from loadtests.part import Part, percentile, together

FINDING = 4  # tries that are about where to look
CARRY = 0.9  # of so many times what one carries
FLAT = 0.10  # that statements and commands for a thousand requests may differ by, over the numbers of replicas
SAME = 0.10  # that more replicas may take longer, and what they carry still counts as carried at the same p99
# Of a core, for Valkey and each process of the load, which have no more, and for PostgreSQL, whose commits are in a
# line; of the machine.
FULL = 0.8


@dataclass(frozen=True)
class Tried(Part):
    """A rate, and what it gave, and took."""

    use: Use

    def __str__(self) -> str:
        return f"{super().__str__()} ({self.use})"


@dataclass(frozen=True)
class Carried:
    replicas: int
    share: float  # of a core, each
    idle: Use
    tried: Sequence[Tried]  # after the first few all about the rate that is carried, and together that rate

    @cached_property
    def part(self) -> Part:
        return together(self.tried[FINDING:])

    @cached_property
    def use(self) -> Use:
        return Use.together([each.use for each in self.tried[FINDING:]])

    @property
    def p99(self) -> int:
        return percentile(self.part.times, 0.99)

    @property
    def idle_statements(self) -> float:
        """A second, of all replicas: polls, and what else they do by themselves."""
        return self.idle.statements / self.idle.seconds

    @property
    def asked_statements(self) -> float:
        """For a thousand requests, less what idle replicas would have sent in the time; BEGIN and COMMIT among them."""
        return self._for_a_thousand(self.use.statements - self.idle_statements * self.use.seconds)

    @property
    def statements(self) -> float:
        """For a thousand requests."""
        return self._for_a_thousand(self.use.statements)

    @property
    def transactions(self) -> float:
        return self._for_a_thousand(self.use.transactions)

    @property
    def commands(self) -> float:
        return self._for_a_thousand(self.use.commands)

    def _for_a_thousand(self, number: float) -> float:
        return 1000 * number / self.part.requests


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
    "failed",
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
    one = carried[0].part.answered / carried[0].replicas
    for each in carried:
        part, use = each.part, each.use
        sign_in_p50, sign_in_p99 = (percentile(part.sign_in_times, share) for share in (0.5, 0.99))
        cells = [
            f"{each.replicas}",
            f"{part.answered:,.0f}",
            f"{part.answered / one:.2f}",
            f"{part.failures} of {part.requests:,}",
            f"{percentile(part.times, 0.5)} ms",
            f"{each.p99} ms",
            f"{sign_in_p50}, {sign_in_p99} ms",
            f"{use.processors['replicas']:.2f}",
            f"{use.processors['PostgreSQL']:.2f}",
            f"{use.processors['Valkey']:.2f}",
            f"{use.processors['load']:.2f} ({use.busiest_load:.2f})",
            f"{use.machine:.2f}",
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
    ratio = last.part.answered / first.part.answered
    aim = CARRY * last.replicas / first.replicas
    longer = last.p99 / first.p99 - 1
    found = [
        Finding(
            f"{last.replicas} carry {ratio:.2f} times what {first.replicas} does, at least {aim:.2f}", ratio >= aim
        ),
        Finding(
            f"the p99 of {last.replicas} is {longer:+.0%} of that of {first.replicas}, at most {SAME:+.0%}",
            longer <= SAME,
        ),
    ]
    for what, figures in (
        ("statements", [each.statements for each in carried]),
        ("statements less idle ones", [each.asked_statements for each in carried]),
        ("Valkey commands", [each.commands for each in carried]),
    ):
        spread = max(figures) / min(figures) - 1
        found.append(Finding(f"{what} for 1,000 requests differ by {spread:.1%}, at most {FLAT:.0%}", spread <= FLAT))
    for what, taken, full in (
        ("the busiest process of the load", max(each.use.busiest_load for each in carried), FULL),
        ("Valkey", max(each.use.processors["Valkey"] for each in carried), FULL),
        ("PostgreSQL", max(each.use.processors["PostgreSQL"] for each in carried), FULL),
        ("the machine", max(each.use.machine for each in carried), FULL * cores),
    ):
        found.append(Finding(f"{what}: {taken:.2f} cores, of {full:.2f} that leave room", taken <= full))
    return found


def plot(carried: Sequence[Carried], in_time: float, path: Path) -> None:
    """Throughput by replicas beside what as many times one would be, and p99 by rate."""
    from matplotlib import pyplot as plt  # noqa: PLC0415 - there for `make scale` alone

    figure, (grown, times) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    numbers = [each.replicas for each in carried]
    one = carried[0].part.answered / carried[0].replicas
    grown.plot(numbers, [one * number for number in numbers], linestyle=":", color="0.6", label="as many times one")
    grown.plot(numbers, [each.part.answered for each in carried], marker="o", label="carried")
    grown.set(xlabel="replicas", ylabel="requests/s", xticks=numbers, ylim=(0, None))
    grown.set_title(f"Requests/s at p99 ≤ {in_time:g} ms, {carried[0].share:g} of a core a replica")
    grown.legend(frameon=False)
    for each in carried:
        points = sorted((tried.rate / each.replicas, percentile(tried.times, 0.99)) for tried in each.tried)
        times.plot(*zip(*points, strict=True), marker=".", linestyle="", label=f"{each.replicas}")
    times.axhline(in_time, linestyle=":", color="0.6")
    times.set(xlabel="requests/s and replica, due", ylabel="p99, ms", yscale="log")
    times.yaxis.set_major_formatter("{x:g}")
    times.yaxis.set_minor_formatter("{x:g}")
    times.set_title("p99 by rate")
    times.legend(title="replicas", frameon=False)
    for axes in (grown, times):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(visible=True, alpha=0.25)
    figure.savefig(path, dpi=110)

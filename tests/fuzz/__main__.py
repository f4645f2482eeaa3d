"""`python -m tests.fuzz`: a server is asked what its document allows and forbids, and shown mutated tokens.

Its exit status is 1 if anything was accepted or answered that should not have been.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.documented import Fuzzer, Report
from tests.fuzz.house import House, in_the_house
from tests.fuzz.tokens import Forger, Refusals

SEEDS = 1_000_000
SHOWN = 20  # findings; one wrong rule makes hundreds


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000, help="requests made of the document (default 20000)")
    parser.add_argument("--tokens", type=int, default=10_000, help="mutations of tokens (default 10000)")
    parser.add_argument("--seed", type=int, help="of an earlier run, for the same choices")
    return parser.parse_args()


async def run(asked: argparse.Namespace, directory: Path) -> int:
    async with in_the_house(directory) as house:
        return await asyncio.to_thread(fuzz, asked, house)


def fuzz(asked: argparse.Namespace, house: House) -> int:
    """How many findings there are."""
    started = time.monotonic()
    refusals = Forger(house, house.new_admin()).run(asked.tokens, asked.seed)
    say(told_of_tokens(refusals, time.monotonic() - started))
    started = time.monotonic()
    fuzzer = Fuzzer(house, asked.seed)
    report = fuzzer.run(asked.cases)
    say(told(report, {operation.label for operation in fuzzer.operations}, time.monotonic() - started))
    findings = [finding for each in refusals.values() for finding in each.findings]
    findings += [*map(str, report.findings.values()), *house.faults()]
    say("\n".join([f"{len(findings)} findings", *findings[:SHOWN]]))
    return len(findings)


def told_of_tokens(refusals: dict[str, Refusals], seconds: float) -> str:
    lines = [f"{sum(each.mutations for each in refusals.values())} mutations of tokens in {seconds:.0f} s"]
    for name, each in refusals.items():
        answers = ", ".join(f"{status}: {number}" for status, number in sorted(each.statuses.items()))
        lines.append(f"  {name}: {each.mutations}, answered {answers}")
    return "\n".join(lines)


def told(report: Report, operations: set[str], seconds: float) -> str:
    answers = ", ".join(f"{status}: {number}" for status, number in sorted(report.statuses.items()))
    never = ", ".join(sorted(operations - report.reached)) or "none"
    done = f"{report.cases} cases in {seconds:.0f} s, answered {answers}"
    return f"{done}\n  {len(operations)} operations; never done, only refused: {never}"


def main() -> int:
    asked = arguments()
    asked.seed = random.SystemRandom().randrange(SEEDS) if asked.seed is None else asked.seed
    say(f"seed {asked.seed}")
    with tempfile.TemporaryDirectory(prefix="gatehouse-fuzz-") as directory:
        Path(directory).chmod(0o755)  # PostgreSQL runs as nobody where we are root
        return 1 if asyncio.run(run(asked, Path(directory))) else 0


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - that is what it is for


if __name__ == "__main__":
    sys.exit(main())

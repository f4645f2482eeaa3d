"""`python -m tests.faults --minutes 5`: torture two replicas, and say what clients saw that cannot be."""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from tests.faults import figures, mutants, torture
from tests.faults.nemesis import KINDS

SEEDS = 1_000_000
SHOWN = 20  # violations; one wrong rule makes hundreds


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, help="the faults of an earlier run in the same order")
    parser.add_argument("--strict", action="store_true", help="with STRICT_REVOCATION=on, and two faults at a time")
    parser.add_argument("--fault", action="append", choices=KINDS, help="only this kind, once and short; or several")
    parser.add_argument("--history", type=Path, help="write all operations to this file")
    parser.add_argument("--mutant", help="on a source that breaks the rule of this name, or a part of it")
    parser.add_argument("--figures", action="store_true", help="instead: what faults cost, see tests/faults/figures.py")
    parser.add_argument(
        "--mutants", nargs="?", const="", help="instead: show that the checker can find (those so named)"
    )
    return parser.parse_args()


def torment(asked: argparse.Namespace, directory: Path, source: Path | None) -> torture.Report:
    return asyncio.run(
        torture.run(
            directory / "cluster",
            asked.seed,
            seconds=None if asked.fault else 60 * asked.minutes,
            kinds=asked.fault or tuple(KINDS),
            strict=asked.strict,
            source=source,
        )
    )


def main() -> int:
    asked = arguments()
    if asked.mutants is not None:
        return mutants.main(asked.mutants)
    asked.seed = random.SystemRandom().randrange(SEEDS) if asked.seed is None else asked.seed
    say(f"seed {asked.seed}")
    with tempfile.TemporaryDirectory(prefix="gatehouse-faults-") as directory:
        Path(directory).chmod(0o755)  # PostgreSQL runs as nobody where we are root
        source = None
        if asked.mutant is not None:
            source = mutants.without(Path(directory) / "source", mutants.named(asked.mutant)[0])
        if asked.figures:
            return 0 if asyncio.run(figures.run(Path(directory) / "cluster", asked.seed, source)) else 1
        report = torment(asked, Path(directory), source)
    if asked.history:
        asked.history.write_text("\n".join(report.history.lines()))
    say(report.told(SHOWN))
    return 1 if report.violations else 0


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - that is what it is for


if __name__ == "__main__":
    sys.exit(main())

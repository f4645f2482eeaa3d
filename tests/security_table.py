"""Holds the tables of docs/security.md to a run of all tests: `python -m tests.security_table REPORT`, by `make test`.

REPORT is the one that pytest writes with `--junitxml`, the same with and without workers. What the page alone can tell
wrong (a requirement without a row, a row that says nothing) tests/documentation/test_security.py finds at every run.
"""

import re
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs/security.md"
OPEN = "Open"  # what the last cell of a row begins with that is not met
NOT_OURS = "Does not apply:"
NOT_MET = "## What is not met"  # the section that lists those rows once more
TEST = re.compile(r"`(tests/[\w/]+\.py::[\w:]+(?:\[[^`]*\])?)`")

# How many requirements of levels 1 and 2 each section of OWASP ASVS 5.0.0 has; in these chapters they come first.
ASVS = {
    "V6": (3, 12, 4, 4, 5, 3, 0, 4),
    "V7": (3, 4, 2, 5, 2, 2),
    "V9": (3, 4),
    "V10": (2, 2, 4, 11, 5, 2, 3),
    "V11": (2, 3, 3, 4, 1, 1, 0),
}
JWT_PRACTICES = 12  # RFC 8725 §3.1 to §3.12


@dataclass(frozen=True)
class Row:
    """A requirement: its number and what it asks, where it is met, and what shows it."""

    number: str
    asks: str
    where: str
    shown: str

    @property
    def tests(self) -> list[str]:
        return TEST.findall(self.shown)

    @property
    def is_open(self) -> bool:
        return self.shown.startswith(OPEN)


def rows(page: str) -> Iterator[Row]:
    """The rows of the tables whose first column is `#`."""
    inside = False
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if not line.startswith("|"):
            inside = False
        elif cells[0] == "#":
            inside = True
        elif inside and not line.startswith("| ---"):
            yield Row(*(*cells, "", "", "")[:4])


def required() -> set[str]:
    """The numbers that have to have a row."""
    asvs = {
        f"{chapter}.{section}.{number}"
        for chapter, sections in ASVS.items()
        for section, count in enumerate(sections, 1)
        for number in range(1, count + 1)
    }
    return asvs | {f"RFC 8725 3.{number}" for number in range(1, JWT_PRACTICES + 1)}


def flaws(page: str) -> list[str]:
    """What is wrong with the page by itself."""
    table = list(rows(page))
    times = Counter(row.number for row in table)
    _, _, after = page.partition(f"\n{NOT_MET}\n")
    listed = {
        number for bold in re.findall(r"\*\*(.+?)\*\*", after.partition("\n## ")[0]) for number in bold.split(", ")
    }
    is_open = {row.number for row in table if row.is_open}
    return [
        *(f"{number}: has no row" for number in sorted(required() - set(times))),
        *(f"{number}: has {count} rows" for number, count in times.items() if count > 1),
        *(f"{row.number}: names no test and no reason" for row in table if not _says_something(row)),
        *(f"{number}: is open, and not listed under {NOT_MET!r}" for number in sorted(is_open - listed)),
        *(f"{number}: is listed under {NOT_MET!r}, and its row is not open" for number in sorted(listed - is_open)),
    ]


def _says_something(row: Row) -> bool:
    return bool(row.asks and row.where and (row.tests or row.is_open or row.shown.startswith(NOT_OURS)))


def outcomes(report: Path) -> dict[str, bool]:
    """Whether each test of a run has passed, by its id; one with parameters also by its name alone, if all have."""
    found: dict[str, bool] = {}
    for case in ET.parse(report).iter("testcase"):
        passed = all(case.find(bad) is None for bad in ("failure", "error", "skipped"))
        test = f"{case.get('classname')}::{case.get('name')}"
        for name in {test, test.partition("[")[0]}:
            found[name] = found.get(name, True) and passed
    return found


def unproven(page: str, run: dict[str, bool]) -> list[str]:
    """The tests that the page names and that did not run, or did not pass."""
    wrong = []
    for test in sorted(set(TEST.findall(page))):
        file, _, name = test.partition(".py::")
        *classes, function = name.partition("[")[0].split("::")
        case = ".".join([*file.split("/"), *classes]) + f"::{function}{name[name.find('[') :] if '[' in name else ''}"
        if case not in run:
            wrong.append(f"{test}: is not among the tests that ran")
        elif not run[case]:
            wrong.append(f"{test}: did not pass")
    return wrong


def main(report: Path, page: Path = PAGE) -> int:
    text = page.read_text(encoding="utf-8")
    wrong = flaws(text) + unproven(text, outcomes(report))
    for line in wrong:
        print(f"{page.name}: {line}", file=sys.stderr)  # noqa: T201 - a command
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))

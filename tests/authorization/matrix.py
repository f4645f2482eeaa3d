"""Reads `matrix.txt`: the answers, the kinds of callers, and what each route answers each of them."""

import re
from dataclasses import dataclass
from pathlib import Path

MATRIX = Path(__file__).parent / "matrix.txt"
ANSWER = re.compile(r"# (\w) (\d{3}) (\w+)")
ROW = re.compile(r"(?P<cells>(?:\S +)+)(?P<method>[A-Z]{3,}) (?P<path>/\S*)(?: (?P<about>.+))?")
LET_IN = "+"


@dataclass(frozen=True)
class Row:
    """A route, perhaps asked in a certain way, and a letter for each kind of caller."""

    method: str
    path: str
    about: str
    cells: dict[str, str]

    def __str__(self) -> str:
        return " ".join(filter(None, (self.method, self.path, self.about)))


def read() -> tuple[dict[str, tuple[int, str]], list[str], list[Row]]:
    """Status and code by the letter, the kinds, the rows."""
    refusals: dict[str, tuple[int, str]] = {}
    kinds: list[str] = []
    rows: list[Row] = []
    for line in MATRIX.read_text().splitlines():
        if found := ANSWER.match(line):
            refusals[found[1]] = int(found[2]), found[3]
        elif found := ROW.fullmatch(line):
            cells = dict(zip(kinds, found["cells"].split(), strict=True))
            assert set(cells.values()) <= {LET_IN, *refusals}, line
            rows.append(Row(found["method"], found["path"], found["about"] or "", cells))
        elif line and not line.startswith("#"):
            assert not rows, line
            kinds.append(line.lstrip("| "))
    return refusals, kinds, rows


REFUSALS, KINDS, ROWS = read()

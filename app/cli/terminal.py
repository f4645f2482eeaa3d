"""What a command prints: lines for people, or one JSON document with `--json`."""

import argparse
import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

UNBOUNDED = 10_000  # columns: what goes into a pipe is cut nowhere


def say(text: str = "") -> None:
    """In one piece, which nobody else's line gets into."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """One line on stderr, which begins with the name of the program as usual."""
    sys.stderr.write(f"gatehouse: {text}\n")
    sys.stderr.flush()


def answer(arguments: argparse.Namespace, data: Mapping[str, object] | Sequence[object], *lines: str) -> None:
    """The outcome in the form that was asked for."""
    if arguments.json:
        say(json.dumps(data, indent=2))
        return
    for line in lines:
        say(line)


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows for people, as wide as their terminal; what is None shows as nothing, what does not print as a question."""
    to_people = sys.stdout.isatty()
    drawn = Table(*headings, box=box.SIMPLE_HEAD if to_people else None, pad_edge=False, show_edge=False)
    for row in rows:
        drawn.add_row(*(Text(plain(each)) for each in row))
    page = io.StringIO()
    Console(file=page, width=None if to_people else UNBOUNDED, force_terminal=to_people).print(drawn)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())


def plain(value: object) -> str:
    """Nothing that would speak to the terminal itself."""
    text = "" if value is None else str(value)
    return "".join(char if char.isprintable() else "?" for char in text)

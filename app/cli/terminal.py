"""What a command prints: lines for people, or one JSON document with `--json`."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence


def say(text: str = "") -> None:
    print(text, flush=True)  # noqa: T201 (the one place that prints)


def complain(text: str) -> None:
    """One line on stderr, which begins with the name of the program as usual."""
    print(f"gatehouse: {text}", file=sys.stderr, flush=True)  # noqa: T201 (as above)


def answer(arguments: argparse.Namespace, data: Mapping[str, object] | Sequence[object], *lines: str) -> None:
    """The outcome in the form that was asked for."""
    if arguments.json:
        say(json.dumps(data, indent=2))
        return
    for line in lines:
        say(line)

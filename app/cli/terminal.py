"""What a command prints: lines for people, or one JSON document with `--json`."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence


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

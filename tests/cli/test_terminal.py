"""Tables: as wide as the terminal for people, whole for pipes, and nothing in them that the terminal would obey."""

import sys

import pytest

from app.cli.terminal import table

LONG = "Ada " * 30


def test_a_pipe_gets_whole_lines() -> None:
    assert table(("id", "name"), [(1, LONG.strip()), (22, None)]).splitlines() == [
        "id  name",
        f"1   {LONG.strip()}",
        "22",
    ]


def test_a_terminal_gets_what_fits_into_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")

    shown = table(("id", "name"), [(1, LONG.strip())])

    assert shown.count("Ada") == 30
    assert len(shown.splitlines()) > 3


@pytest.mark.parametrize("text", ["\x1b[2Jgone", "two\nlines", "a\x07bell", "\u202eback"])
def test_what_speaks_to_the_terminal_is_shown_as_a_question(text: str) -> None:
    _, line = table(("name",), [(text,)]).splitlines()

    assert line.replace("?", "") == "".join(filter(str.isprintable, text))
    assert line.count("?") == 1

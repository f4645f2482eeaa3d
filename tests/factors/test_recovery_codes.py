"""Codes on paper: made at random, and known however they are written."""

import re

import pytest

from app.factors import recovery_codes
from app.factors.recovery_codes import digest

CODE = "0a1b-c2d3-e4f5-g6h7"


def test_there_are_ten_of_a_hundred_and_forty_bits() -> None:
    made = recovery_codes.make()

    assert len(set(made)) == 10
    assert all(re.fullmatch(r"(?:[0-9a-hjkmnp-tv-z]{4}-){6}[0-9a-hjkmnp-tv-z]{4}", code) for code in made)
    assert not set(made) & set(recovery_codes.make())


@pytest.mark.parametrize(
    "written",
    [
        CODE,
        CODE.upper(),
        CODE.replace("-", ""),
        CODE.replace("-", " "),
        f" {CODE}\n",
        "oa1b c2d3 e4f5 g6h7",
        "OaIb-c2d3-e4f5-g6h7",
        "0alb-c2d3-e4f5-g6h7",
    ],
)
def test_one_is_the_same_however_it_is_written(written: str) -> None:
    assert digest(1, written) == digest(1, CODE)


@pytest.mark.parametrize("other", ["", "-", CODE[:-1], CODE + "0", "1a1b-c2d3-e4f5-g6h7", "0a1b_c2d3", "\ud800"])
def test_another_is_another(other: str) -> None:
    assert digest(1, other) != digest(1, CODE)


def test_that_of_somebody_else_is_another() -> None:
    """Or two who have the same could be told from the table."""
    assert digest(2, CODE) != digest(1, CODE)
    assert digest(11, CODE) != digest(1, "1" + CODE)

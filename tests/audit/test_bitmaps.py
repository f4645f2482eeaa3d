"""How many are in a set is told from its bits: exactly where there are few, nearly where there are many."""

import random
from datetime import datetime

import pytest

from app.audit.bitmaps import BITS, bitmap, number
from app.audit.queries import covered


@pytest.mark.parametrize(
    ("members", "error"), [(0, 0), (1, 0), (10, 0), (1_000, 10), (100_000, 1_500), (1_000_000, 80_000)]
)  # five standard errors
def test_the_number_is_that_of_the_members(members: int, error: int) -> None:
    chance = random.Random(4)

    ones = len(set(chance.choices(range(BITS), k=members)))

    assert abs(number(ones) - members) <= error


def test_a_full_set_has_a_number_as_well() -> None:
    assert number(BITS) > 1_500_000


def test_a_bitmap_has_these_bits() -> None:
    assert [at for at, bit in enumerate(bitmap([3, 8, BITS - 1]).as_string().replace(" ", "")) if bit == "1"] == [
        3,
        8,
        BITS - 1,
    ]


def test_any_time_is_put_together_of_few_slots() -> None:
    def at(text: str) -> datetime:
        return datetime.fromisoformat(f"2026-{text}+00:00")

    def cover(*bounds: str) -> list[tuple[int, int, str, str]]:
        found = covered([at(bound) for bound in bounds])
        return [(point, minutes, f"{a:%d %H:%M}", f"{b:%d %H:%M}") for point, minutes, a, b in found]

    assert cover("05-01T10:00", "05-01T11:00") == [(0, 60, "01 10:00", "01 11:00")]
    assert cover("05-01T10:15", "05-01T10:45") == [(0, 15, "01 10:15", "01 10:45")]
    assert cover("05-01T10:30", "05-01T11:30") == [(0, 15, "01 10:30", "01 11:30")]
    assert cover("05-01T00:00", "05-03T00:00", "05-04T00:00") == [
        (0, 1440, "01 00:00", "03 00:00"),
        (1, 1440, "03 00:00", "04 00:00"),
    ]
    assert cover("05-01T18:15", "05-04T18:15") == [
        (0, 15, "01 18:15", "01 19:00"),
        (0, 60, "01 19:00", "02 00:00"),
        (0, 1440, "02 00:00", "04 00:00"),
        (0, 60, "04 00:00", "04 18:00"),
        (0, 15, "04 18:00", "04 18:15"),
    ]

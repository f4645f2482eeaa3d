"""What a part of a run gave, alone and with others."""

from math import inf

import pytest

from loadtests.part import Part, percentile, together


@pytest.mark.parametrize(
    ("times", "part", "expected"),
    [({5: 99, 200: 1}, 0.99, 5), ({5: 98, 200: 2}, 0.99, 200), ({5: 1}, 0.5, 5), ({}, 0.99, 0)],
)
def test_a_percentile_is_a_time_in_which_so_many_were_answered(
    times: dict[int, int], part: float, expected: int
) -> None:
    assert percentile(times, part) == expected


@pytest.mark.parametrize(
    ("part", "miss"),
    [
        (Part(100, 1, 0, {75: 100}, {}), 0.5),
        (Part(100, 1, 0, {75: 99}, {900: 1}), 0.5),  # a sign-in has its own time
        (Part(100, 1, 1, {75: 100}, {}), inf),
        (Part(100, 1, 0, {75: 96}, {}), inf),  # not all that were due
        (Part(100, 1, 0, {75: 98, 300: 2}, {}), 2.0),
    ],
)
def test_a_rate_is_missed_by_the_99_of_100_and_by_what_fails(part: Part, miss: float) -> None:
    assert part.miss(150) == miss


def test_several_parts_are_one() -> None:
    whole = together([Part(100, 1, 0, {5: 100}, {}), Part(50, 3, 2, {5: 140, 9: 8}, {300: 2})])

    assert whole == Part(62.5, 4, 2, {5: 240, 9: 8}, {300: 2})
    assert (whole.requests, whole.answered) == (250, 62.5)

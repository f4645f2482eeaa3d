"""What is carried is found among tries that differ by chance."""

from math import inf
from random import Random

import pytest

from bench.scale_report import FINDING
from bench.staircase import Staircase


@pytest.mark.parametrize("first", [150.0, 300.0, 600.0])
def test_it_settles_where_the_measure_comes_out_as_it_should(first: float) -> None:
    chance = Random(1)
    stairs, settled = Staircase(first), []
    for number in range(200):
        if number >= FINDING:
            settled.append(stairs.rate)
        stairs.heard((stairs.rate / 300) ** 5 * chance.lognormvariate(0, 0.4))

    assert sum(settled) / len(settled) == pytest.approx(300, rel=0.05)


@pytest.mark.parametrize(("miss", "rate"), [(inf, 100.0), (1.0, 130.0), (1e-9, 169.0)])
def test_no_try_moves_it_far(miss: float, rate: float) -> None:
    stairs = Staircase(130.0)

    stairs.heard(miss)

    assert stairs.rate == pytest.approx(rate)

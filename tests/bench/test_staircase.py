"""What is carried is found among tries of which some fail by chance."""

from random import Random

import pytest

from bench.staircase import Staircase


@pytest.mark.parametrize("first", [20.0, 150.0, 2000.0])
def test_it_settles_where_half_of_the_tries_hold(first: float) -> None:
    chance = Random(1)
    stairs, settled = Staircase(first), []
    for _ in range(200):
        if stairs.settled:
            settled.append(stairs.rate)
        stairs.heard(held=stairs.rate < chance.gauss(300, 30))

    assert sum(settled) / len(settled) == pytest.approx(300, rel=0.05)


def test_it_has_not_settled_where_nothing_holds() -> None:
    stairs = Staircase(100.0)
    for _ in range(20):
        stairs.heard(held=False)

    assert not stairs.settled
    assert stairs.rate < 1

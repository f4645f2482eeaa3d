"""Growth is told from noise."""

import random

import pytest

from bench.slope import Slope

MINUTES = [number / 12 for number in range(120)]  # ten minutes, a sample each 5 s


def test_noise_is_no_growth() -> None:
    chance = random.Random(7)

    slope = Slope.of(MINUTES, [130 + chance.gauss(0, 0.5) for _ in MINUTES])

    assert slope.is_noise
    assert slope.off < 0.1


def test_growth_is_found_in_noise() -> None:
    chance = random.Random(7)

    slope = Slope.of(MINUTES, [130 + 0.2 * minute + chance.gauss(0, 0.5) for minute in MINUTES])

    assert not slope.is_noise
    assert abs(slope.growth - 0.2) < slope.off


def test_it_is_as_sure_as_it_says() -> None:
    """Of a hundred series without growth some five are taken for growth."""
    chance = random.Random(7)
    taken = sum(not Slope.of(MINUTES, [chance.gauss(0, 1) for _ in MINUTES]).is_noise for _ in range(100))

    assert 1 <= taken <= 10


def test_two_figures_say_nothing() -> None:
    with pytest.raises(ValueError, match="three blocks"):
        Slope.of([0, 1], [1, 2])

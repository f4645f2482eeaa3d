"""The search for the highest rate that holds."""

import pytest

from loadtests.search import highest


@pytest.mark.parametrize("first", [10.0, 130.0, 170.0, 1500.0])
def test_what_is_found_holds_and_a_little_more_does_not(first: float) -> None:
    found = highest(lambda rate: rate <= 150.0, first, stride=1.3, precision=1.05)

    assert found is not None
    assert 150.0 / 1.05 <= found <= 150.0


@pytest.mark.parametrize("everything_holds", [True, False])
def test_what_cannot_be_found_is_not_made_up(everything_holds: bool) -> None:  # noqa: FBT001
    assert highest(lambda _: everything_holds, 100.0, stride=1.3, precision=1.05) is None

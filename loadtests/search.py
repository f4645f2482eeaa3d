"""The highest rate that holds, by trying."""

from collections.abc import Callable
from math import sqrt

MOST_TRIES = 16  # a service that fits nothing here, or that nothing here can fill, ends the search


def highest(holds: Callable[[float], bool], first: float, *, stride: float, precision: float) -> float | None:
    """The highest rate seen to hold, where one of `precision` times as much, or less, was seen not to.

    It goes from `first` by factors of `stride` until both are known, and halves what is between them. None if that was
    not found out.
    """
    low = high = None
    rate = first
    for _ in range(MOST_TRIES):
        if holds(rate):
            low = rate
        else:
            high = rate
        if high is None:
            rate *= stride
        elif low is None:
            rate /= stride
        elif high <= low * precision:
            return low
        else:
            rate = sqrt(low * high)
    return None

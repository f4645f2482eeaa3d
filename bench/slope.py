"""Whether figures grow: a line through them, and how sure its slope is."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, fmean

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Slope:
    """Growth a unit of time, and by how much it may be off either way."""

    growth: float
    off: float

    @property
    def is_noise(self) -> bool:
        return abs(self.growth) <= self.off

    @classmethod
    def of(cls, times: Sequence[float], figures: Sequence[float], blocks: int = 20) -> "Slope":
        """By least squares through the means of blocks: samples that follow each other soon are not independent."""
        size = max(1, len(times) // blocks)
        starts = range(0, len(times) - size + 1, size)
        xs = [fmean(times[start : start + size]) for start in starts]
        ys = [fmean(figures[start : start + size]) for start in starts]
        degrees = len(xs) - 2
        if degrees < 1:
            raise ValueError(f"a slope is read from three blocks at least, not from {len(xs)}")
        middle_x, middle_y = fmean(xs), fmean(ys)
        spread = sum((x - middle_x) ** 2 for x in xs)
        growth = sum((x - middle_x) * (y - middle_y) for x, y in zip(xs, ys, strict=True)) / spread
        left = sum((y - middle_y - growth * (x - middle_x)) ** 2 for x, y in zip(xs, ys, strict=True))
        return cls(growth, _quantile(degrees) * sqrt(left / degrees / spread))


def _quantile(degrees: int) -> float:
    """Of Student's t, two-sided, by Abramowitz and Stegun 26.7.5: within 0.01 from six degrees of freedom on."""
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / degrees + second / degrees**2 + third / degrees**3

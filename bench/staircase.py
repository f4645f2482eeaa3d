"""The rate at which what is measured comes out as it should, found by trying faster and slower ones."""

GAIN = 0.2  # of a miss, by its logarithm: near what can be carried the p99 goes with the fifth power of the rate
LEAST = 0.001  # of a miss: a p99 that is rounded to nothing
STRIDE = 1.3  # the most by which the next rate is another: one try says little


class Staircase:
    """Stochastic approximation (Robbins and Monro, A Stochastic Approximation Method, 1951), on a scale of factors.

    On a machine whose speed is not its own one try says little; it takes no more of them to be right on average, and
    several staircases that are climbed in turns see the same weather.
    """

    def __init__(self, first: float) -> None:
        self.rate = first

    def heard(self, miss: float) -> None:
        """Go on from the last try, in which the p99 was so many times what it should be."""
        self.rate *= max(1 / STRIDE, min(STRIDE, max(miss, LEAST) ** -GAIN))

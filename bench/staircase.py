"""The rate at which a try holds as often as not, found by going up where one does and down where not."""

STRIDES = (1.35, 1.16, 1.08, 1.04)  # after no turn, one, two, more: from what is not known to what one try cannot tell


class Staircase:
    """The up-and-down method (Dixon and Mood, A Method for Obtaining and Analyzing Sensitivity Data, 1948).

    On a machine whose speed is not its own a single try says little; it takes no more of them to be right on average,
    and several staircases that are climbed in turns see the same weather.
    """

    def __init__(self, first: float) -> None:
        self.rate = first
        self.turns = 0
        self._held: bool | None = None

    @property
    def settled(self) -> bool:
        """Whether its steps are the smallest: what is tried from now on is about what can be carried."""
        return self.turns >= len(STRIDES) - 1

    def heard(self, *, held: bool) -> None:
        """Go on from the last try."""
        if self._held is not None and held != self._held:
            self.turns += 1
        self._held = held
        stride = STRIDES[min(self.turns, len(STRIDES) - 1)]
        self.rate *= stride if held else 1 / stride

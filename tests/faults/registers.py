"""Values that are written whole and read whole: which of the writes can a read have seen?

A read may see a write unless another one, that was acknowledged, lies wholly between the two. A write without an answer
has no end: from its begin on it is possible for ever, and it makes nothing impossible.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.faults.history import BEGINNING, NEVER, Operation


@dataclass(frozen=True)
class Write:
    value: object
    began: float
    ended: float  # NEVER: its outcome is not known


class Register:
    """All writes of one value; refused ones, and those that are known never to have happened, are left out."""

    def __init__(self, initial: object) -> None:
        self.writes = [Write(initial, BEGINNING, BEGINNING)]

    def wrote(self, operation: Operation, *, happened: bool | None) -> None:
        """Note a write; `happened` is what the audit says of one whose answer did not come, where it says anything."""
        if operation.ok:
            self.writes.append(Write(operation.value, operation.began, operation.ended))
        elif operation.unknown and happened is not False:
            self.writes.append(Write(operation.value, operation.began, NEVER))

    def possible(self, began: float, ended: float) -> set[object]:
        """What a read from `began` to `ended` may have seen."""
        return {write.value for write in self.writes if write.began <= ended and not self._covered(write, began)}

    def _covered(self, write: Write, began: float) -> bool:
        return any(write.ended < later.began and later.ended < began for later in self.writes)

    def latest(self) -> set[object]:
        """What may stand there when all is over."""
        return self.possible(NEVER, NEVER)


def some_other(possible: Iterable[object], value: object) -> bool:
    return any(each != value for each in possible)

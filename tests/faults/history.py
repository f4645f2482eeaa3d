"""What clients did and what they were answered: the only thing that the checker believes, beside the last look.

An operation without an answer, or with 503 to a write, is *unknown*: it may have taken effect, or may yet. A request
can wait in the socket of a stopped process, a COMMIT in a network that stalls, and neither knows that its client has
gone. So an unknown operation counts as possible at every moment from its begin on, without end; only when no server
process and no backend of PostgreSQL is left (`ledger.py` looks then) has it happened or not, and its audit row, found
by the id of the request, tells which.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

BEGINNING = -math.inf
NEVER = math.inf

ADMIN_ACTS = {"revoke", "revoke_all", "set_admin", "set_active"}
CHANGES = {
    "register",
    "login",
    "refresh",
    "logout",
    "logout_by_token",
    "logout_all",
    "logout_others",
    "rename",
    "prefer",
    "password",
    *ADMIN_ACTS,
}


@dataclass(eq=False)
class Operation:
    """One request. `user` and `session` are whom it is about; `bearer` is the session whose access token it shows."""

    number: int
    kind: str
    replica: int
    began: float  # seconds, on the monotonic clock
    user: str = ""  # username
    session: str | None = None
    bearer: str | None = None
    generation: int | None = None  # of the refresh token that is presented
    key: str = ""  # of a preference
    value: object = None  # what is written; of a login, the password tried
    ended: float = NEVER
    status: int | None = None  # none: no answer came
    code: str = ""
    answer: dict[str, Any] = field(default_factory=dict)  # what of the body the checker looks at
    body: Any = field(default=None, repr=False)  # the whole of it, for the client alone

    @property
    def request_id(self) -> str:
        return f"fault-{self.number}"

    @property
    def ok(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def unknown(self) -> bool:
        return self.status is None or (self.status == 503 and self.kind in CHANGES)

    @property
    def refused(self) -> bool:
        return not self.ok and not self.unknown

    @property
    def outcome(self) -> str:
        if self.status is None:
            return "no answer"
        return f"{self.status} {self.code}".strip()

    def __str__(self) -> str:
        told = {
            "user": self.user,
            "bearer": self.bearer,
            "session": self.session,
            "generation": self.generation,
            "key": self.key,
            "value": self.value,
            **self.answer,
        }
        what = " ".join(f"{name}={value}" for name, value in told.items() if value not in (None, ""))
        return f"{self.began:12.4f} {self.ended:12.4f} r{self.replica} {self.kind} {what} -> {self.outcome}"


@dataclass
class Fault:
    """What the nemesis did, and from when to when it lasted."""

    kind: str
    began: float
    ended: float = NEVER
    where: str = ""

    def __str__(self) -> str:
        return f"{self.began:12.4f} {self.ended:12.4f} -- {self.kind} {self.where}"


@dataclass
class History:
    operations: list[Operation] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def of(self, *kinds: str) -> Iterator[Operation]:
        return (operation for operation in self.operations if operation.kind in kinds)

    def lines(self) -> list[str]:
        """All of it, in the order of the begins."""
        told = [(each.began, str(each)) for each in self.operations]
        told += [(each.began, str(each)) for each in self.faults]
        return [line for _, line in sorted(told)]

    def around(self, operations: list[Operation]) -> list[str]:
        """The lines of these operations and of the faults of that time, in their order."""
        first = min(each.began for each in operations) - 1.0
        last = max(min(each.ended, each.began + 30.0) for each in operations)
        lines = [(each.began, str(each)) for each in operations]
        lines += [(each.began, str(each)) for each in self.faults if each.began <= last and each.ended >= first]
        return [line for _, line in sorted(lines)]

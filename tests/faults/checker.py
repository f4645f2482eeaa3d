"""Can all that clients saw, and what PostgreSQL holds in the end, be the work of a service that keeps its promises?

Pure functions over the history and the last look. What each of them holds true:

- `answers`: no error of the server but 503, and no answer that the operation does not have.
- `ended_credentials`: nothing is accepted in a request that began after the answer that ended its session had come.
- `good_credentials`: nobody is refused whose session had not ended; an outage is 503, never 401.
- `successors`: every 200 to one refresh token carries the same successor, and generations only move on.
- `values`: no acknowledged write is lost, and no request that begins after it reads what was there before: names,
  preferences, passwords, rights, accounts that are active.
- `books` (tests/faults/books.py): an audit row if, and only if, its change.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tests.faults import books
from tests.faults.history import CHANGES, History, Operation
from tests.faults.ledger import Ledger
from tests.faults.registers import Register, some_other

TOKEN_REFUSALS = {"session_revoked", "invalid_token", "not_authenticated"}
ENDED = {"invalid_refresh_token", "refresh_token_reused"}
# What each operation may answer, beside 503, where the requests themselves are well formed.
ANSWERS: dict[str, set[int]] = {
    "register": {201, 409},  # taken: by an earlier try whose answer did not come
    "login": {200, 401},
    "me": {200, 401},
    "verify": {200, 401},
    "may": {200, 401, 403},
    "list": {200, 401, 403},
    "refresh": {200, 401},
    "logout": {204, 401},
    "logout_by_token": {204},
    "logout_all": {204, 401},
    "logout_others": {204, 401},
    "rename": {200, 401},
    "prefer": {200, 401},
    "preference": {200, 401, 404},
    "password": {204, 401},
    "revoke": {204, 404, 401},
    "revoke_all": {200, 401},
    "set_admin": {200, 401},
    "set_active": {200, 401},
}


@dataclass
class Violation:
    rule: str
    text: str
    operations: list[Operation]

    def told(self, history: History) -> str:
        lines = history.around(self.operations) if self.operations else []
        return "\n".join([f"{self.rule}: {self.text}", *(f"    {line}" for line in lines)])


def check(history: History, ledger: Ledger) -> list[Violation]:
    """All violations, in the order of the rules."""
    case = Case(history, ledger)
    found: list[Violation] = []
    for rule in (answers, ended_credentials, good_credentials, successors, values):
        found += rule(case)
    found += [Violation("books", text, operations) for text, operations in books.check(history, ledger)]
    return found


class Case:
    """The history, sorted by what it is about."""

    def __init__(self, history: History, ledger: Ledger) -> None:
        self.history = history
        self.ledger = ledger
        self.by_request = ledger.by_request()
        self.by_session: dict[str, list[Operation]] = defaultdict(list)  # presented, as a token of either kind
        self.by_user: dict[str, list[Operation]] = defaultdict(list)  # changes
        self.opened: dict[str, Operation] = {}  # session -> its login
        self.killers: dict[str, Operation | None] = {}  # session -> what ended it, by the audit
        for each in history:
            if each.kind in CHANGES:
                self.by_user[each.user].append(each)
            if each.bearer is not None:
                self.by_session[each.bearer].append(each)
            elif each.kind == "refresh" and each.session is not None:
                self.by_session[each.session].append(each)
            if each.kind == "login" and each.ok:
                self.opened[str(each.answer["session"])] = each
        by_id = {each.request_id: each for each in history}
        rows = ledger.by_session()
        for session in ledger.sessions.values():
            if session.reason is not None:
                events = [row for row in rows[session.id] if row.event in books.ENDINGS]
                self.killers[session.id] = by_id.get(events[0].request_id or "") if events else None

    def happened(self, operation: Operation) -> bool | None:
        """Whether a change took effect, by its audit row; None where there never is one."""
        if operation.kind == "prefer":
            return None
        return any(row.event != "login.failed" for row in self.by_request.get(operation.request_id, []))


# ---- answers ------------------------------------------------------------------------------------------------------


def answers(case: Case) -> Iterator[Violation]:
    for each in case.history:
        if each.status is not None and each.status != 503 and each.status not in ANSWERS[each.kind]:
            yield Violation("answers", f"{each.kind} answers {each.outcome}", [each])


# ---- credentials --------------------------------------------------------------------------------------------------


def ends(case: Case, session: str) -> Iterator[Operation]:
    """Acknowledged operations after whose answer this session is dead on every replica."""
    login = case.opened.get(session)
    for each in case.by_user[login.user] if login else []:
        if each.session == session and (
            (each.kind in ("logout", "logout_by_token") and each.ok)
            or (each.kind == "revoke" and each.status in (204, 404))  # who finds it ended vouches for that
            or (each.code in ENDED and not _deactivated_meanwhile(case, each))
        ):
            yield each
        if not each.ok or (login and login.ended >= each.began):
            continue
        if each.kind in ("logout_all", "revoke_all") or (each.kind == "set_active" and each.value is False):
            yield each
        if each.kind in ("logout_others", "password") and each.bearer != session:
            yield each


def _deactivated_meanwhile(case: Case, refresh: Operation) -> bool:
    """Then the refusal may be about the user, and comes before the answer that promises his sessions' end."""
    return any(
        each.kind == "set_active" and each.began <= refresh.ended and (each.unknown or each.ended >= refresh.began)
        for each in case.by_user[refresh.user]
    )


def ended_credentials(case: Case) -> Iterator[Violation]:
    for session, uses in case.by_session.items():
        end = min(ends(case, session), key=lambda each: each.ended, default=None)
        if end is None:
            continue
        row = case.ledger.sessions.get(session)
        if row is not None and row.reason is None:
            yield Violation("ended_credentials", "the acknowledged end of a session is lost", [end])
        for use in uses:
            accepted = use.status is not None and use.status not in (401, 503)
            if accepted and use.began > end.ended:
                yield Violation("ended_credentials", f"{use.kind} accepts a session that had ended", [end, use])


def good_credentials(case: Case) -> Iterator[Violation]:
    for session, uses in case.by_session.items():
        for use in uses:
            if use.status != 401 or use.code not in TOKEN_REFUSALS | ENDED:
                continue
            if session not in case.killers:
                yield Violation("good_credentials", f"{use.kind} refuses a session that never ended", [use])
                continue
            killer = case.killers[session]
            if killer is None:
                yield Violation("good_credentials", "nobody's request has ended this session", [use])
            elif killer.began > use.ended:
                yield Violation("good_credentials", f"{use.kind} refuses a session before it ended", [use, killer])


def successors(case: Case) -> Iterator[Violation]:
    for session, uses in case.by_session.items():
        refreshes = [use for use in uses if use.kind == "refresh" and use.ok]
        first: dict[int, Operation] = {}
        for each in refreshes:
            presented, got = each.generation or 0, each.answer["generation"]
            if got != presented + 1 or each.answer["session"] != session:
                yield Violation("successors", f"generation {presented} has the successor {got}", [each])
            other = first.setdefault(presented, each)
            if other.answer["token"] != each.answer["token"]:
                yield Violation("successors", "two live successors of one refresh token", [other, each])
        for each in refreshes:
            used = first.get((each.generation or 0) + 1)
            if used is not None and each.began > used.ended:
                yield Violation("successors", "a refresh token is accepted after its successor was", [used, each])
        row = case.ledger.sessions.get(session)
        for each in refreshes:
            if row is None or row.generation < each.answer["generation"]:
                yield Violation("successors", "an acknowledged refresh is lost", [each])
        yield from _reuse(case, session, uses)


def _reuse(case: Case, session: str, uses: list[Operation]) -> Iterator[Violation]:
    """A token is only taken for a stolen one if it is two behind: the one just replaced has its grace.

    The grace of the replicas under test is longer than any run of an actor, so that no clock enters into this.
    """
    row = case.ledger.sessions.get(session)
    for each in uses:
        if each.code == "refresh_token_reused" and row and (each.generation or 0) > row.generation - 2:
            yield Violation("successors", f"a token in its grace ends the session ({row.generation} now)", [each])


# ---- values -------------------------------------------------------------------------------------------------------


def values(case: Case) -> Iterator[Violation]:
    for user, changes in case.by_user.items():
        row = case.ledger.users.get(user)
        if not any(each.kind == "register" for each in changes):
            continue  # root was there before, and nobody changes him
        if row is None:
            if any(each.ok for each in changes if each.kind == "register"):
                yield Violation("values", f"the acknowledged account {user} is not there", changes[:1])
            continue
        person = Person(case, user, changes)
        for name, register, found in (
            ("full_name", person.full_name, row.full_name),
            ("is_admin", person.admin, row.is_admin),
            ("is_active", person.active, row.is_active),
            *((key, each, case.ledger.preferences.get((user, key))) for key, each in person.preferences.items()),
        ):
            if found not in register.latest():
                yield Violation("values", f"{name} of {user} is {found!r}: a write is lost", person.writing(name))
        yield from person.misread()


class Person:
    """What can be written of one user, and whoever reads it."""

    KINDS = {"rename": "full_name", "set_admin": "is_admin", "set_active": "is_active"}  # noqa: RUF012

    def __init__(self, case: Case, user: str, changes: list[Operation]) -> None:
        self.changes = changes
        self.reads = [each for each in case.history if each.user == user and not each.unknown]
        self.full_name = Register(None)
        self.admin = Register(initial=False)
        self.active = Register(initial=True)
        self.preferences: dict[str, Register] = defaultdict(lambda: Register(None))
        known = (each.value for each in changes if each.kind in ("register", "login"))  # root was there before
        self.password = Register(next(known, None))
        registers = {"rename": self.full_name, "set_admin": self.admin, "set_active": self.active}
        registers["password"] = self.password
        for each in changes:
            register = self.preferences[each.key] if each.kind == "prefer" else registers.get(each.kind)
            if register is not None:
                register.wrote(each, happened=case.happened(each))

    def writing(self, name: str) -> list[Operation]:
        return [each for each in self.changes if name in (self.KINDS.get(each.kind), each.key)]

    def misread(self) -> Iterator[Violation]:
        for each in self.reads:
            at = (each.began, each.ended)
            if each.kind == "me" and each.ok and each.answer["full_name"] not in self.full_name.possible(*at):
                yield self._stale("full_name", each)
            kept = each.kind == "preference" and each.status in (200, 404)
            if kept and each.answer.get("value") not in self.preferences[each.key].possible(*at):
                yield self._stale(each.key, each)
            judged = each.kind in ("may", "list") and each.status in (200, 403)
            if judged and each.ok not in self.admin.possible(*at):
                yield self._stale("is_admin", each)
            if each.kind == "me" and each.ok and each.answer["is_admin"] not in self.admin.possible(*at):
                yield self._stale("is_admin", each)
            yield from self._sign_ins(each, at)

    def _sign_ins(self, each: Operation, at: tuple[float, float]) -> Iterator[Violation]:
        if each.kind == "login":
            fits, active = self.password.possible(*at), self.active.possible(*at)
            if each.ok and not (each.value in fits and True in active):
                yield self._stale("password or is_active", each)
            if each.status == 401 and not (some_other(fits, each.value) or False in active):
                yield Violation("good_credentials", "a login with the right password is refused", [each])
        wrong = each.kind == "password" and each.code == "invalid_credentials"
        if wrong and not some_other(self.password.possible(*at), each.answer.get("current")):
            yield Violation("good_credentials", "the present password is refused", [each])

    def _stale(self, name: str, read: Operation) -> Violation:
        around = [each for each in self.writing(name) if each.began <= read.ended][-4:]
        return Violation("values", f"{read.kind} sees an old {name}", [*around, read])

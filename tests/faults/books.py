"""An audit row if, and only if, its change: told from the rows, and from what clients were answered."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from tests.faults.history import CHANGES, History, Operation
from tests.faults.ledger import AuditRow, Ledger, UserRow

Finding = tuple[str, list[Operation]]

ENDINGS = {"logout", "session.revoked", "token.reuse_detected"}
# What each change writes, and how often at least where it was acknowledged (others may have made the same one before).
EVENTS: dict[str, tuple[set[str], int]] = {
    "register": ({"user.registered"}, 1),
    "login": ({"login.succeeded"}, 1),
    "refresh": ({"token.refreshed"}, 0),
    "logout": ({"logout"}, 0),
    "logout_by_token": ({"logout"}, 0),
    "logout_all": ({"logout"}, 0),
    "logout_others": ({"logout"}, 0),
    "rename": ({"user.updated"}, 1),
    "prefer": (set(), 0),
    "password": ({"password.changed", "session.revoked"}, 1),
    "revoke": ({"session.revoked"}, 1),
    "revoke_all": ({"session.revoked"}, 0),
    "set_admin": ({"role.changed"}, 0),
    "set_active": ({"user.updated", "session.revoked"}, 0),
}
ONCE = {"user.registered", "login.succeeded", "token.refreshed", "user.updated", "password.changed", "role.changed"}
# What a refused one writes; a refresh may be made, and refused because its user was deactivated in between.
REFUSED = {"login": {"login.failed"}, "refresh": {"token.reuse_detected", "token.refreshed"}}


def check(history: History, ledger: Ledger) -> Iterator[Finding]:
    yield from _sessions(history, ledger)
    yield from _operations(history, ledger)
    yield from _flags(history, ledger)


def _sessions(history: History, ledger: Ledger) -> Iterator[Finding]:
    rows = ledger.by_session()
    used: dict[str, list[Operation]] = {}
    for each in history:
        for session in {each.bearer, each.session, each.answer.get("session")} - {None}:
            used.setdefault(str(session), []).append(each)
    for session in ledger.sessions.values():
        about = [each for each in used.get(session.id, []) if each.kind in CHANGES]
        count = Counter(row.event for row in rows[session.id])
        if count["token.refreshed"] != session.generation:
            yield f"generation {session.generation}, {count['token.refreshed']} rows of refreshes: {session.id}", about
        if count["login.succeeded"] != 1:
            yield f"{count['login.succeeded']} rows of the login of session {session.id}", about
        endings = sum(count[event] for event in ENDINGS)
        if endings != (session.reason is not None):
            yield f"session {session.id} ended by {session.reason!r} has {endings} rows of its end", about


def _operations(history: History, ledger: Ledger) -> Iterator[Finding]:
    by_request = ledger.by_request()
    for each in history:
        rows = by_request.get(each.request_id, [])
        events, least = EVENTS.get(each.kind, (set(), 0))
        for row in rows:
            fits = row.event in (REFUSED.get(each.kind, set()) if each.refused else events)
            if not fits and not (each.unknown and row.event in REFUSED.get(each.kind, set())):
                yield f"{each.kind} with the answer {each.outcome} has a row {row.event}", [each]
        count = Counter(row.event for row in rows)
        if any(count[event] > 1 for event in ONCE):
            yield f"one {each.kind} has several rows: {dict(count)}", [each]
        if each.ok and sum(count[event] for event in events) < least:
            yield f"an acknowledged {each.kind} has no row", [each]


def _flags(history: History, ledger: Ledger) -> Iterator[Finding]:
    """Rights and accounts are switched to and fro: their rows take turns, and the last one says how it stands."""
    events: dict[int, list[AuditRow]] = {}
    for row in ledger.audit:
        if row.user_id is not None and row.event in ("role.changed", "user.updated"):
            events.setdefault(row.user_id, []).append(row)
    acts: dict[str, list[Operation]] = {}
    for each in history.of("set_admin", "set_active"):
        acts.setdefault(each.user, []).append(each)
    for user in ledger.users.values():
        if user.username not in acts:
            continue
        rows = events.get(user.id, [])
        for name, steps, now in _switches(user, rows):
            if steps[-1] != now or any(before == after for before, after in pairwise(steps)):
                yield f"{name} of {user.username} is {now}, its rows say {steps}", acts[user.username]


def _switches(user: UserRow, rows: list[AuditRow]) -> Iterator[tuple[str, list[bool], bool]]:
    admin = ["admin" in row.details["added"] for row in rows if row.event == "role.changed"]
    active = [row.details["is_active"] for row in rows if "is_active" in row.details]
    yield "is_admin", [False, *admin], user.is_admin
    yield "is_active", [True, *active], user.is_active

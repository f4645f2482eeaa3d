"""The checker sees what cannot be, and lets pass what can."""

import itertools
from dataclasses import replace
from typing import Any

import pytest

from tests.faults.checker import check
from tests.faults.history import NEVER, History, Operation
from tests.faults.ledger import AuditRow, Ledger, SessionRow, UserRow

ADA, SESSION = "ada", "s1"


class Story:
    """A history in which one thing happens after another, each within a second, and the books that go with it."""

    def __init__(self) -> None:
        self.history = History()
        self.ledger = Ledger()
        self.ledger.users[ADA] = UserRow(1, ADA, None, is_active=True, is_admin=False)
        self._numbers = itertools.count(1)
        self._rows = itertools.count(1)
        self.does("register", 201, "user.registered", value="old password")
        self.does("login", 200, "login.succeeded", value="old password", answer=token(0), row_session=SESSION)
        self.ledger.sessions[SESSION] = SessionRow(SESSION, ADA, 0, None)

    def does(
        self, kind: str, status: int | None, *events: str, row_session: str | None = None, **about: Any
    ) -> Operation:
        number = next(self._numbers)
        ended = NEVER if status is None else number + 0.9
        details = about.pop("details", {})
        each = Operation(number, kind, 0, float(number), user=ADA, status=status, ended=ended, **about)
        self.history.operations.append(each)
        for event in events:
            session = row_session or each.session
            self.ledger.audit.append(AuditRow(next(self._rows), event, 1, session, each.request_id, details))
        return each

    def log_out(self, status: int | None = 204) -> Operation:
        self.ledger.sessions[SESSION] = replace(self.ledger.sessions[SESSION], reason="logout")
        return self.does("logout", status, "logout", session=SESSION, bearer=SESSION)

    def refresh(self, generation: int, status: int = 200, *, counts: bool = True, **about: Any) -> Operation:
        events = ["token.refreshed"] if counts else []
        row = self.ledger.sessions[SESSION]
        self.ledger.sessions[SESSION] = replace(row, generation=row.generation + counts)
        about.setdefault("answer", token(generation + 1) if status == 200 else {})
        return self.does("refresh", status, *events, session=SESSION, generation=generation, **about)

    def look(self, status: int, code: str = "", **answer: object) -> Operation:
        seen = {"full_name": None, "is_admin": False, **answer} if status == 200 else {}
        return self.does("me", status, bearer=SESSION, code=code, answer=seen)

    def rules(self) -> set[str]:
        return {each.rule for each in check(self.history, self.ledger)}


def token(generation: int, text: str = "") -> dict[str, object]:
    return {"session": SESSION, "generation": generation, "token": text or f"token {generation}"}


@pytest.fixture
def story() -> Story:
    return Story()


def test_an_ordinary_life_is_possible(story: Story) -> None:
    story.look(200)
    story.refresh(0)
    story.refresh(0, counts=False)  # within the grace
    story.refresh(1)
    story.log_out()
    story.look(401, "session_revoked")

    assert story.rules() == set()


def test_an_ended_session_may_not_be_let_in(story: Story) -> None:
    story.log_out()
    story.look(200)

    assert story.rules() == {"ended_credentials"}


def test_an_acknowledged_end_is_not_lost(story: Story) -> None:
    story.does("logout", 204, session=SESSION, bearer=SESSION)

    assert story.rules() == {"ended_credentials"}


def test_an_end_without_an_answer_may_come_later(story: Story) -> None:
    story.log_out(status=None)
    story.look(200)
    story.look(401, "session_revoked")

    assert story.rules() == set()


def test_an_end_that_never_was_excuses_nobody(story: Story) -> None:
    story.does("logout", None, session=SESSION, bearer=SESSION)
    story.look(401, "session_revoked")

    assert story.rules() == {"good_credentials"}


def test_nobody_is_refused_before_the_end(story: Story) -> None:
    story.look(401, "session_revoked")
    story.log_out()

    assert story.rules() == {"good_credentials"}


def test_an_outage_is_no_refusal(story: Story) -> None:
    story.look(503, "unavailable")

    assert story.rules() == set()


def test_no_other_error_of_the_server_is_an_answer(story: Story) -> None:
    story.look(500, "internal_error")

    assert "answers" in story.rules()


@pytest.mark.parametrize(
    "second",
    [
        {"generation": 0, "counts": False, "answer": token(1, "another")},
        {"generation": 0, "counts": False, "answer": token(2)},
    ],
)
def test_one_refresh_token_has_one_successor(story: Story, second: dict[str, Any]) -> None:
    story.refresh(0)
    story.refresh(**second)

    assert "successors" in story.rules()


def test_a_token_is_not_good_once_its_successor_was_used(story: Story) -> None:
    story.refresh(0)
    story.refresh(1)
    story.refresh(0, counts=False)

    assert story.rules() == {"successors"}


def test_the_token_just_replaced_ends_nothing(story: Story) -> None:
    story.refresh(0)
    story.ledger.sessions[SESSION] = replace(story.ledger.sessions[SESSION], reason="refresh_token_reused")
    story.does("refresh", 401, "token.reuse_detected", session=SESSION, generation=0, code="refresh_token_reused")

    assert story.rules() == {"successors"}


def test_an_acknowledged_name_is_not_lost(story: Story) -> None:
    story.does("rename", 200, "user.updated", bearer=SESSION, value="Ada")

    assert story.rules() == {"values"}


def test_a_look_sees_the_last_name(story: Story) -> None:
    story.does("rename", 200, "user.updated", bearer=SESSION, value="Ada")
    story.ledger.users[ADA].full_name = "Ada"
    story.look(200, full_name="Ada")
    assert story.rules() == set()

    story.look(200, full_name=None)
    assert story.rules() == {"values"}


def test_a_right_that_was_taken_is_gone(story: Story) -> None:
    added, removed = {"added": ["admin"], "removed": []}, {"added": [], "removed": ["admin"]}
    story.does("set_admin", 200, "role.changed", value=True, details=added)
    story.does("may", 200, bearer=SESSION)
    story.does("set_admin", 200, "role.changed", value=False, details=removed)
    story.does("may", 403, bearer=SESSION)
    assert story.rules() == set()

    story.does("may", 200, bearer=SESSION)
    assert story.rules() == {"values"}


def test_a_password_that_was_changed_is_refused(story: Story) -> None:
    about: dict[str, Any] = {"bearer": SESSION, "value": "new password", "answer": {"current": "old password"}}
    story.does("password", 204, "password.changed", **about)
    story.does("login", 401, "login.failed", value="old password", code="invalid_credentials")
    assert story.rules() == set()

    story.does("login", 401, "login.failed", value="new password", code="invalid_credentials")
    assert story.rules() == {"good_credentials"}


def test_every_refresh_has_its_row_and_every_row_its_refresh(story: Story) -> None:
    story.refresh(0)
    story.ledger.audit.pop()
    assert story.rules() == {"books"}

    story.ledger.sessions[SESSION] = replace(story.ledger.sessions[SESSION], generation=1)
    story.ledger.audit += [AuditRow(90, "token.refreshed", 1, SESSION, None, {})] * 2
    assert story.rules() == {"books"}


def test_an_end_has_one_row(story: Story) -> None:
    story.log_out()
    story.ledger.audit.append(AuditRow(91, "session.revoked", 1, SESSION, None, {}))

    assert story.rules() == {"books"}


def test_what_was_refused_has_no_row(story: Story) -> None:
    story.does("rename", 401, "user.updated", bearer=SESSION, value="Ada", code="session_revoked")

    assert "books" in story.rules()

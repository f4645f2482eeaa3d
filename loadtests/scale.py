"""People who travel between the replicas named, at rates that they are told on standard input (loadtests/trials.py).

Each person's requests go to all replicas in turn, the next one after a logout or a demotion to another replica than the
one that did it. What was found is a line of JSON for each part of the run, for whoever started it.
"""

import itertools
import threading
import time
from argparse import ArgumentParser
from random import SystemRandom
from typing import Any

from locust import constant, events, task
from locust.contrib.fasthttp import ResponseContextManager
from locust.env import Environment
from locust.runners import WorkerRunner

from loadtests import verdict
from loadtests.bounds import VIOLATION
from loadtests.pace import Turns, arrive, marked
from loadtests.person import (
    NO_CONTENT,
    OK,
    UNAUTHORIZED,
    Person,
    Session,
    administrator,
    expect,
    fail,
)
from loadtests.trials import SIGN_IN, Trials

FORBIDDEN = 403
# A stay: one sign-in in 380 requests, six refreshes, one promotion, one demotion, one logout; some are shorter, some
# longer, so that sign-ins come when they come, with one replica as with four.
LOOKS = ["/verify", "/verify", "/me", "/verify", "/verify", "/me", "/verify", "/verify", "/preferences", "/verify"]
STAY = 180, 540  # looks at least and at most
REFRESH_AFTER = 60  # looks
TRIES = 4  # with what has ended, on one replica after another
RIGHT = "users:read"
ADMIN_SECONDS = 300.0  # after which the administrator signs in anew: half of what a login counts as fresh


chance = SystemRandom()


def under_way() -> range:
    """What is left of a stay at any time: it is more often a long one, for of those there is more."""
    lengths = range(STAY[0], STAY[1] + 1)
    [length] = chance.choices(lengths, weights=lengths)
    return range(chance.randrange(length), length)


class Traveller(Person):
    """Stays for a while, is an administrator for a moment, leaves and comes back."""

    wait_time = constant(0)

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.turns: Turns | None = None  # none until all are in: then they go as fast as they can
        self.next_replica = itertools.cycle(chance.sample(self.replicas, len(self.replicas)))
        self.session: Session | None = None
        self.looks = under_way()  # of the stay that is under way when all begins

    def on_start(self) -> None:
        self.register()
        self.session = self.sign_in()
        office.session(self)
        arrive(self.environment)
        self.turns = Turns()

    def ask(
        self,
        method: str,
        path: str,
        session: Session | None = None,
        body: dict[str, Any] | None = None,
        *,
        at: str = "",
        name: str = "",
    ) -> ResponseContextManager:
        counted_as, late = self.turns.wait() if self.turns else ("", 0.0)
        name = marked(name or path.partition("?")[0], counted_as)
        answer = super().ask(method, path, session, body, at=at or next(self.next_replica), name=name)
        answer.request_meta["response_time"] += late
        return answer

    @task
    def stay(self) -> None:
        session = self.session or self._come()
        self.session = None  # one that broke off is not gone on with
        if session is None:
            return
        for number in self.looks:
            self._expect("GET", LOOKS[number % len(LOOKS)], session, OK)
            if number % REFRESH_AFTER == REFRESH_AFTER - 1:
                session = self.refresh(session)
                if session is None:
                    return
        self.looks = range(chance.randint(*STAY))
        self._rise_and_fall(session)
        self._leave(session)

    def _come(self) -> Session | None:
        """No second try before its turn: a sign-in that is refused is a failure here."""
        with self.ask("POST", SIGN_IN, body={"username": self.username, "password": self.password}) as answer:
            found = expect(answer, OK)
        return Session.of(found) if found else None

    def _rise_and_fall(self, session: Session) -> None:
        if not self._appoint(session, is_admin=True):
            return
        self._expect("GET", f"/verify?require={RIGHT}", session, OK, "/verify as an administrator")
        if self._appoint(session, is_admin=False):
            path = f"/verify?require={RIGHT}"
            self._try_in_vain(path, session, FORBIDDEN, "/verify after a demotion", "served after a demotion")

    def _appoint(self, session: Session, *, is_admin: bool) -> bool:
        admin = office.session(self)
        body = {"is_admin": is_admin}
        return self._expect("PATCH", f"/users/{session.user_id}", admin, OK, "/users/{user_id}", body)

    def _leave(self, session: Session) -> None:
        self._expect("GET", "/me", session, OK)
        if self._expect("POST", "/logout", session, NO_CONTENT):
            self._try_in_vain("/me", session, UNAUTHORIZED, "/me after a logout", "served after a logout")

    def _try_in_vain(self, path: str, session: Session, status: int, name: str, violation: str) -> None:
        for _ in range(TRIES):
            with self.ask("GET", path, session, name=name) as answer:
                if answer.status_code == OK:
                    answer.request_meta["name"] = VIOLATION + violation
                    fail(answer, "200")
                else:
                    expect(answer, status)

    def _expect(
        self,
        method: str,
        path: str,
        session: Session,
        status: int,
        name: str = "",
        body: dict[str, Any] | None = None,
    ) -> bool:
        with self.ask(method, path, session, body, name=name) as answer:
            expect(answer, status)
            return bool(answer.status_code == status)


class Office:
    """The administrator of this process's people."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._since = 0.0
        self._door = threading.Lock()

    def session(self, person: Person) -> Session:
        with self._door:
            if self._session is None or time.monotonic() - self._since > ADMIN_SECONDS:
                self._session = person.sign_in(*administrator())
                self._since = time.monotonic()
            return self._session


office = Office()


def options(parser: ArgumentParser, **_: Any) -> None:  # noqa: ANN401 - locust's
    group = parser.add_argument_group("scale")
    group.add_argument("--settle-seconds", type=float, default=4.0, help="of a new rate that do not count")


def begin(environment: Environment, **_: Any) -> None:  # noqa: ANN401 - locust's, and more with each release
    runner, chosen = environment.runner, environment.parsed_options
    if runner is None or chosen is None or isinstance(runner, WorkerRunner):
        return
    if not administrator()[1]:
        verdict.refuse("promotions need an administrator: LOADTEST_ADMIN_USERNAME (admin), LOADTEST_ADMIN_PASSWORD")
    threading.Thread(target=Trials(environment, runner, chosen).run, daemon=True).start()


verdict.listen(events.init_command_line_parser, options)
verdict.listen(events.init, begin)

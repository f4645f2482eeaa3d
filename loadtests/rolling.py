"""People who must not notice that replicas are started anew, one after another: not one request may fail.

Each remembers what has happened: who they are, which session goes on, which tokens have ended. A replica that has just
started knows none of it, and has to answer as the one before.
"""

import random
from collections import deque

from geventhttpclient import client as http
from locust import constant, task

from loadtests import verdict
from loadtests.bounds import VIOLATION, Bounds, Share, Time
from loadtests.person import NO_CONTENT, OK, UNAUTHORIZED, Person, Session, expect, fail

WHY = "a request that comes just as a replica leaves goes to another one, and waits for no time-out"
REMEMBERED = 20  # ended tokens of a person

# By itself the client asks a GET again whose connection is closed without an answer: here that is a failure.
if not http.IDEMPOTENT_METHODS:
    verdict.refuse("this release of geventhttpclient says elsewhere what it repeats")
http.IDEMPOTENT_METHODS = frozenset()

verdict.hold_to(
    Bounds(
        failed=Share(0.0, "a replica that leaves says so, and goes on until nobody sends anything"),
        refused=Share(0.0, "two replicas of three bear this load"),
        times=(
            Time("GET /verify", 500, 1500, WHY),
            Time("GET /me", 500, 1500, WHY),
            Time("POST /refresh", 750, 1500, WHY),
            Time("POST /login", 2500, 4000, WHY),
            Time("POST /logout", 750, 1500, WHY),
        ),
    )
)


class Resident(Person):
    """Mostly looks around, and asks again as soon as there is an answer."""

    wait_time = constant(0)

    def on_start(self) -> None:
        self.ended: deque[Session] = deque(maxlen=REMEMBERED)
        self.register()
        self.session = self.sign_in()

    @task(40)
    def verify(self) -> None:
        with self.ask("GET", "/verify", self.session) as answer:
            expect(answer, OK)

    @task(30)
    def look_at_me(self) -> None:
        with self.ask("GET", "/me", self.session) as answer:
            if (found := expect(answer, OK)) and found["username"] != self.username:
                answer.request_meta["name"] = f"{VIOLATION}told of somebody else"
                fail(answer, found["username"])

    @task(6)
    def renew(self) -> None:
        before = self.session
        self.session = self.refresh(before) or self.sign_in()
        if self.session.id != before.id:
            verdict.say_last(f"  a refresh ended session {before.id}")

    @task(1)
    def leave_and_come_back(self) -> None:
        with self.ask("POST", "/logout", self.session) as answer:
            expect(answer, NO_CONTENT)
        self.ended.append(self.session)
        self._is_refused(self.session, "/me after logout")
        self.session = self.sign_in()

    @task(4)
    def come_with_an_old_token(self) -> None:
        if self.ended:
            self._is_refused(random.choice(self.ended), "/me long after logout")  # noqa: S311 - no secret

    def _is_refused(self, session: Session, name: str) -> None:
        with self.ask("GET", "/me", session, name=name) as answer:
            if answer.status_code == OK:
                answer.request_meta["name"] = f"{VIOLATION}served {name.removeprefix('/me ')}"
            expect(answer, UNAUTHORIZED)

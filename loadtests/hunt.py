"""Revocation hunt: a token that was ended on one replica is tried on the others, before, while and after that.

A request that began before the ending was answered may be served; one that began after it may not, ever. It looks for
what a cache could do wrong: an old entry left, one written again by a reader who was late, a server that did not hear.
"""

import itertools
import math
import random
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from locust import constant, events, task
from locust.contrib.fasthttp import ResponseContextManager
from locust.env import Environment

from loadtests import verdict
from loadtests.bounds import VIOLATION, Bounds, Share, Time
from loadtests.person import (
    NO_CONTENT,
    OK,
    UNAUTHORIZED,
    Person,
    Session,
    administrator,
    expect,
    fail,
    new_password,
    replicas,
    succeed,
)

PATHS = ("/me", "/verify")
CHASERS = 2  # of each path and replica: they go on asking all the while, so that entries are written all the while
TRIES = 5  # of each chaser, from the moment the token has ended
KNOWN = 0.5  # of the tokens to all replicas beforehand; the others are first read while they are being ended
REMEMBERED = 100  # ended tokens of a hunter, tried again later: an entry written late may turn up then
AFTER, LATER, BEFORE = "after ", "long after", "before"
WHY = "hunters leave no core idle; beyond this they try too seldom to find anything"

Ending = Callable[["Hunter", Session, str], bool]


class Hunter(Person):
    """Ends sessions of their own, and asks an administrator to end some."""

    wait_time = constant(0)

    def on_start(self) -> None:
        self.register()
        self.admin = self.sign_in(*administrator())
        self.ended: deque[Session] = deque(maxlen=REMEMBERED)
        self.turns = itertools.cycle(random.sample(list(ENDINGS), len(ENDINGS)))

    @task
    def hunt(self) -> None:
        name = next(self.turns)
        session = self.sign_in()
        if random.random() < KNOWN:  # noqa: S311 - no secret
            for replica in self.replicas:
                with self.ask("GET", "/me", session, at=replica, name=BEFORE) as answer:
                    expect(answer, OK)
        here, *elsewhere = random.sample(self.replicas, len(self.replicas))
        hunted = Hunted(self, session, AFTER + name)
        ways = list(itertools.product(elsewhere, PATHS, range(CHASERS)))
        with ThreadPoolExecutor(len(ways)) as chasers:
            chases = [chasers.submit(hunted.chase, replica, path) for replica, path, _ in ways]
            try:
                if ENDINGS[name](self, session, here):
                    hunted.ended_at = time.perf_counter()
            finally:
                hunted.over = True
        for chase in chases:
            chase.result()  # raises what it has raised
        if hunted.ended_at is not None:
            hunted.try_to_refresh(random.choice(elsewhere))  # noqa: S311 - no secret
            self.ended.append(session)
            old = Hunted(self, random.choice(self.ended), LATER)  # noqa: S311
            for replica in self.replicas:
                old.try_once(replica, "/me")

    # ---- endings: whether it has ended ----------------------------------------------------------------------------

    def log_out(self, session: Session, at: str) -> bool:
        return self._answered("POST", "/logout", session, NO_CONTENT, at)

    def log_out_everywhere(self, session: Session, at: str) -> bool:
        return self._answered("POST", "/logout/all", session, NO_CONTENT, at)

    def have_it_revoked(self, session: Session, at: str) -> bool:
        path = f"/sessions/{session.user_id}/{session.id}"
        return self._answered("DELETE", path, self._admin(), NO_CONTENT, at, name="/sessions/{user_id}/{session_id}")

    def have_all_revoked(self, session: Session, at: str) -> bool:
        path = f"/sessions/{session.user_id}"
        return self._answered("DELETE", path, self._admin(), OK, at, name="/sessions/{user_id}")

    def change_password(self, _: Session, at: str) -> bool:
        other = self.sign_in()
        body = {"current_password": self.password, "new_password": new_password()}
        done = self._answered("POST", "/me/password", other, NO_CONTENT, at, body)
        if done:
            self.password = body["new_password"]
        return done

    def present_an_old_token(self, session: Session, at: str) -> bool:
        """As a thief would, or whom they stole from: two refreshes later."""
        successor = self.refresh(session, at=at)
        if successor is None or self.refresh(successor, at=at) is None:
            return False
        body = {"refresh_token": session.refresh_token}
        return self._answered("POST", "/refresh", None, UNAUTHORIZED, at, body, name="/refresh with an old token")

    def _answered(
        self,
        method: str,
        path: str,
        session: Session | None,
        status: int,
        at: str,
        body: dict[str, Any] | None = None,
        name: str = "",
    ) -> bool:
        with self.ask(method, path, session, body, at=at, name=name) as answer:
            expect(answer, status)
            return bool(answer.status_code == status)

    def _admin(self) -> Session:
        if time.monotonic() > self.admin.half_life:
            self.admin = self.sign_in(*administrator())
        return self.admin


ENDINGS: dict[str, Ending] = {
    "a logout": Hunter.log_out,
    "a logout everywhere": Hunter.log_out_everywhere,
    "an administrator ended it": Hunter.have_it_revoked,
    "an administrator ended all": Hunter.have_all_revoked,
    "a new password": Hunter.change_password,
    "an old refresh token": Hunter.present_an_old_token,
}


class Hunted:
    """A token, and the moment from which it may not be served."""

    def __init__(self, hunter: Hunter, session: Session, name: str) -> None:
        self.ended_at: float | None = None  # when the answer was read, so a little later than it was given
        self.over = False  # nothing more will happen to it
        self._hunter = hunter
        self._session = session
        self._name = name

    def chase(self, replica: str, path: str) -> None:
        tries = 0
        while tries < TRIES:
            began = time.perf_counter()
            with self._hunter.ask("GET", path, self._session, at=replica, name=BEFORE) as answer:
                if self.ended_at is not None and began > self.ended_at:
                    tries += 1
                    self._refused(answer, (began - self.ended_at) * 1000)
                elif answer.status_code in {OK, UNAUTHORIZED}:  # on its way meanwhile: either is right
                    succeed(answer)
            if self.over and self.ended_at is None:  # it did not end, and that is a failure of its own
                return

    def try_once(self, replica: str, path: str) -> None:
        with self._hunter.ask("GET", path, self._session, at=replica, name=self._name) as answer:
            self._refused(answer)

    def try_to_refresh(self, replica: str) -> None:
        body = {"refresh_token": self._session.refresh_token}
        with self._hunter.ask("POST", "/refresh", body=body, at=replica, name=self._name) as answer:
            self._refused(answer)

    def _refused(self, answer: ResponseContextManager, milliseconds: float = math.inf) -> None:
        answer.request_meta["name"] = self._name
        if answer.status_code == OK:
            answer.request_meta["name"] = f"{VIOLATION}served {self._name}"
            within = next(
                (f"within {bound} ms of" for bound in (1, 10, 100, 1000) if milliseconds < bound), "long after"
            )
            fail(answer, f"a token was served to a request that began {within} the answer that ended it")
        else:
            expect(answer, UNAUTHORIZED)


verdict.hold_to(
    Bounds(
        failed=Share(0.001, "whatever else fails makes the hunt blind"),
        refused=Share(0.5, "hunters only sign in: they take what the hashing gives, and are told to wait for the rest"),
        times=tuple(Time(f"GET {AFTER}{name}", 400, 1000, WHY) for name in ENDINGS),
    )
)


def equip(environment: Environment, **_: Any) -> None:  # noqa: ANN401 - locust's, and more with each release
    if len(replicas(environment)) < 2:  # noqa: PLR2004 - one where it ends, one where it is tried
        verdict.refuse("the hunt needs the addresses of two replicas or more, with commas")
    if not administrator()[1]:
        verdict.refuse("the hunt needs an administrator: LOADTEST_ADMIN_USERNAME (admin), LOADTEST_ADMIN_PASSWORD")


def count(environment: Environment, **_: Any) -> None:  # noqa: ANN401 - as above
    entries = environment.stats.entries.values()
    accepted = sum(entry.num_requests for entry in entries if entry.name.startswith(VIOLATION))
    refused = sum(entry.num_requests - entry.num_failures for entry in entries if entry.name.startswith((AFTER, LATER)))
    verdict.say_last(f"  tokens tried after their end: {refused + accepted:,}, accepted: {accepted:,}")


verdict.listen(events.init, equip)
verdict.listen(events.quitting, count)

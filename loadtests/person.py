"""Somebody at a front end, and how they speak to the service.

locust has patched threads and sleep when this is imported: each is a greenlet's, and thousands cost little.
"""

import itertools
import json
import os
import random
import secrets
import time
from dataclasses import dataclass
from typing import Any

from greenlet import GreenletExit  # type: ignore[import-untyped]
from locust import FastHttpUser
from locust.contrib.fasthttp import ResponseContextManager
from locust.env import Environment

from loadtests import verdict
from loadtests.bounds import REFUSALS, refused

BASE = "/api/auth/v2"
OK, CREATED, NO_CONTENT, BAD_REQUEST, UNAUTHORIZED, FAULT = 200, 201, 204, 400, 401, 500
LONGEST_WAIT = 30.0  # seconds; a service that is only busy is free again before that
RETRY_SECONDS = 1.0  # after no answer, or a fault of the service's
_numbers = itertools.count(secrets.randbelow(1 << 20))


def replicas(environment: Environment) -> list[str]:
    """`--host` names one or many, with commas."""
    return [host.strip().rstrip("/") for host in (environment.host or "").split(",") if host.strip()]


@dataclass(frozen=True)
class Session:
    access_token: str
    refresh_token: str
    id: str
    user_id: int
    half_life: float  # on this process's clock: when half of the access token's time is over

    @classmethod
    def of(cls, answer: dict[str, Any]) -> "Session":
        half_life = time.monotonic() + answer["expires_in"] / 2
        return cls(
            answer["access_token"], answer["refresh_token"], answer["session_id"], answer["user"]["id"], half_life
        )


class Person(FastHttpUser):
    """With an address of their own, as limits count by it: the service has to trust ours as a proxy's."""

    abstract = True
    network_timeout = 20.0  # seconds; longer than anything that the service lets wait
    connection_timeout = 20.0
    concurrency = 20  # requests at a time to one replica

    def __init__(self, environment: Environment) -> None:
        self.replicas = replicas(environment)
        self.host = self.replicas[0]
        number = next(_numbers)
        self.address = f"100.{64 + (number >> 16) % 64}.{(number >> 8) & 255}.{number & 255}"  # RFC 6598: nobody's
        self.username = f"load-{secrets.token_hex(6)}"
        self.password = new_password()
        super().__init__(environment)

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
        """A request to one replica, or to any, as a balancer would choose; to be used by `with`."""
        headers = {"X-Forwarded-For": self.address}
        if session is not None:
            headers["Authorization"] = f"Bearer {session.access_token}"
        url = (at or random.choice(self.replicas)) + BASE + path  # noqa: S311 - no secret
        return self.client.request(
            method, url, name=name or path.partition("?")[0], json=body, headers=headers, catch_response=True
        )

    def register(self) -> None:
        self.patiently("/register", CREATED, {"username": self.username, "password": self.password})

    def sign_in(self, username: str = "", password: str = "") -> Session:
        body = {"username": username or self.username, "password": password or self.password}
        return Session.of(self.patiently("/login", OK, body))

    def refresh(self, session: Session, *, at: str = "", name: str = "") -> Session | None:
        with self.ask("POST", "/refresh", body={"refresh_token": session.refresh_token}, at=at, name=name) as answer:
            found = expect(answer, OK)
        return Session.of(found) if found else None

    def fresh(self, session: Session) -> Session:
        """The session with a token that is good for a while; signed in anew if it has ended."""
        if time.monotonic() < session.half_life:
            return session
        return self.refresh(session) or self.sign_in()

    def patiently(self, path: str, status: int, body: dict[str, Any]) -> dict[str, Any]:
        """Come again for as long as one is told to, as a good client does; each time is counted apart.

        Raises:
            GreenletExit: there is no use in going on, for anybody.
        """
        while True:
            with self.ask("POST", path, body=body) as answer:
                code = code_of(answer)
                if code in REFUSALS:
                    answer.request_meta["name"] = refused(path, code)
                    seconds = _retry_after(answer)
                else:
                    found = expect(answer, status)
                    if found:
                        return found
                    seconds = RETRY_SECONDS
            if seconds > LONGEST_WAIT:
                hint = "has the service TRUSTED_PROXIES with our address, and RATE_LIMIT_REGISTER=off?"
                verdict.give_up(self.environment, f"{path} answers {code} for {seconds:.0f} s: {hint}")
                raise GreenletExit
            if BAD_REQUEST <= answer.status_code < FAULT and code not in REFUSALS:
                verdict.give_up(self.environment, f"{path} answers {answer.status_code} {code}")
                raise GreenletExit
            time.sleep(seconds * random.uniform(1, 1.5))  # noqa: S311 - so that not all come at once


def _retry_after(answer: ResponseContextManager) -> float:
    """Seconds; that they are missing is a failure."""
    seconds = float(str(answer.headers.get("Retry-After", "0"))) if answer.headers else 0.0
    if seconds:
        succeed(answer)
    else:
        fail(answer, "no Retry-After")
    return seconds or RETRY_SECONDS


def administrator() -> tuple[str, str]:
    """From the environment, for everybody on a machine can read the words of a command."""
    return os.environ.get("LOADTEST_ADMIN_USERNAME", "admin"), os.environ.get("LOADTEST_ADMIN_PASSWORD", "")


def new_password() -> str:
    return f"{secrets.token_urlsafe(12)}-Zebra"


def expect(answer: ResponseContextManager, status: int) -> dict[str, Any]:
    """What is answered, if it is that status; anything else is a failure, and nothing is found."""
    if answer.status_code != status:
        if answer.status_code:  # else there was no answer, and locust knows why
            fail(answer, f"{answer.status_code} {code_of(answer)}")
        return {}
    succeed(answer)
    return _decoded(answer)


def succeed(answer: ResponseContextManager) -> None:
    answer.success()  # type: ignore[no-untyped-call]


def fail(answer: ResponseContextManager, reason: str) -> None:
    answer.failure(reason)  # type: ignore[no-untyped-call]


def code_of(answer: ResponseContextManager) -> str:
    """The `code` of a problem; of anything else, nothing."""
    return "" if answer.ok else str(_decoded(answer).get("code", ""))


def _decoded(answer: ResponseContextManager) -> dict[str, Any]:
    try:
        found = json.loads(answer.content or b"")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}

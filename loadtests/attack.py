"""An attack from many addresses, and people who must not notice: guesses, forged and expired tokens, swollen bodies."""

import itertools
import os
import random
import secrets
from collections import Counter
from typing import Any

from locust import between, events, task
from locust.contrib.fasthttp import ResponseContextManager
from locust.env import Environment

from loadtests import verdict
from loadtests.bounds import VIOLATION, Bounds, Share, Time
from loadtests.person import BASE, OK, UNAUTHORIZED, Person, code_of, expect, fail, succeed
from loadtests.visitor import Visitor

TOO_LARGE = 413
BY_ACCOUNT, BY_ADDRESS = 10, 5  # failures in 15 minutes (RATE_LIMIT_ACCOUNT, RATE_LIMIT_LOGIN)
POOL = 8  # addresses that are used again and again
SWOLLEN = '{"username": "' + "a" * (2 << 20) + '", "password": "wrong"}'  # 2 MiB; 1 MiB is allowed
WRONG, TURNED_AWAY, OVER = "guess: wrong", "guess: no time to hash", "guess: limited"
FORGED, EXPIRED, BLOATED = "token: forged", "token: expired", "body: swollen"

verdict.hold_to(
    Bounds(
        failed=Share(0, "nobody who is in may notice, and each attack has one answer"),
        refused=Share(0.9, "guesses that no limit knows yet fill the queue of hashes, and people wait in it"),
        times=(
            Time("GET /verify", 300, 800, "as in a rush: hashes have threads of lower priority"),
            Time("GET /me", 300, 800, "as /verify"),
            Time("GET /preferences", 400, 1000, "as /verify, and a statement"),
            Time("POST /refresh", 500, 1200, "a commit and a signature, while many guesses are counted"),
            Time(f"POST {OVER}", 2500, 3500, "one that only guesses under way are before waits for them, up to 2 s"),
            Time(f"POST {WRONG}", 3500, 5000, "2 s for those before it to be settled, 1 s in the queue of hashes"),
            Time(f"GET {FORGED}", 300, 800, "a signature at most, and no store"),
            Time(f"GET {EXPIRED}", 300, 800, "as a forged one"),
            Time(f"POST {BLOATED}", 1000, 3000, "it is refused by its length; who sends it may be slow"),
        ),
    )
)


class Book:
    """Whom all guess, and how often somebody was told that he is wrong."""

    def __init__(self) -> None:
        self.targets: list[tuple[str, str]] = []
        self.told: Counter[str] = Counter()
        self.limited: set[str] = set()
        self.pool = [address() for _ in range(POOL)]

    def wrong(self, key: str, most: int) -> bool:
        """Note one more; whether that is more than may be."""
        self.told[key] += 1
        return self.told[key] > most


def address() -> str:
    """One of 131,072 (RFC 2544: nobody's), none of which a person has."""
    number = secrets.randbelow(1 << 17)
    return f"198.{18 + (number >> 16)}.{(number >> 8) & 255}.{number & 255}"


book = Book()


class Target(Person):
    """Whose password everybody guesses: signed in before it began, and not to be disturbed."""

    fixed_count = 3
    wait_time = between(0.1, 0.3)  # seconds

    def on_start(self) -> None:
        self.register()
        self.session = self.sign_in()
        book.targets.append((self.username, self.password))

    @task
    def look(self) -> None:
        for path in ("/verify", "/me"):
            with self.ask("GET", path, self.session) as answer:
                expect(answer, OK)


class Guesser(Person):
    """Tries passwords on accounts, names on addresses, and neither more often than it is told to stop."""

    weight = 3
    wait_time = between(0.05, 0.2)  # seconds

    @task(4)
    def guess_a_password(self) -> None:
        """Each time from another address: the account's own limit has to hold."""
        if not book.targets:
            return
        username, password = random.choice(book.targets)  # noqa: S311 - no secret
        if username in book.limited and random.random() < 0.2:  # noqa: S311, PLR2004 - a fifth hits it, too late
            self._guess(address(), username, password, username, BY_ACCOUNT)
        else:
            self._guess(address(), username, secrets.token_hex(8), username, BY_ACCOUNT)

    @task(4)
    def try_names(self) -> None:
        """All from few addresses: the address's own limit has to hold."""
        here = random.choice(book.pool)  # noqa: S311
        self._guess(here, f"nobody-{secrets.token_hex(6)}", secrets.token_hex(8), here, BY_ADDRESS)

    @task(1)
    def try_anything(self) -> None:
        """A name and an address that nobody has seen: no limit knows them, and each costs a hash."""
        self._guess(address(), f"nobody-{secrets.token_hex(6)}", secrets.token_hex(8), "", 1)

    def _guess(self, at: str, username: str, password: str, key: str, most: int) -> None:
        self.address = at
        with self.ask("POST", "/login", body={"username": username, "password": password}) as answer:
            code, meta = code_of(answer), answer.request_meta
            if answer.status_code == OK:
                meta["name"] = f"{VIOLATION}the right password was taken after its account was limited"
                fail(answer, "200")
            elif code == "invalid_credentials":
                meta["name"] = WRONG
                if key and book.wrong(key, most):
                    meta["name"] = f"{VIOLATION}more guesses were judged than a limit allows"
                    fail(answer, f"{book.told[key]} of {most}")
                else:
                    succeed(answer)
            elif code == "rate_limited":
                meta["name"] = OVER
                book.limited.add(key)
                succeed(answer)
            elif code == "overloaded":
                meta["name"] = TURNED_AWAY
                succeed(answer)
            else:
                fail(answer, f"{answer.status_code} {code}")


class Forger(Person):
    """Shows tokens that nobody has made, or that were good once."""

    weight = 2
    wait_time = between(0.02, 0.1)  # seconds

    def on_start(self) -> None:
        header, claims, signature = expired_token().split(".")
        self.kinds = itertools.cycle(
            [
                (EXPIRED, expired_token()),
                (FORGED, f"{header}.{claims}.{signature[::-1]}"),
                (FORGED, f"{header}.{claims}."),
                (FORGED, secrets.token_urlsafe(64)),
                (FORGED, "x" * 16_000),
            ]
        )

    @task
    def show(self) -> None:
        name, token = next(self.kinds)
        for path in ("/me", "/verify"):
            with self._show(path, token, name) as answer:
                if answer.status_code == OK:
                    answer.request_meta["name"] = f"{VIOLATION}taken, {name}"
                expect(answer, UNAUTHORIZED)

    def _show(self, path: str, token: str, name: str) -> ResponseContextManager:
        headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": address()}
        url = random.choice(self.replicas) + BASE + path  # noqa: S311
        return self.client.request("GET", url, name=name, headers=headers, catch_response=True)


class Bloater(Person):
    """Sends more than may be sent."""

    weight = 1
    wait_time = between(0.5, 1.0)  # seconds

    @task
    def swell(self) -> None:
        headers = {"Content-Type": "application/json", "X-Forwarded-For": address()}
        url = random.choice(self.replicas) + BASE + "/login"  # noqa: S311
        with self.client.request(
            "POST", url, name=BLOATED, data=SWOLLEN, headers=headers, catch_response=True
        ) as answer:
            expect(answer, TOO_LARGE)


Visitor.weight = 6  # as many as attack


def expired_token() -> str:
    return os.environ.get("LOADTEST_EXPIRED_TOKEN", "")


def equip(environment: Environment, **_: Any) -> None:  # noqa: ANN401 - locust's, and more with each release
    if environment.web_ui is None and expired_token().count(".") != 2:  # noqa: PLR2004 - a JWT has three parts
        verdict.refuse("the attack needs an access token of the service that has expired: LOADTEST_EXPIRED_TOKEN")


def count(environment: Environment, **_: Any) -> None:  # noqa: ANN401 - as above
    told = dict.fromkeys((WRONG, OVER, TURNED_AWAY), 0)
    for entry in environment.stats.entries.values():
        if entry.name in told:
            told[entry.name] += entry.num_requests
    verdict.say_last("  " + ", ".join(f"{name.removeprefix('guess: ')}: {number:,}" for name, number in told.items()))


verdict.listen(events.init, equip)
verdict.listen(events.quitting, count)

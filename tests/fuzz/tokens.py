"""Mutated tokens, sent: none is good for anything, and none uses up the one that it was made of."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from tests.fuzz.house import Guest, House
from tests.fuzz.mutations import forged, spoilt
from tests.identity.factorkit import Authenticator
from tests.kit import new_password

HEADER = {*range(0x20, 0x7F), *range(0x80, 0x100)}  # the characters that a header can carry (RFC 9110 §5.5)
INACTIVE = b'{"active":false}'  # what an introspection says of it
UNREAD = {400, 414, 431}  # what does not get as far as a look at the token


@dataclass(frozen=True)
class Kind:
    """Tokens of a kind: where they go, how a mutation is refused, and a try of the real ones."""

    tokens: tuple[str, ...]
    made: SearchStrategy[str]
    send: Callable[[str], Iterator[httpx.Response]]
    refused: frozenset[tuple[int, str]]
    prove: Callable[[], Iterator[httpx.Response]]
    in_header: bool = False


@dataclass
class Refusals:
    mutations: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)


class Forger:
    """Makes real tokens of each kind, sends what can be made of them, then uses them."""

    def __init__(self, house: House, admin: tuple[str, str]) -> None:
        self._house = house
        self._admin = house.signed_in(*admin)

    def run(self, number: int, seed: int) -> dict[str, Refusals]:
        """So many mutations, an equal share of each kind."""
        kinds = {
            "access": self.access,
            "refresh": self.refresh,
            "second step": self.second_step,
            "verification": self.verification,
            "reset": self.reset,
            "cursor": self.cursor,
        }
        found = {}
        for place, (name, make) in enumerate(kinds.items()):
            share = number // len(kinds) + (place < number % len(kinds))
            found[name] = _tried(make(), share, seed + place)
        return found

    def access(self) -> Kind:
        guests = [*self._guests(3), self._admin]
        tokens = tuple(str(guest.body["access_token"]) for guest in guests)
        public = httpx.get(f"{self._house.root}/.well-known/jwks.json").json()["keys"][0]

        def send(token: str) -> Iterator[httpx.Response]:
            for path in ("/me", "/preferences", "/verify"):
                yield self._house.ask("GET", path, headers={"Authorization": b"Bearer " + token.encode("latin-1")})
            yield self._house.introspect(token)

        def prove() -> Iterator[httpx.Response]:
            for token in tokens:
                yield from send(token)

        refused = frozenset({(401, "invalid_token"), (401, "not_authenticated")})  # the second where nothing is left
        return Kind(tokens, spoilt(tokens) | forged(tokens, public), send, refused, prove, in_header=True)

    def refresh(self) -> Kind:
        tokens = tuple(str(guest.body["refresh_token"]) for guest in self._guests(3))
        kind = self._posted(tokens, ("/refresh", "/logout"), "refresh_token", "invalid_refresh_token")

        def send(token: str) -> Iterator[httpx.Response]:
            yield from kind.send(token)
            yield self._house.introspect(token)

        return replace(kind, send=send)

    def second_step(self) -> Kind:
        made = [self._waiting() for _ in range(3)]
        tokens = tuple(token for token, _ in made)

        def prove() -> Iterator[httpx.Response]:
            for token, authenticator in made:
                yield self._house.ask("POST", "/login/mfa", json={"mfa_token": token, "code": authenticator.code()})

        kind = self._posted(tokens, ("/login/mfa",), "mfa_token", "invalid_mfa", code="000000")
        return Kind(tokens, kind.made, kind.send, kind.refused, prove)

    def verification(self) -> Kind:
        tokens = tuple(self._link("verify-email", guest) for guest in self._guests(3))
        return self._posted(tokens, ("/email/verify", "/password/not-me"), "token", "invalid_token")

    def reset(self) -> Kind:
        guests = self._guests(3)
        for guest in guests:
            self._house.ask("POST", "/email/verify", json={"token": self._link("verify-email", guest)})
            self._house.ask("POST", "/password/forgot", json={"email": guest.email})
        tokens = tuple(self._link("reset-password", guest) for guest in guests)
        return self._posted(tokens, ("/password/reset",), "token", "invalid_token", new_password=new_password())

    def cursor(self) -> Kind:
        pages = ("/users", "/sessions", "/me/activity")
        self._house.signed_in(self._admin.username, self._admin.password)  # so that there is more than one event
        asked = [self._house.ask("GET", page, params={"page_size": 1}, headers=self._admin.bearer) for page in pages]
        tokens = tuple(str(answer.json()["next_cursor"]) for answer in asked)

        def read(page: str, token: str) -> httpx.Response:
            return self._house.ask("GET", page, params={"page_size": 1, "cursor": token}, headers=self._admin.bearer)

        def send(token: str) -> Iterator[httpx.Response]:
            for page in pages:
                yield read(page, token)

        def prove() -> Iterator[httpx.Response]:
            for page, token in zip(pages, tokens, strict=True):
                yield read(page, token)

        return Kind(tokens, spoilt(tokens), send, frozenset({(422, "validation_failed")}), prove)

    def _posted(self, tokens: tuple[str, ...], paths: tuple[str, ...], name: str, refusal: str, **fields: str) -> Kind:
        """Of those that a body carries; the first of the paths is where the real ones are good."""

        def send(token: str) -> Iterator[httpx.Response]:
            for path in paths:
                yield self._house.ask("POST", path, json={name: token, **fields})

        def prove() -> Iterator[httpx.Response]:
            for token in tokens:
                yield self._house.ask("POST", paths[0], json={name: token, **fields})

        return Kind(tokens, spoilt(tokens), send, frozenset({(401, refusal), (422, "validation_failed")}), prove)

    def _guests(self, number: int) -> list[Guest]:
        return [self._house.user() for _ in range(number)]

    def _link(self, page: str, guest: Guest) -> str:
        assert guest.email is not None
        return self._house.link(page, guest.email)

    def _waiting(self) -> tuple[str, Authenticator]:
        """A login whose second factor is due."""
        guest = self._house.user()
        enrolment = self._house.ask("POST", "/me/mfa/totp", headers=guest.bearer).json()
        authenticator = Authenticator(enrolment["secret"])
        body: dict[str, Any] = {"code": authenticator.code(-1)}
        confirmed = self._house.ask("POST", "/me/mfa/totp/confirm", headers=guest.bearer, json=body)
        assert confirmed.status_code == 200, confirmed.text
        body = {"username": guest.username, "password": guest.password}
        return str(self._house.ask("POST", "/login", json=body).json()["mfa_token"]), authenticator


def _tried(kind: Kind, number: int, seed_: int) -> Refusals:
    found = Refusals()

    def fits(text: str) -> bool:
        """Whether it is none of the real ones, with or without a space in front, and can be sent."""
        if text.strip() in kind.tokens:
            return False
        return not kind.in_header or (text == text.strip() != "" and {ord(each) for each in text} <= HEADER)

    @seed(seed_)
    @settings(
        max_examples=number,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(token=kind.made.filter(fits))
    def send(token: str) -> None:
        found.mutations += 1
        for answer in kind.send(token):
            found.statuses[answer.status_code] += 1
            refused = (answer.status_code, _code(answer)) in kind.refused or answer.content == INACTIVE
            if answer.status_code not in UNREAD and not refused:
                found.findings.append(f"{answer.request.url.path}: {answer.status_code} for {token[:2000]!r}")

    send()
    for answer in kind.prove():
        if answer.status_code >= 400:
            found.findings.append(f"{answer.request.url.path}: {answer.status_code} for a real one: {answer.text}")
    return found


def _code(answer: httpx.Response) -> str:
    return str(answer.json()["code"]) if answer.status_code >= 400 else ""

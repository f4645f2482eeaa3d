"""A browser on its way to a sign-in provider and back: what the console has to know when it returns."""

import re
import secrets
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from msgspec import Struct

from app import base64url
from app.console.cookies import ConsoleCookies
from app.console.visit import Visit
from app.federation import pkce
from app.federation.structs import FLOW_SECONDS
from app.keys.secrets import Box, NotOurs
from app.settings import Settings

ID = re.compile(r"[A-Za-z0-9_-]{11}")  # 64 bits: of a browser's own, which are few
ID_BYTES = 8
MOST, MOST_EMPTIED = 5, 20  # of a browser at a time, and in one answer; as app/federation/cookie.py has it


class Way(Struct, frozen=True, kw_only=True):
    """One that has begun: sealed, in a cookie of the browser, each in one of its own for there may be two tabs."""

    id: str
    page: str  # that it comes back to
    provider: str
    verifier: str  # for the exchange (RFC 7636)
    onwards: str | None
    session: UUID | None  # of who set out signed in

    @property
    def challenge(self) -> str:
        return pkce.s256(self.verifier)

    @property
    def back(self) -> str:
        """Where the provider's answer leads, under PUBLIC_URL."""
        return f"{self.page}?{urlencode({'way': self.id})}"


class Ways:
    """Who has no such cookie did not set out; who is signed in by another session did not, either."""

    def __init__(self, settings: Settings) -> None:
        self._cookies = ConsoleCookies(settings)
        self._ours = re.compile(rf"{self._cookies.way}-{ID.pattern}")
        self._box = Box("console ways", settings.secret_key, settings.secret_key_previous)

    def begin(self, visit: Visit, page: str, provider: str, onwards: str | None) -> Way:
        return Way(
            id=secrets.token_urlsafe(ID_BYTES),
            page=page,
            provider=provider,
            verifier=pkce.new_verifier(),
            onwards=onwards,
            session=_session(visit),
        )

    def keep(self, visit: Visit, way: Way) -> None:
        """Have the browser keep it; of too many others none stays."""
        others = visit.cookies_named(self._ours)
        if len(others) >= MOST:
            visit.keep(*(self._cookies.gone(name) for name in others[:MOST_EMPTIED]))
        sealed = base64url.encode(self._box.seal(msgspec.json.encode(way), self._about(way.id, way.page)))
        visit.keep(self._cookies.holding(self._name(way.id), sealed, FLOW_SECONDS))

    def take(self, visit: Visit, page: str, way_id: str | None) -> Way | None:
        """The way that this browser comes back on, which is gone; None if it has not set out on it."""
        if way_id is None or not ID.fullmatch(way_id):
            return None
        sealed = visit.cookie(self._name(way_id))
        if sealed is None:
            return None
        visit.keep(self._cookies.gone(self._name(way_id)))
        try:
            plain = self._box.open(base64url.decode(sealed), self._about(way_id, page))
        except (NotOurs, ValueError):
            return None
        way = msgspec.json.decode(plain, type=Way)
        return way if way.session in (None, _session(visit)) else None

    def _name(self, way_id: str) -> str:
        return f"{self._cookies.way}-{way_id}"

    def _about(self, way_id: str, page: str) -> str:
        return f"{way_id} {page}"


def _session(visit: Visit) -> UUID | None:
    return None if visit.caller is None else visit.caller.session_id

"""What a browser brings back from a provider beside its answer: the sign-in that it began, sealed, one cookie each."""

import re

from litestar.datastructures import Cookie
from litestar.types import Scope

from app.federation.sign_ins import Started
from app.federation.structs import FLOW_SECONDS
from app.request import cookies
from app.settings import Settings

STATE = re.compile(r"[\w-]{32}", re.ASCII)  # as ours are written
NAMED_BY = 8  # characters of the state, so that two tabs do not get into each other's way
MOST = 5  # of a browser at a time: a page that opens windows shall not fill its headers
MOST_EMPTIED = 20  # in one answer: a browser has fewer, and what somebody makes up need not be written back


class FlowCookie:
    """SameSite=Lax: it comes along when the provider sends the browser back, and when no other page asks."""

    def __init__(self, settings: Settings) -> None:
        self._secure = settings.public_url.startswith("https://")
        self._prefix = "__Host-gatehouse-oauth-" if self._secure else "gatehouse-oauth-"
        self._ours = re.compile(rf"{self._prefix}[\w-]{{{NAMED_BY}}}", re.ASCII)

    def holding(self, scope: Scope, started: Started) -> list[Cookie]:
        """What the browser is to keep at the start; of too many others none stays."""
        others = list(dict.fromkeys(name for name, _ in cookies(scope) if self._ours.fullmatch(name)))
        emptied = [self._cookie(name, "", 0) for name in others[:MOST_EMPTIED]] if len(others) >= MOST else []
        return [*emptied, self._cookie(self._name(started.state), started.sealed, FLOW_SECONDS)]

    def read(self, scope: Scope, state: str | None) -> str | None:
        """What was sealed for this state; None if the browser has nothing of it, or two: which one is its own?"""
        if state is None or not STATE.fullmatch(state):
            return None
        found = [value for name, value in cookies(scope) if name == self._name(state)]
        return found[0] if len(found) == 1 else None

    def gone(self, state: str) -> Cookie:
        return self._cookie(self._name(state), "", 0)

    def _name(self, state: str) -> str:
        return f"{self._prefix}{state[:NAMED_BY]}"

    def _cookie(self, name: str, value: str, seconds: int) -> Cookie:
        return Cookie(name, value=value, max_age=seconds, secure=self._secure, httponly=True, samesite="lax")

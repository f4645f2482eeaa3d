"""The refresh token where no script can read it: in a cookie that the browser keeps (RFC 6265bis §4.1.3)."""

from typing import Self

from litestar.types import Scope

from app.errors import Forbidden
from app.request import cookies, header
from app.setting_values import origin_of
from app.settings import Settings


def name_of(settings: Settings) -> str:
    return "__Host-gatehouse-refresh" if is_secure(settings) else "gatehouse-refresh"


def is_secure(settings: Settings) -> bool:
    return settings.public_url.startswith("https://")


class RefreshCookie:
    """Reads and writes it, for pages of our own origin and those of CORS_ORIGINS."""

    def __init__(self, settings: Settings) -> None:
        self.name = name_of(settings)
        self._attributes = "Path=/; HttpOnly; SameSite=Strict" + ("; Secure" if is_secure(settings) else "")
        self._origins = {origin_of(settings.public_url), *settings.cors_origins}

    def read(self, scope: Scope) -> str | None:
        """The token that a request carries in its cookie; None if it carries none, or two: which one is whose?

        Raises:
            Forbidden: it was not a page of ours that sent it.
        """
        found = self._found(scope)
        if found:
            self._refuse_strangers(scope)
        return found[0] if len(found) == 1 else None

    def chosen(self, scope: Scope, transport: str) -> Self | None:
        """Itself, where a session is to begin with it: another page shall not sign its visitor in as somebody else.

        Raises:
            Forbidden: it was a page that asked, and none of ours.
        """
        if transport != "cookie":
            return None
        if header(scope, b"origin") is not None:
            self._refuse_strangers(scope)
        return self

    def refuse_strangers(self, scope: Scope) -> None:
        """For a request with a token of its own, which may be of the cookie's session.

        Raises:
            Forbidden: the cookie comes along, and with the page of somebody else.
        """
        if self._found(scope) and header(scope, b"origin") is not None:
            self._refuse_strangers(scope)

    def holding(self, token: str, seconds: int) -> str:
        """What `Set-Cookie` says, until the session ends anyway."""
        return f"{self.name}={token}; Max-Age={seconds}; {self._attributes}"

    @property
    def gone(self) -> str:
        return f"{self.name}=; Max-Age=0; {self._attributes}"

    def _found(self, scope: Scope) -> list[str]:
        return [value for name, value in cookies(scope) if name == self.name and value]

    def _refuse_strangers(self, scope: Scope) -> None:
        """By `Origin`, and where a browser sends them by the Fetch Metadata headers: a script's, and of this site."""
        if (
            header(scope, b"origin") not in self._origins
            or header(scope, b"sec-fetch-site") not in (None, "same-origin", "same-site")
            or header(scope, b"sec-fetch-mode") == "navigate"
        ):
            raise Forbidden("Only pages of this service and of CORS_ORIGINS, on its own site, may use the cookie.")

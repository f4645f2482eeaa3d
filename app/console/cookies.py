"""What a browser keeps of its session with the console: both tokens, where no script can read them (RFC 6265bis)."""

from collections.abc import Mapping

from litestar.datastructures import Cookie

from app.identity.structs import TokenResponse
from app.sessions.cookie import is_secure
from app.settings import Settings

MARGIN = 30  # seconds before its end that a browser lets go of an access token: none expires under way
LONGEST = 3800  # characters of a cookie; browsers drop one of more than 4096 with its name and attributes
FORM_SECONDS = 31_536_000  # a year; it says nothing of anybody


class ConsoleCookies:
    """SameSite=Lax: they come along when somebody follows a link here, and when no page of others sends a form."""

    def __init__(self, settings: Settings) -> None:
        self._secure = is_secure(settings)
        prefix = "__Host-gatehouse-console" if self._secure else "gatehouse-console"
        self.access, self.refresh, self.form, self.told, self.way = (
            f"{prefix}{suffix}" for suffix in ("", "-refresh", "-form", "-told", "-way")
        )

    def signed_in(self, response: TokenResponse) -> list[Cookie]:
        """The tokens, until the session ends anyway.

        An access token of somebody with very many roles is too long to be kept: each page gets another one.
        """
        access = self.gone(self.access)
        if len(response.access_token) <= LONGEST:
            access = self.holding(self.access, response.access_token, max(response.expires_in - MARGIN, 0))
        return [access, self.holding(self.refresh, str(response.refresh_token), response.refresh_expires_in)]

    def signed_out(self) -> list[Cookie]:
        return [self.gone(self.access), self.gone(self.refresh)]

    def holding(self, name: str, value: str, seconds: int) -> Cookie:
        return Cookie(name, value=value, max_age=seconds, secure=self._secure, httponly=True, samesite="lax")

    def gone(self, name: str) -> Cookie:
        return self.holding(name, "", 0)


def one(found: Mapping[str, list[str]], name: str) -> str | None:
    """The cookie of this name; None if there is none, or two: which one is ours?"""
    values = [value for value in found.get(name, []) if value]
    return values[0] if len(values) == 1 else None

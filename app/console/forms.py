"""Forms that only a page of ours can send: each carries a token of this browser and this session."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from urllib.parse import quote

from litestar.types import Scope
from msgspec import Struct

from app import base64url
from app.console.languages import mark
from app.errors import Forbidden
from app.keys.secrets import derive
from app.request import header
from app.setting_values import origin_of
from app.settings import Settings

TOKEN = "csrf_token"  # noqa: S105 - the field's name
PAGE = "page"  # the field that says where the form was: there one comes back to
BROWSER_BYTES = 16  # 128 bits: nobody guesses one
BROWSER = re.compile(r"[A-Za-z0-9_-]{22}")
PATH = re.compile(r"/console(?:[/?][!-~]{0,1000})?")  # of our own, in ASCII that prints
# What a browser takes for another path than it says (WHATWG URL: `%2e` is a dot), or hides a slash.
ELSEWHERE = re.compile(r"//|\\|/(?:\.|%2e){1,2}(?:[/?#]|$)|%2f|%5c", re.IGNORECASE)


class StaleForm(Forbidden):
    """Of a page that is older than the sign-in or sign-out since."""


class Form(dict[str, str]):
    """The fields of a form that a page of ours has sent."""

    def given(self, *names: str) -> dict[str, str]:
        """Those of these fields that are not blank."""
        return {name: self[name] for name in names if self.get(name, "").strip()}

    def as_sent(self, *names: str) -> dict[str, str | None]:
        """These fields; a blank one is None, for it was emptied."""
        return {name: self.get(name, "").strip() or None for name in names}


class FormToken(Struct, frozen=True):
    """What the next form of a page carries, and what the browser has to keep for it."""

    text: str
    browser: str
    is_new: bool


class Forms:
    """Makes and checks the tokens: an HMAC over what the browser keeps and the session; nothing is stored."""

    def __init__(self, settings: Settings) -> None:
        secrets_ = filter(None, (settings.secret_key, settings.secret_key_previous))
        self._keys = [derive(each, "console forms") for each in secrets_]
        self._origin = origin_of(settings.public_url)

    def token(self, browser: str | None, session: str) -> FormToken:
        is_new = browser is None or not BROWSER.fullmatch(browser)
        kept = secrets.token_urlsafe(BROWSER_BYTES) if browser is None or is_new else browser
        return FormToken(_mac(self._keys[0], kept, session), kept, is_new)

    def check(self, scope: Scope, fields: Mapping[str, str], browser: str | None, session: str) -> None:
        """Raises Forbidden unless a page of ours has sent this form, in this browser and this session."""
        origin = header(scope, b"origin")
        if origin not in (None, self._origin) or header(scope, b"sec-fetch-site") not in (None, "same-origin"):
            raise Forbidden(f"This form was not sent by a page of {self._origin}.")
        if browser is None:
            raise StaleForm(
                mark("Your browser has kept no cookie of this page. Allow cookies here, and open the page again.")
            )
        sent = fields.get(TOKEN, "").encode()
        fits = [hmac.compare_digest(sent, _mac(key, browser, session).encode()) for key in self._keys]
        if not any(fits):
            raise StaleForm(mark("This form is from before you signed in or out. Open the page again."))


def own_path(text: str | None) -> str | None:
    """A path of the console, to go to; None for all else, so that nobody is sent to another site."""
    if text is None or not PATH.fullmatch(text):
        return None
    path, mark, query = text.partition("?")
    return None if ELSEWHERE.search(path + mark) or "//" in query or "\\" in query else text


def then(page: str, afterwards: str | None) -> str:
    """A page that knows where to go on to; a path of ours, and not the page itself."""
    back = own_path(afterwards)
    return page if back in (None, "/console", "/console/", page) else f"{page}?next={quote(str(back), safe='/')}"


def _mac(key: bytes, browser: str, session: str) -> str:
    return base64url.encode(hmac.digest(key, f"{browser} {session}".encode(), hashlib.sha256))

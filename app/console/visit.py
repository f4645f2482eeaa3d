"""A browser's request: who sends it, told by its cookies; the page that answers it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from litestar import MediaType, Request, Response
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.status_codes import HTTP_200_OK, HTTP_303_SEE_OTHER
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from msgspec import Struct

from app.client import Client
from app.console import languages, wording
from app.console.cookies import FORM_SECONDS, ConsoleCookies, one
from app.console.forms import PAGE, Form, Forms, own_path
from app.console.messages import MESSAGES
from app.console.pages import HEADERS, render
from app.errors import (
    AppError,
    Forbidden,
    InvalidRefreshToken,
    NotAuthenticated,
    NotFound,
    PasswordChangeRequired,
    ReauthenticationRequired,
    RefreshTokenReused,
    SessionRevoked,
    Unauthenticated,
)
from app.identity.login import Login
from app.identity.structs import UserEntry
from app.preferences.service import Preferences
from app.request import client_at, cookies, header
from app.sessions.authenticator import Identified, Subject
from app.sessions.caller import Authenticate
from app.settings import Settings

ROOT = "/console"
STATIC = f"{ROOT}/static/"
SIGN_IN = f"{ROOT}/sign-in"
ADMINISTRATION = ("users:read", "sessions:read", "roles:write", "audit:read", "system:maintain")
RETRY_AFTER = "Retry-After"
BEYOND_FORMS = (NotAuthenticated, SessionRevoked, PasswordChangeRequired, ReauthenticationRequired, NotFound)
TOLD_SECONDS = 60  # that a message waits for the page that shows it
NUMBER = re.compile(r"[0-9]{0,19}")  # that a message speaks of
SYSTEM = "system"  # the look of who has not chosen one


class Console(Struct, frozen=True):
    """What every page needs."""

    settings: Settings
    cookies: ConsoleCookies
    forms: Forms
    login: Login
    preferences: Preferences
    authenticate: Authenticate


class Visits(ASGIMiddleware):
    """Before the application's own Authentication: a browser's cookie becomes what an API client would send.

    An access token that has run out is exchanged on the way. What a page's own address says in `Authorization` does
    not count: pages are for browsers.
    """

    scopes = (ScopeType.HTTP,)

    def __init__(self, console: Console) -> None:
        self._console = console

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        found = _cookies(scope)
        wished = languages.accepted(header(scope, b"accept-language"))
        set_cookies: list[Cookie] = []
        # what a page of an error knows, if it does not come to more than that
        state = {"visitor": None, "cookies": found, "set_cookies": set_cookies, "language": languages.speak(wished)}
        scope["state"] = {**scope["state"], **state}
        headers = [each for each in scope["headers"] if each[0] != b"authorization"]
        if not scope["path"].startswith(STATIC):
            access_token, visitor = await self._recognize(scope, found, set_cookies)
            if access_token is not None and visitor is not None:
                headers.append((b"authorization", f"Bearer {access_token}".encode("latin-1")))
                scope["state"] |= {"visitor": visitor, **await self._chosen(visitor, wished)}
        scope["headers"] = headers

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [each.to_encoded_header() for each in set_cookies]
                new = [each for each in own if each not in message["headers"]]
                message["headers"] = [*new, *message["headers"]]  # what the page sets itself comes after, and counts
            await send(message)

        await next_app(scope, receive, send_on)

    async def _chosen(self, visitor: Identified[Subject], wished: Sequence[str]) -> dict[str, str]:
        """The look and the language that the visitor has chosen.

        Here and not in a dependency: those run in tasks of their own, where a language would be set for nobody.
        """
        chosen = await self._console.preferences.some_of(visitor.user_id, ("theme", "language"))
        language = languages.speak([chosen["language"], *wished] if chosen.get("language") else wished)
        return {"theme": chosen.get("theme") or SYSTEM, "language": language}

    async def _recognize(
        self, scope: Scope, found: Mapping[str, list[str]], set_cookies: list[Cookie]
    ) -> tuple[str | None, Identified[Subject] | None]:
        """The access token and whose it is; what the browser is to keep from now on is added to `set_cookies`."""
        console = self._console
        access_token = one(found, console.cookies.access)
        refresh_token = one(found, console.cookies.refresh)
        try:
            if access_token is not None:
                return access_token, await console.authenticate(access_token)
        except SessionRevoked:
            set_cookies += console.cookies.signed_out()
            return None, None
        except Unauthenticated:
            pass
        if refresh_token is None:
            set_cookies += [] if access_token is None else console.cookies.signed_out()
            return None, None
        client = client_at(scope, console.settings.trusted_proxies, scope["state"]["request_id"])
        try:
            response = await console.login.refresh(refresh_token, client)
            set_cookies += console.cookies.signed_in(response)  # first of all: what came before it is used up
            return response.access_token, await console.authenticate(response.access_token)
        except (InvalidRefreshToken, RefreshTokenReused, Unauthenticated):
            set_cookies[:] = console.cookies.signed_out()
            return None, None


class Visit:
    """Dependency `visit`: a request, and how it is answered."""

    def __init__(self, request: Request[Any, Any, Any], console: Console, client: Client) -> None:
        state = request.scope["state"]
        self.console = console
        self.client = client
        self.path = request.scope["path"]
        address = self.path + ("?" + request.scope["query_string"].decode("latin-1")).rstrip("?")
        self.address = own_path(address) or self.path  # without what no page asks for: every form repeats it
        self.caller: Identified[Subject] | None = state.get("visitor")
        self.request_id: str = state.get("request_id", "")
        self.theme: str = state.get("theme", SYSTEM)
        self._found: Mapping[str, list[str]] = state.get("cookies") or _cookies(request.scope)
        self._set_cookies: list[Cookie] = [*state.get("set_cookies", ())]
        self._language: str = state.get("language", languages.SPOKEN)

    @property
    def person(self) -> UserEntry | None:
        return None if self.caller is None else cast("UserEntry", self.caller.subject)

    @property
    def known(self) -> UserEntry:
        """The same on a closed page, where there is somebody."""
        assert self.person is not None  # noqa: S101 - else Authentication would have refused
        return self.person

    @property
    def came_signed_in(self) -> bool:
        """Whether the browser thinks that it is."""
        return self.console.cookies.refresh in self._found

    def may(self, permission: str) -> bool:
        return self.caller is not None and self.caller.may(permission)

    @property
    def administers(self) -> bool:
        """Whether there is anything for him among the pages of administration."""
        return any(self.may(each) for each in ADMINISTRATION)

    def cookie(self, name: str) -> str | None:
        return one(self._found, name)

    def cookies_named(self, pattern: re.Pattern[str]) -> list[str]:
        """The names of those that are called so."""
        return [name for name in self._found if pattern.fullmatch(name)]

    def keep(self, *set_cookies: Cookie) -> None:
        """Have the browser keep these with the answer."""
        self._set_cookies += set_cookies

    def page(self, template: str, *, status: int = HTTP_200_OK, **context: object) -> Response[bytes]:
        """A page; what was to be told after the last form is told on it."""
        forms, own = self.console.forms, self.console.cookies
        token = forms.token(self.cookie(own.form), str(self.caller.session_id) if self.caller else "")
        if token.is_new:
            self.keep(own.holding(own.form, token.browser, FORM_SECONDS))
        told = None
        if (waiting := self.cookie(own.told)) is not None:
            self.keep(own.gone(own.told))
            told = _message(waiting)
        headers = dict(HEADERS)
        refused, sent = cast("AppError | None", context.get("refused")), context.get("form")
        if refused is not None and RETRY_AFTER in refused.headers:
            headers[RETRY_AFTER] = refused.headers[RETRY_AFTER]
        known = {
            "visit": self,
            "person": self.person,
            "csrf_token": token.text,
            "told": told,
            "refused": None,
            "refusal": None if refused is None else wording.refusal(refused),
            "errors": {},
            "form": {},
            "form_page": self.back(sent, self.address) if isinstance(sent, Form) else self.address,
            "language": self._language,
            **context,
        }
        return self._answer(render(template, known), status, MediaType.HTML, headers)

    def again(self, template: str, refused: AppError, form: Mapping[str, str], **context: object) -> Response[bytes]:
        """The page of a form that was refused, with what was typed, and beside each field what is wrong with it.

        Raises:
            AppError: this one, where another page has to come first, or no form can mend it (refusals.py).
        """
        if isinstance(refused, BEYOND_FORMS):
            raise refused
        errors: dict[str, str] = {}
        for each in cast("Sequence[Mapping[str, str]]", refused.members.get("errors", ())):
            errors.setdefault(each["field"].partition("[")[0], wording.in_words(each["message"]))
        return self.page(template, status=refused.status, refused=refused, errors=errors, form=form, **context)

    def go(self, to: str, told: str | None = None, number: int | None = None) -> Response[bytes]:
        """On to another page, so that to load it again sends no form again; what is told there is one of MESSAGES."""
        own = self.console.cookies
        if told is not None:
            assert told in MESSAGES, told  # noqa: S101 - a slip of ours
            self.keep(own.holding(own.told, told if number is None else f"{told}.{number}", TOLD_SECONDS))
        return self._answer(b"", HTTP_303_SEE_OTHER, MediaType.TEXT, {"Location": to})

    def back(self, form: Mapping[str, str], otherwise: str = ROOT) -> str:
        """Where a form was, as it says itself."""
        return own_path(form.get(PAGE)) or otherwise

    def _answer(self, content: bytes, status: int, kind: MediaType, headers: dict[str, str]) -> Response[bytes]:
        return Response(content, status_code=status, media_type=kind, headers=headers, cookies=self._set_cookies)


def _cookies(scope: Scope) -> dict[str, list[str]]:
    """The values of each cookie; there may be two of a name."""
    found: dict[str, list[str]] = {}
    for name, value in cookies(scope):
        found.setdefault(name, []).append(value)
    return found


def _message(waiting: str) -> tuple[str, str, int | None] | None:
    """Kind, text and number of what waits to be told; None for what we have not said."""
    name, _, number = waiting.partition(".")
    if name not in MESSAGES or not NUMBER.fullmatch(number):
        return None
    return *MESSAGES[name], int(number) if number else None


async def provide_visit(request: Request[Any, Any, Any], client: NamedDependency[Client]) -> Visit:
    """Dependency `visit`."""
    return Visit(request, request.app.state.console, client)


async def provide_form(request: Request[Any, Any, Any]) -> Form:
    """Dependency `form`: the fields that were sent, whose token has been checked (`check_form`)."""
    return cast("Form", request.scope["state"]["form"])


async def check_form(request: Request[Any, Any, Any]) -> None:
    """Before every handler of the console: what changes something is a form, and one of ours."""
    if request.method in {"GET", "HEAD", "OPTIONS"}:
        return
    state = request.scope["state"]
    console: Console = request.app.state.console
    visitor: Identified[Subject] | None = state["visitor"]
    fields = Form(await request.form())
    session = str(visitor.session_id) if visitor else ""
    state["form"] = fields
    try:
        console.forms.check(request.scope, fields, one(state["cookies"], console.cookies.form), session)
    except Forbidden:
        if visitor is None and console.cookies.refresh in state["cookies"]:
            raise NotAuthenticated from None  # the session of this page has ended: that is all there is to say
        raise

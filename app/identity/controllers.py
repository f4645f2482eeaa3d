"""Registering, signing in, refreshing, and one's own account."""

from typing import Annotated, cast

import msgspec
from litestar import Controller, Response, get, patch, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from litestar.status_codes import HTTP_200_OK, HTTP_204_NO_CONTENT
from litestar.types import Receive, Scope
from msgspec import Meta, Struct

from app.body import while_connected
from app.client import Client
from app.errors import (
    Conflict,
    EmailTaken,
    Forbidden,
    InvalidCredentials,
    InvalidMfa,
    InvalidRefreshToken,
    MfaRequired,
    NotAuthenticated,
    Overloaded,
    RateLimited,
    ReauthenticationRequired,
    RefreshTokenReused,
    Unavailable,
    UnsupportedMediaType,
    UsernameTaken,
    ValidationFailed,
    WeakPassword,
)
from app.express import Answered, Express
from app.identity.accounts import Accounts
from app.identity.login import Login
from app.identity.structs import (
    Credentials,
    PasswordChange,
    ProfileChange,
    Registration,
    SecondStep,
    TokenResponse,
    User,
    UserEntry,
)
from app.identity.token_answer import TokenAnswer
from app.problems import convert
from app.request import FORM, JSON, Request, client_at, client_of, media_type, read_form, read_json
from app.sessions.caller import Authenticate, Caller, bearer
from app.sessions.cookie import RefreshCookie
from app.sessions.structs import RefreshRequest
from app.setting_values import MOST_CODE_POINTS
from app.settings import Settings


class PasswordGrant(Struct, frozen=True, kw_only=True):
    """The form of OAuth 2's password grant (RFC 6749 §4.3.2); what else a client sends in it has no meaning here."""

    username: Annotated[str, Meta(min_length=1, max_length=255)]
    password: Annotated[str, Meta(min_length=1, max_length=MOST_CODE_POINTS)]
    grant_type: Annotated[str, Meta(extra_json_schema={"enum": ["password"]})]


async def credentials_of(scope: Scope, receive: Receive, *, password_grant: bool) -> Credentials:
    """What is signed in with: JSON, or the form that Swagger UI's Authorize and OAuth 2 clients send."""
    kind = media_type(scope)
    if kind == JSON:
        return convert(await read_json(scope, receive), Credentials)
    if kind != FORM:
        raise UnsupportedMediaType(f"Send {JSON} or {FORM}.")
    if not password_grant:
        raise Forbidden("The password grant is switched off.")
    sent = convert(await read_form(scope, receive), PasswordGrant)
    if sent.grant_type != "password":
        raise ValidationFailed(("grant_type", "has to be password"))
    return Credentials(username=sent.username, password=sent.password)


def me_answer(authenticate: Authenticate) -> Express:
    """What `GET /me` answers; the edge asks it directly.

    The body is made once and kept with the caller, who is the same until an entry of his changes.
    """

    async def answer(scope: Scope, _: str, __: Receive) -> Answered:
        token = bearer(scope)
        if token is None:
            raise NotAuthenticated
        caller = await authenticate(token)
        if caller.memo is None:
            person = cast("UserEntry", caller.subject)
            caller.memo = msgspec.json.encode(person.shown(caller.permissions))
        return [(b"content-type", JSON.encode())], caller.memo

    return answer


def login_answer(login: Login, refresh_cookie: RefreshCookie, settings: Settings) -> Express:
    """What `POST /login` answers; the edge asks it directly."""

    async def answer(scope: Scope, request_id: str, receive: Receive) -> Answered:
        credentials = await credentials_of(scope, receive, password_grant=settings.password_grant)
        cookie = refresh_cookie.chosen(scope, credentials.transport)
        client = client_at(scope, settings.trusted_proxies, request_id)
        response = await while_connected(receive, login.login(credentials, client))
        return TokenAnswer(response, cookie).express()

    return answer


def refresh_answer(login: Login, refresh_cookie: RefreshCookie, settings: Settings) -> Express:
    """What `POST /refresh` answers; the edge asks it directly."""

    async def answer(scope: Scope, request_id: str, receive: Receive) -> Answered:
        value = await read_json(scope, receive)
        sent = None if value is None else convert(value, RefreshRequest)
        client = client_at(scope, settings.trusted_proxies, request_id)
        return (await refreshed(login, refresh_cookie, scope, sent, client)).express()

    return answer


async def refreshed(
    login: Login, refresh_cookie: RefreshCookie, scope: Scope, sent: RefreshRequest | None, client: Client
) -> TokenAnswer:
    """By the token in the body, else by that in the cookie, which goes where it is good for nothing any more."""
    if sent is not None and sent.refresh_token is not None:
        return TokenAnswer(await login.refresh(sent.refresh_token, client), None)
    token = refresh_cookie.read(scope)
    if token is None:
        raise ValidationFailed(("refresh_token", "is required"))
    try:
        return TokenAnswer(await login.refresh(token, client), refresh_cookie)
    except (InvalidRefreshToken, RefreshTokenReused) as refused:
        refused.headers["Set-Cookie"] = refresh_cookie.gone
        raise


class LoginController(Controller):
    tags = ("authentication",)

    @post(
        "/register",
        exclude_from_auth=True,
        summary="Register",
        errors=(Forbidden, UsernameTaken, EmailTaken, WeakPassword, RateLimited, Overloaded, Unavailable),
    )
    async def register(
        self, data: JSONBody[Registration], client: NamedDependency[Client], accounts: NamedDependency[Accounts]
    ) -> User:
        """Makes an account, and no session: log in next. Some installations have registration closed (403)."""
        return await accounts.register(data, client)

    @post(
        "/login",
        status_code=HTTP_200_OK,
        exclude_from_auth=True,
        summary="Log in",
        body={"application/json": Credentials, FORM: PasswordGrant},
        errors=(InvalidCredentials, MfaRequired, Forbidden, RateLimited, Overloaded, Unavailable),
    )
    async def login(
        self, request: Request, login: NamedDependency[Login], refresh_cookie: NamedDependency[RefreshCookie]
    ) -> Response[TokenResponse]:
        """Opens a session. `username` may be the e-mail address.

        An unknown, inactive or password-less user and a wrong password are answered alike. The form is the password
        grant of OAuth 2, which an installation may switch off (403).
        """
        password_grant = request.app.state.settings.password_grant
        credentials = await credentials_of(request.scope, request.receive, password_grant=password_grant)
        cookie = refresh_cookie.chosen(request.scope, credentials.transport)
        return TokenAnswer(await login.login(credentials, client_of(request)), cookie).response()

    @post(
        "/login/mfa",
        status_code=HTTP_200_OK,
        exclude_from_auth=True,
        summary="Log in: the second factor",
        errors=(InvalidMfa, Forbidden, RateLimited, Unavailable),
    )
    async def second_step(
        self,
        request: Request,
        data: JSONBody[SecondStep],
        client: NamedDependency[Client],
        login: NamedDependency[Login],
        refresh_cookie: NamedDependency[RefreshCookie],
    ) -> Response[TokenResponse]:
        """With the `mfa_token` of 401 `mfa_required`, for five minutes and five tries. A code works once."""
        cookie = refresh_cookie.chosen(request.scope, data.transport)
        return TokenAnswer(await login.second_step(data, client), cookie).response()

    @post(
        "/refresh",
        status_code=HTTP_200_OK,
        exclude_from_auth=True,
        summary="Refresh",
        errors=(InvalidRefreshToken, RefreshTokenReused, Forbidden, Unavailable),
    )
    async def refresh(
        self,
        request: Request,
        login: NamedDependency[Login],
        refresh_cookie: NamedDependency[RefreshCookie],
        data: JSONBody[RefreshRequest | None] = None,
    ) -> Response[TokenResponse]:
        """Exchanges a refresh token for its successor and a new access token; the session ends when it would have.

        Without one in the body it is that of the cookie, for pages of this service and of CORS_ORIGINS (else 403).

        The token just replaced is answered with the same successor for a few seconds, for an answer may get lost. Any
        older one ends the session, since somebody else must hold a copy.
        """
        return (await refreshed(login, refresh_cookie, request.scope, data, client_of(request))).response()


class AccountController(Controller):
    tags = ("account",)

    @get("/me", with_old_password=True, summary="Who am I")
    async def me(self, caller: Caller) -> User:
        """The user as he is now, whatever the token said when it was made."""
        return cast("UserEntry", caller.subject).shown(caller.permissions)

    @patch(
        "/me",
        operation_id="change_my_profile",
        summary="Change my profile",
        errors=(ReauthenticationRequired, EmailTaken, RateLimited, Unavailable),
    )
    async def change_me(
        self,
        data: JSONBody[ProfileChange],
        caller: Caller,
        client: NamedDependency[Client],
        accounts: NamedDependency[Accounts],
    ) -> User:
        """What is not named stays as it is; `null` removes the name, or the address.

        A new address is used once whoever reads it has followed the link that is mailed there; until then the answer
        shows the old one. To change it needs a login of the last ten minutes.
        """
        return await accounts.change(caller, data, client)

    @post(
        "/me/password",
        status_code=HTTP_204_NO_CONTENT,
        with_old_password=True,
        operation_id="change_my_password",
        summary="Change my password",
        errors=(InvalidCredentials, WeakPassword, RateLimited, Overloaded, Conflict),
    )
    async def change_password(
        self,
        data: JSONBody[PasswordChange],
        caller: Caller,
        client: NamedDependency[Client],
        accounts: NamedDependency[Accounts],
    ) -> None:
        """Ends all other sessions of the user. A wrong present password counts as a failed login."""
        await accounts.change_password(caller, data, client)

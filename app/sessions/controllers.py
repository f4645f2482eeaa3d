"""Signing out, one's own sessions, and what reverse proxies ask."""

from typing import Annotated
from urllib.parse import parse_qs
from uuid import UUID

from litestar import Controller, Response, asgi, delete, get, post
from litestar.di import NamedDependency
from litestar.handlers import ASGIRouteHandler, HTTPRouteHandler
from litestar.openapi.spec import OpenAPIHeader, OpenAPIResponse, OpenAPIType, Operation, Parameter, Schema
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.status_codes import HTTP_204_NO_CONTENT
from litestar.types import Receive, Scope, Send
from msgspec import Meta

from app.client import Client
from app.errors import (
    AppError,
    Forbidden,
    InvalidRefreshToken,
    InvalidToken,
    NotAuthenticated,
    NotFound,
    PasswordChangeRequired,
    SessionRevoked,
    Unauthenticated,
    Unavailable,
)
from app.express import Answered, Express, send_answer
from app.request import Request
from app.sessions.caller import Authenticate, Caller, bearer
from app.sessions.cookie import RefreshCookie
from app.sessions.service import Sessions
from app.sessions.structs import LogoutRequest, SessionList

ExceptCurrent = Annotated[bool, Meta(description="Keep the session that asks.")]
TEXT = Schema(type=OpenAPIType.STRING)

# A raw ASGI route shows the API document nothing but its path.
VERIFY = Operation(
    operation_id="verify",
    tags=["authentication"],
    summary="May this request pass?",
    description=(
        "For reverse proxies (nginx `auth_request`, Traefik `forwardAuth`, Envoy `ext_authz`): answers any method, "
        "reads no body, and says in headers who calls. Values are percent-encoded UTF-8 (RFC 3986)."
    ),
    parameters=[
        Parameter(
            name="require",
            param_in="query",
            description="A permission that the caller has to have; may be given more than once.",
            schema=Schema(type=OpenAPIType.ARRAY, items=TEXT),
            example=["users:read"],
        )
    ],
    responses={
        "200": OpenAPIResponse(
            description="It may.",
            headers={
                "X-Auth-User-Id": OpenAPIHeader(description="The user's id.", schema=TEXT),
                "X-Auth-Username": OpenAPIHeader(description="The username.", schema=TEXT),
                "X-Auth-Roles": OpenAPIHeader(description="The roles, with commas between them.", schema=TEXT),
                "X-Auth-Session-Id": OpenAPIHeader(description="The session's id.", schema=TEXT),
            },
        )
    },
)


class LogoutController(Controller):
    tags = ("authentication",)

    @post("/logout/all", status_code=HTTP_204_NO_CONTENT, summary="Log out everywhere")
    async def logout_all(
        self,
        caller: Caller,
        client: NamedDependency[Client],
        sessions: NamedDependency[Sessions],
        except_current: FromQuery[ExceptCurrent] = False,  # noqa: FBT002 - a query parameter
    ) -> None:
        """Ends every session of the user."""
        except_id = caller.session_id if except_current else None
        await sessions.log_out(caller.user_id, client, except_id=except_id)


class MySessionsController(Controller):
    tags = ("account",)
    path = "/me/sessions"

    @get(operation_id="list_my_sessions", summary="My sessions")
    async def mine(self, caller: Caller, sessions: NamedDependency[Sessions]) -> SessionList:
        """The live ones; `current` is the one that asks."""
        return SessionList(await sessions.live_of(caller.user_id, caller.session_id))

    @delete(
        "/{session_id:uuid}",
        status_code=HTTP_204_NO_CONTENT,
        operation_id="end_my_session",
        summary="End one of my sessions",
        errors=(NotFound,),
    )
    async def end_mine(
        self,
        session_id: FromPath[UUID],
        caller: Caller,
        client: NamedDependency[Client],
        sessions: NamedDependency[Sessions],
    ) -> None:
        """A session of somebody else and one that has ended are 404, like one that never was."""
        await sessions.revoke_one(caller.user_id, session_id, caller.user_id, client)


def logout_handler(authenticate: Authenticate) -> HTTPRouteHandler:
    """`/logout` reads the access token itself: with a refresh token it does not matter that that one has expired."""

    @post(
        "/logout",
        status_code=HTTP_204_NO_CONTENT,
        exclude_from_auth=True,
        optional_auth=True,
        tags=["authentication"],
        summary="Log out",
        errors=(NotAuthenticated, InvalidRefreshToken, Forbidden),
    )
    async def logout(
        request: Request,
        client: NamedDependency[Client],
        sessions: NamedDependency[Sessions],
        refresh_cookie: NamedDependency[RefreshCookie],
        data: JSONBody[LogoutRequest | None] = None,
    ) -> Response[None]:
        """Ends the session of the refresh token, in body or cookie, and that of the access token; one is enough.

        The cookie goes; pages but those of this service and of CORS_ORIGINS may not use it (403).
        """
        access_token, refresh_token = bearer(request.scope), data.refresh_token if data else None
        by_cookie = refresh_cookie.read(request.scope) if refresh_token is None else None
        refresh_token = refresh_token or by_cookie
        headers = {"Set-Cookie": refresh_cookie.gone} if by_cookie else None
        refused: AppError | None = NotAuthenticated() if access_token is None and refresh_token is None else None
        if refresh_token is not None:
            try:
                await sessions.log_out_with(refresh_token, client)
            except InvalidRefreshToken as error:
                refused = error
        if access_token is not None:
            try:
                caller = await authenticate(access_token)
                await sessions.log_out(caller.user_id, client, session_id=caller.session_id)
                refused = None
            except Unauthenticated as error:
                refused = refused or (error if refresh_token is None else None)
        if refused is not None:
            refused.headers.update(headers or {})
            raise refused
        return Response(None, status_code=HTTP_204_NO_CONTENT, headers=headers)

    return logout


def verify_handler(authenticate: Authenticate) -> ASGIRouteHandler:
    """`/verify`, for the reverse proxies that ask it before every request of others: raw ASGI, any method, no body."""
    answer = verify_answer(authenticate)

    @asgi(
        "/verify",
        exclude_from_auth=True,
        copy_scope=False,
        operation=VERIFY,
        errors=(NotAuthenticated, InvalidToken, SessionRevoked, PasswordChangeRequired, Forbidden, Unavailable),
    )
    async def verify(scope: Scope, receive: Receive, send: Send) -> None:
        await send_answer(await answer(scope, "", receive), send)

    return verify


def verify_answer(authenticate: Authenticate) -> Express:
    """What `/verify` answers; the edge asks it directly."""

    async def answer(scope: Scope, _: str, __: Receive) -> Answered:
        token = bearer(scope)
        if token is None:
            raise NotAuthenticated
        caller = await authenticate(token)
        if caller.subject.must_change_password:
            raise PasswordChangeRequired
        query = scope["query_string"]
        if query:
            for permission in parse_qs(query.decode("latin-1"), keep_blank_values=True).get("require", []):
                if not caller.may(permission):
                    raise Forbidden
        return caller.headers(), b""

    return answer

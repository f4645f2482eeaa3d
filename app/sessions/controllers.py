"""Signing out, one's own sessions, and what reverse proxies ask."""

from typing import Annotated
from urllib.parse import parse_qs
from uuid import UUID

from litestar import Controller, asgi, delete, get, post
from litestar.di import NamedDependency
from litestar.handlers import ASGIRouteHandler, HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.status_codes import HTTP_204_NO_CONTENT
from litestar.types import Receive, Scope, Send
from msgspec import Meta

from app.client import Client
from app.errors import Forbidden, NotAuthenticated, PasswordChangeRequired
from app.express import Answered, Express, send_answer
from app.request import Request
from app.sessions.caller import Authenticate, Caller, bearer
from app.sessions.service import Sessions
from app.sessions.structs import LogoutRequest, SessionList

ExceptCurrent = Annotated[bool, Meta(description="Keep the session that asks.")]


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
        except_id = caller.session_id if except_current else None
        await sessions.log_out_everywhere(caller.user_id, client, except_id=except_id)


class MySessionsController(Controller):
    tags = ("account",)
    path = "/me/sessions"

    @get(summary="My sessions")
    async def mine(self, caller: Caller, sessions: NamedDependency[Sessions]) -> SessionList:
        return SessionList(await sessions.live_of(caller.user_id, caller.session_id))

    @delete("/{session_id:uuid}", status_code=HTTP_204_NO_CONTENT, summary="End one of my sessions")
    async def end_mine(
        self,
        session_id: FromPath[UUID],
        caller: Caller,
        client: NamedDependency[Client],
        sessions: NamedDependency[Sessions],
    ) -> None:
        await sessions.revoke_one(caller.user_id, session_id, caller.user_id, client)


def logout_handler(authenticate: Authenticate) -> HTTPRouteHandler:
    """`/logout` reads the access token itself: with a refresh token it does not matter that that one has expired."""

    @post(
        "/logout",
        status_code=HTTP_204_NO_CONTENT,
        exclude_from_auth=True,
        tags=["authentication"],
        summary="Log out",
    )
    async def logout(
        request: Request,
        client: NamedDependency[Client],
        sessions: NamedDependency[Sessions],
        data: JSONBody[LogoutRequest | None] = None,
    ) -> None:
        """End this session: by the refresh token if one is sent, else by the access token."""
        token = bearer(request.scope)
        if data is not None and data.refresh_token is not None:
            await sessions.log_out_with(data.refresh_token, client)
        elif token is not None:
            caller = await authenticate(token)
            await sessions.log_out(caller.user_id, caller.session_id, client)
        else:
            raise NotAuthenticated

    return logout


def verify_handler(authenticate: Authenticate) -> ASGIRouteHandler:
    """`/verify`, for the reverse proxies that ask it before every request of others: raw ASGI, any method, no body."""
    answer = verify_answer(authenticate)

    @asgi("/verify", exclude_from_auth=True, copy_scope=False)
    async def verify(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's signature
        await send_answer(await answer(scope), send)

    return verify


def verify_answer(authenticate: Authenticate) -> Express:
    """What `/verify` answers; the edge asks it directly."""

    async def answer(scope: Scope) -> Answered:
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

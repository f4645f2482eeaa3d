"""The caller of a request, as Litestar's routes ask for it.

An application that runs in this process imports `Caller`, `OptionalCaller` and `requires` from here; see
docs/development.md.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers.base import BaseRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Guard, Receive, Scope, Send
from litestar.types.asgi_types import ReceiveMessage

from app.errors import Forbidden, NotAuthenticated, PasswordChangeRequired
from app.sessions.authenticator import Identified, Subject

Caller: TypeAlias = NamedDependency[Identified[Subject]]
OptionalCaller: TypeAlias = NamedDependency[Identified[Subject] | None]


def bearer(scope: Scope) -> str | None:
    """The token of `Authorization: Bearer …` (RFC 6750 §2.1); None if the request carries none."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            if value[:7].lower() == b"bearer ":
                return value[7:].strip().decode("latin-1")
            return None
    return None


Authenticate: TypeAlias = Callable[[str], Awaitable[Identified[Subject]]]
Judge: TypeAlias = Callable[[], Awaitable[Identified[Subject]]]


class Authentication(ASGIMiddleware):
    """Closes every route that does not say `exclude_from_auth=True`.

    Who must change the password gets only to routes that say `with_old_password=True`.
    """

    exclude_opt_key = "exclude_from_auth"

    def __init__(self, authenticate: Authenticate) -> None:
        self._authenticate = authenticate

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        token = bearer(scope)
        if token is None:
            raise NotAuthenticated
        caller = await self._let_in(scope, token)

        async def judge() -> Identified[Subject]:
            now = await self._let_in(scope, token)
            if caller.outranks(now):
                raise Forbidden("Your rights have changed meanwhile.")
            return now

        ended = False

        async def receive_from_caller() -> ReceiveMessage:
            nonlocal ended
            message = await receive()
            if message["type"] == "http.request" and not message["more_body"] and not ended:
                ended = True  # a server may say so twice
                scope["user"] = await judge()  # a body may take minutes to come: it is the end that counts
            return message

        scope["user"] = caller
        scope["auth"] = judge
        await next_app(scope, receive_from_caller, send)

    async def _let_in(self, scope: Scope, token: str) -> Identified[Subject]:
        caller = await self._authenticate(token)
        if caller.subject.must_change_password and not scope["route_handler"].opt.get("with_old_password"):
            raise PasswordChangeRequired
        return caller


async def provide_caller(
    request: ASGIConnection[Any, Identified[Subject], Any, Any],
) -> Identified[Subject]:
    """Dependency `caller` of a closed route."""
    return request.user


async def provide_judge(request: ASGIConnection[Any, Identified[Subject], Judge, Any]) -> Judge:
    """Dependency `judge` of a closed route that goes on for long: the caller as he stands at this moment.

    It raises what his next request would be refused by; Forbidden if he may less than when this one began.
    """
    return request.auth


async def long_answer(pieces: AsyncIterator[bytes], judge: Judge) -> AsyncGenerator[bytes]:
    """An answer that goes on for long, once its first piece is there: until then an error can still be told.

    It breaks off where its caller has lost the right to it.
    """
    first = await anext(pieces, b"")

    async def all_of_them() -> AsyncGenerator[bytes]:
        yield first
        async for piece in pieces:
            await judge()
            yield piece

    return all_of_them()


def provide_optional_caller(
    authenticate: Authenticate,
) -> Callable[[ASGIConnection[Any, Identified[Subject], Any, Any]], Awaitable[Identified[Subject] | None]]:
    """Dependency `optional_caller` of an open route: None without a token; a bad token is an error all the same."""

    async def provide(
        request: ASGIConnection[Any, Identified[Subject], Any, Any],
    ) -> Identified[Subject] | None:
        token = bearer(request.scope)
        if token is None:
            return None
        caller = await authenticate(token)
        if caller.subject.must_change_password:
            raise PasswordChangeRequired
        return caller

    return provide


def requires(permission: str) -> Guard:
    """A guard that lets in who holds this permission now, whatever the token said when it was made."""

    async def guard(connection: ASGIConnection[Any, Identified[Subject], Any, Any], _: BaseRouteHandler) -> None:
        if not connection.user.may(permission):
            raise Forbidden(f"This needs the permission {permission}.")

    guard.permission = permission  # type: ignore[attr-defined] # the API document names it
    return guard

"""What other services ask about tokens: introspection (RFC 7662) and revocation (RFC 7009)."""

from typing import Any

from litestar import Controller, MediaType, Response, post
from litestar import Request as AnyRequest
from litestar.di import NamedDependency
from litestar.openapi.spec import SecurityRequirement
from litestar.status_codes import HTTP_200_OK
from litestar.types import ExceptionHandlersMap

from app import problems
from app.client import Client
from app.clients.credentials import credentials_of
from app.clients.introspection import Introspection
from app.clients.revocation import Revocation
from app.clients.service import Clients
from app.clients.structs import ActiveAccessToken, ActiveRefreshToken, Inactive, TokenForm
from app.errors import AppError, InvalidClient, Unavailable
from app.problems import convert
from app.request import FORM, JSON, Request, read_form


def refuse(request: AnyRequest[Any, Any, Any], error: AppError) -> Response[bytes]:
    """A problem as everywhere, with the word beside `code` that OAuth clients know (RFC 6749 §5.2)."""
    word = "temporarily_unavailable" if isinstance(error, Unavailable) else "invalid_request"
    error.members.setdefault("error", word)
    return problems.handle(request, error)


REFUSALS: ExceptionHandlersMap = {AppError: refuse}
CREDENTIALS: list[SecurityRequirement] = [{"client": []}, {}]  # the second: in the form


async def asked_by_client(request: Request, clients: Clients) -> tuple[TokenForm, str]:
    """What a client asks, and its id. A field without a value is none (RFC 6749 §3.2).

    Raises:
        InvalidClient: it has not shown that it is one.
    """
    sent = await read_form(request.scope, request.receive)
    fields = {name: value for name, value in sent.items() if value}
    client_id, secret = credentials_of(request.scope, fields)
    await clients.authenticate(client_id, secret)
    return convert(fields, TokenForm), client_id


class ClientsController(Controller):
    tags = ("clients",)

    @post(
        "/introspect",
        status_code=HTTP_200_OK,
        exclude_from_auth=True,
        summary="What does this token stand for?",
        body={FORM: TokenForm},
        answers={HTTP_200_OK: ActiveAccessToken | ActiveRefreshToken | Inactive},
        errors=(InvalidClient, Unavailable),
        security=CREDENTIALS,
        exception_handlers=REFUSALS,
    )
    async def introspect(
        self, request: Request, clients: NamedDependency[Clients], introspection: NamedDependency[Introspection]
    ) -> Response[Any]:
        """RFC 7662, for the operator's own services. Active is what the next request with it would be served for.

        An access token of somebody who has to change the password is not active. A refresh token is good at `/refresh`
        alone: serve a token only if `token_type` is `bearer`. What is no token of ours is not active, and no error.
        """
        asked, _ = await asked_by_client(request, clients)
        return Response(await introspection.describe(asked.token), media_type=JSON)

    @post(
        "/revoke",
        status_code=HTTP_200_OK,
        exclude_from_auth=True,
        operation_id="revoke_token",
        summary="End the session of this token",
        body={FORM: TokenForm},
        errors=(InvalidClient, Unavailable),
        security=CREDENTIALS,
        exception_handlers=REFUSALS,
    )
    async def revoke(
        self,
        request: Request,
        client: NamedDependency[Client],
        clients: NamedDependency[Clients],
        revocation: NamedDependency[Revocation],
    ) -> Response[None]:
        """RFC 7009. An access token, or a refresh token of any age, ends its session at once, on every replica.

        Any client may end any session. Also 200 where there was nothing to end.
        """
        asked, client_id = await asked_by_client(request, clients)
        await revocation.revoke(asked.token, client_id, client)
        return Response(None, status_code=HTTP_200_OK, media_type=MediaType.TEXT)  # of JSON nothing would be `null`

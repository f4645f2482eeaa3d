"""Signing in with an identity of somebody else: there, back, and for a session; and one's own identities."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Controller, MediaType, Response, delete, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK, HTTP_204_NO_CONTENT, HTTP_302_FOUND
from msgspec import Meta, Struct

from app import problems
from app.client import Client
from app.errors import (
    AppError,
    Conflict,
    EmailTaken,
    Forbidden,
    IdentityNotAccepted,
    InvalidCredentials,
    InvalidGrant,
    InvalidState,
    MfaRequired,
    NotFound,
    RateLimited,
    ReauthenticationRequired,
    Unavailable,
)
from app.federation.cookie import FlowCookie
from app.federation.page import POLICY, page
from app.federation.sign_ins import SignIns, with_query
from app.federation.structs import Flow, ProviderList
from app.identity.federated_login import FederatedLogin
from app.identity.identities import Identities, Identity, IdentityCode, IdentityList
from app.identity.structs import Exchange, TokenResponse
from app.identity.token_answer import TokenAnswer
from app.problems import convert
from app.request import Request, header
from app.sessions.caller import Caller
from app.sessions.cookie import RefreshCookie

RedirectTo = Annotated[str, Meta(min_length=1, max_length=2048, description="One of REDIRECT_URIS, to the letter.")]
Challenge = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9_-]{43}$", description="The application's own (RFC 7636, S256), for the exchange."),
]
Prompt = Annotated[
    Literal["login"], Meta(description="`login`: the provider has to ask who is there, whatever it knows already.")
]
# What a provider puts into a URL: characters that print in ASCII (RFC 6749, appendix A), of which no server takes more.
MOST, PRINTED = 4096, r"^[ -~]*$"
Code = Annotated[str, Meta(max_length=MOST, pattern=PRINTED, description="The provider's, for tokens.")]
State = Annotated[
    str, Meta(max_length=MOST, pattern=PRINTED, description="What the browser was sent to the provider with.")
]
Issuer = Annotated[str, Meta(max_length=MOST, pattern=PRINTED, description="Who answers (RFC 9207).")]
Refusal = Annotated[
    str, Meta(max_length=MOST, pattern=PRINTED, description="Why there is no code (RFC 6749 §4.1.2.1).")
]


class Start(Struct, frozen=True):
    redirect_to: RedirectTo
    code_challenge: Challenge
    prompt: Prompt | None = None


class Callback(Struct, frozen=True):
    code: Code | None = None
    state: State | None = None
    iss: Issuer | None = None
    error: Refusal | None = None


class FederationController(Controller):
    tags = ("federation",)

    @get("/providers", exclude_from_auth=True, operation_id="providers", summary="Sign-in providers")
    async def providers(self, sign_ins: NamedDependency[SignIns]) -> ProviderList:
        """What somebody can sign in with. The users of `gpustack` sign in at `POST /login`, by their names there."""
        return ProviderList(sign_ins.offered())

    @get(
        "/oauth/{provider:str}/start",
        exclude_from_auth=True,
        status_code=HTTP_302_FOUND,
        answers={HTTP_302_FOUND: None},
        operation_id="start_sign_in",
        summary="Sign in with a provider: begin",
        errors=(NotFound, Unavailable),
    )
    async def start(
        self,
        request: Request,
        provider: FromPath[str],
        redirect_to: FromQuery[RedirectTo],
        code_challenge: FromQuery[Challenge],
        sign_ins: NamedDependency[SignIns],
        flow_cookie: NamedDependency[FlowCookie],
        prompt: FromQuery[Prompt | None] = None,
    ) -> Response[Any]:
        """Sends the browser to the provider; a cookie remembers the sign-in for ten minutes.

        An application opens this as a page, with a `code_challenge` whose verifier it keeps (RFC 7636).
        """
        asked = convert({"redirect_to": redirect_to, "code_challenge": code_challenge, "prompt": prompt}, Start)
        try:
            started = await sign_ins.start(
                provider, asked.redirect_to, asked.code_challenge, fresh=asked.prompt is not None
            )
        except Unavailable as error:
            return _refused(request, error, with_query(asked.redirect_to, error="temporarily_unavailable"))
        return _onwards(started.location, flow_cookie.holding(request.scope, started))

    @get(
        "/oauth/{provider:str}/callback",
        exclude_from_auth=True,
        status_code=HTTP_302_FOUND,
        answers={HTTP_302_FOUND: None},
        operation_id="finish_sign_in",
        summary="Sign in with a provider: return",
        errors=(NotFound, InvalidState, IdentityNotAccepted, RateLimited, Unavailable),
    )
    async def callback(
        self,
        request: Request,
        provider: FromPath[str],
        client: NamedDependency[Client],
        federated_login: NamedDependency[FederatedLogin],
        sign_ins: NamedDependency[SignIns],
        flow_cookie: NamedDependency[FlowCookie],
        code: FromQuery[Code | None] = None,
        state_: Annotated[State | None, QueryParameter(name="state")] = None,
        iss: FromQuery[Issuer | None] = None,
        error: FromQuery[Refusal | None] = None,
    ) -> Response[Any]:
        """Where the provider sends the browser back to; goes on to `redirect_to`, with `code` in its query.

        The code is good for one `POST /oauth/exchange` within a minute. Where the person or the provider would not,
        there is an `error` in its place: `access_denied`, `temporarily_unavailable` or `server_error` (RFC 6749
        §4.1.2.1). An answer that proves nothing ends here, for a browser with a page.
        """
        said = convert({"code": code, "state": state_, "iss": iss, "error": error}, Callback)
        flow: Flow | None = None
        try:
            flow = sign_ins.flow(provider, said.state, flow_cookie.read(request.scope, said.state))
            onwards = await federated_login.finish(flow, said.code, said.error, said.iss, client)
        except (InvalidState, IdentityNotAccepted, RateLimited, Unavailable) as refused:
            back = None if flow is None else with_query(flow.redirect_to, error="server_error")
            return _refused(request, refused, back, [] if flow is None else [flow_cookie.gone(flow.state)])
        return _onwards(onwards, [flow_cookie.gone(flow.state)])

    @post(
        "/oauth/exchange",
        status_code=HTTP_200_OK,
        exclude_from_auth=True,
        operation_id="exchange_code",
        summary="Sign in with a provider: the session",
        errors=(InvalidGrant, MfaRequired, InvalidCredentials, Forbidden, EmailTaken, Conflict, Unavailable),
    )
    async def exchange(
        self,
        request: Request,
        data: JSONBody[Exchange],
        client: NamedDependency[Client],
        federated_login: NamedDependency[FederatedLogin],
        refresh_cookie: NamedDependency[RefreshCookie],
    ) -> Response[TokenResponse]:
        """By the `code` that the browser came back with, and the verifier of the challenge that it set out with.

        Whoever comes for the first time gets an account, where the installation allows it (else 403). Who has an
        account with the same address signs in there, and links the identity (409 `email_taken`), unless the
        installation takes the provider's word for it.
        """
        cookie = refresh_cookie.chosen(request.scope, data.transport)
        return TokenAnswer(await federated_login.exchange(data, client), cookie).response()


class IdentitiesController(Controller):
    tags = ("federation",)
    path = "/me/identities"

    @get(operation_id="my_identities", summary="My identities")
    async def identities(self, caller: Caller, identities: NamedDependency[Identities]) -> IdentityList:
        """With which providers' identities one can sign in, oldest first."""
        return IdentityList(await identities.all_of(caller.user_id))

    @post(
        operation_id="link_identity",
        summary="Link an identity",
        errors=(ReauthenticationRequired, InvalidGrant, Conflict),
    )
    async def link(
        self,
        data: JSONBody[IdentityCode],
        caller: Caller,
        client: NamedDependency[Client],
        identities: NamedDependency[Identities],
    ) -> Identity:
        """By the code of a sign-in at the provider, in the place of `POST /oauth/exchange`.

        Needs a login of the last ten minutes. 409 if the identity is somebody else's.
        """
        return await identities.link(caller, data, client)

    @delete(
        "/{identity_id:uuid}",
        status_code=HTTP_204_NO_CONTENT,
        operation_id="unlink_identity",
        summary="Unlink an identity",
        errors=(ReauthenticationRequired, NotFound, Conflict),
    )
    async def unlink(
        self,
        identity_id: FromPath[UUID],
        caller: Caller,
        client: NamedDependency[Client],
        identities: NamedDependency[Identities],
    ) -> None:
        """Needs a login of the last ten minutes. The last way to sign in stays (409)."""
        await identities.unlink(caller, identity_id, client)


def _onwards(location: str, cookies: list[Cookie]) -> Response[Any]:
    headers = {"Location": location}
    return Response(b"", status_code=HTTP_302_FOUND, media_type=MediaType.TEXT, headers=headers, cookies=cookies)


def _refused(request: Request, error: AppError, back: str | None, cookies: Sequence[Cookie] = ()) -> Response[Any]:
    """A page for a person, a problem for a program."""
    request_id, headers = request.scope["state"]["request_id"], dict(error.headers)
    if "text/html" in (header(request.scope, b"accept") or ""):
        body, media_type = page(error, request_id, back).encode(), MediaType.HTML.value
        headers["Content-Security-Policy"] = POLICY
    else:
        body, media_type = problems.body(error, request_id), problems.MEDIA_TYPE
    return Response(body, status_code=error.status, media_type=media_type, headers=headers, cookies=cookies)

"""Signing in with the code of a provider's answer, and one's own identities."""

from uuid import UUID

from litestar import Controller, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.status_codes import HTTP_200_OK, HTTP_204_NO_CONTENT

from app.client import Client
from app.errors import (
    Conflict,
    EmailTaken,
    Forbidden,
    InvalidCredentials,
    InvalidGrant,
    MfaRequired,
    NotFound,
    ReauthenticationRequired,
    Unavailable,
)
from app.identity.federated_login import FederatedLogin
from app.identity.identities import Identities, Identity, IdentityCode, IdentityList
from app.identity.structs import Exchange, TokenResponse
from app.identity.token_answer import TokenAnswer
from app.request import Request
from app.sessions.caller import Caller
from app.sessions.cookie import RefreshCookie


class ExchangeController(Controller):
    tags = ("federation",)

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

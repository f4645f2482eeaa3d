"""One's second factor and passkeys, and showing once more who one is."""

from typing import Any
from uuid import UUID

from litestar import Controller, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.status_codes import HTTP_200_OK, HTTP_204_NO_CONTENT

from app.client import Client
from app.errors import (
    Conflict,
    Forbidden,
    InvalidCredentials,
    InvalidMfa,
    NotFound,
    Overloaded,
    RateLimited,
    ReauthenticationRequired,
    Unavailable,
)
from app.identity.passkey_login import PasskeyLogin
from app.identity.passkeys import (
    Passkey,
    PasskeyAssertion,
    PasskeyList,
    PasskeyLoginOptions,
    PasskeyRegistration,
    PasskeyRenaming,
    Passkeys,
)
from app.identity.reauthentication import Reauthenticator
from app.identity.second_factors import SecondFactors
from app.identity.structs import (
    PasswordConfirmation,
    Reauthentication,
    RecoveryCodes,
    TokenResponse,
    TotpConfirmation,
    TotpEnrolment,
    TotpRemoval,
)
from app.identity.token_answer import TokenAnswer
from app.problems import convert
from app.request import JSON, Request, read_json
from app.sessions.caller import Caller
from app.sessions.cookie import RefreshCookie


class MfaController(Controller):
    tags = ("second factors",)
    path = "/me/mfa"

    @post("/totp", summary="Set up an authenticator", errors=(ReauthenticationRequired, Conflict))
    async def enrol(self, caller: Caller, second_factors: NamedDependency[SecondFactors]) -> TotpEnrolment:
        """A new secret, which is asked for once its first code has come; until then another one may take its place.

        Needs a login of the last ten minutes. 409 if an authenticator is in use.
        """
        made = await second_factors.enrol(caller)
        return TotpEnrolment(secret=made.secret, otpauth_uri=made.otpauth_uri, qr_svg=made.qr_svg)

    @post(
        "/totp/confirm",
        status_code=HTTP_200_OK,
        summary="Confirm the authenticator",
        errors=(ReauthenticationRequired, Conflict, InvalidMfa, RateLimited),
    )
    async def confirm(
        self,
        data: JSONBody[TotpConfirmation],
        caller: Caller,
        client: NamedDependency[Client],
        second_factors: NamedDependency[SecondFactors],
    ) -> RecoveryCodes:
        """By its first code: from now on a sign-in by password asks for one. Ten codes for the day that it is lost."""
        return RecoveryCodes(await second_factors.confirm(caller, data.code, client))

    @delete(
        "/totp",
        status_code=HTTP_204_NO_CONTENT,
        operation_id="remove_totp",
        summary="Take the authenticator away",
        errors=(ReauthenticationRequired, Conflict, InvalidCredentials, InvalidMfa, RateLimited, Overloaded),
    )
    async def remove(
        self,
        data: JSONBody[TotpRemoval],
        caller: Caller,
        client: NamedDependency[Client],
        second_factors: NamedDependency[SecondFactors],
    ) -> None:
        """With the password, and a code or a recovery code; the recovery codes go as well."""
        await second_factors.remove(caller, data, client)

    @post(
        "/recovery-codes",
        status_code=HTTP_200_OK,
        summary="New recovery codes",
        errors=(ReauthenticationRequired, Conflict, InvalidCredentials, RateLimited, Overloaded),
    )
    async def new_codes(
        self,
        data: JSONBody[PasswordConfirmation],
        caller: Caller,
        client: NamedDependency[Client],
        second_factors: NamedDependency[SecondFactors],
    ) -> RecoveryCodes:
        """Those before them are good for nothing any more."""
        return RecoveryCodes(await second_factors.new_codes(caller, data.password, client))


class ReauthenticationController(Controller):
    tags = ("authentication",)

    @post(
        "/me/reauthenticate",
        status_code=HTTP_200_OK,
        summary="Show once more who you are",
        body={JSON: Reauthentication | PasskeyAssertion},
        errors=(InvalidCredentials, InvalidMfa, RateLimited, Overloaded),
    )
    async def reauthenticate(
        self,
        request: Request,
        caller: Caller,
        client: NamedDependency[Client],
        reauthenticator: NamedDependency[Reauthenticator],
        refresh_cookie: NamedDependency[RefreshCookie],
    ) -> Response[TokenResponse]:
        """Tokens of the same session with a present `auth_time`. Take both: the refresh token before it is used now.

        For what asks for a login of the last ten minutes (403 `reauthentication_required`).
        """
        sent = await read_json(request.scope, request.receive)
        refresh_cookie.refuse_strangers(request.scope)
        if isinstance(sent, dict) and "response" in sent:
            response, by_cookie = await reauthenticator.by_passkey(caller, convert(sent, PasskeyAssertion), client)
        else:
            response, by_cookie = await reauthenticator.reauthenticate(caller, convert(sent, Reauthentication), client)
        return TokenAnswer(response, refresh_cookie if by_cookie else None).response()


class PasskeysController(Controller):
    tags = ("second factors",)
    path = "/me/passkeys"

    @post(
        "/options",
        status_code=HTTP_200_OK,
        operation_id="passkey_options",
        summary="Options for a new passkey",
        errors=(ReauthenticationRequired,),
    )
    async def options(self, caller: Caller, passkeys: NamedDependency[Passkeys]) -> dict[str, Any]:
        """`PublicKeyCredentialCreationOptionsJSON`, for `navigator.credentials.create()`; good for five minutes.

        Needs a login of the last ten minutes, as `POST /me/passkeys` does.
        """
        return await passkeys.options(caller)

    @post(
        operation_id="add_passkey",
        summary="Add a passkey",
        errors=(ReauthenticationRequired, Conflict),
    )
    async def add(
        self,
        data: JSONBody[PasskeyRegistration],
        caller: Caller,
        client: NamedDependency[Client],
        passkeys: NamedDependency[Passkeys],
    ) -> Passkey:
        """What the browser has made, as its `toJSON()` writes it."""
        return await passkeys.add(caller, data, client)

    @get(operation_id="list_my_passkeys", summary="My passkeys")
    async def mine(self, caller: Caller, passkeys: NamedDependency[Passkeys]) -> PasskeyList:
        """The oldest first."""
        return PasskeyList(await passkeys.all_of(caller.user_id))

    @patch("/{passkey_id:uuid}", operation_id="rename_passkey", summary="Rename a passkey", errors=(NotFound,))
    async def rename(
        self,
        passkey_id: FromPath[UUID],
        data: JSONBody[PasskeyRenaming],
        caller: Caller,
        passkeys: NamedDependency[Passkeys],
    ) -> Passkey:
        """One of somebody else is 404, like one that never was."""
        return await passkeys.rename(caller, passkey_id, data.name)

    @delete(
        "/{passkey_id:uuid}",
        status_code=HTTP_204_NO_CONTENT,
        operation_id="remove_passkey",
        summary="Take a passkey away",
        errors=(NotFound, Conflict, ReauthenticationRequired),
    )
    async def remove(
        self,
        passkey_id: FromPath[UUID],
        caller: Caller,
        client: NamedDependency[Client],
        passkeys: NamedDependency[Passkeys],
    ) -> None:
        """The last way to sign in stays (409)."""
        await passkeys.remove(caller, passkey_id, client)


class PasskeyLoginController(Controller):
    tags = ("authentication",)
    path = "/login/passkey"

    @post(
        "/options",
        status_code=HTTP_200_OK,
        exclude_from_auth=True,
        operation_id="passkey_login_options",
        summary="Options for a login by passkey",
    )
    async def options(
        self, passkey_login: NamedDependency[PasskeyLogin], data: JSONBody[PasskeyLoginOptions | None] = None
    ) -> dict[str, Any]:
        """`PublicKeyCredentialRequestOptionsJSON`, for `navigator.credentials.get()`; good for five minutes.

        With `username` only a passkey of that user is accepted; the answer is the same whether there is such a user.
        """
        return passkey_login.options(data.username if data else None)

    @post(
        status_code=HTTP_200_OK,
        exclude_from_auth=True,
        operation_id="passkey_login",
        summary="Log in by passkey",
        errors=(InvalidCredentials, Forbidden, RateLimited, Unavailable),
    )
    async def login(
        self,
        request: Request,
        data: JSONBody[PasskeyAssertion],
        client: NamedDependency[Client],
        passkey_login: NamedDependency[PasskeyLogin],
        refresh_cookie: NamedDependency[RefreshCookie],
    ) -> Response[TokenResponse]:
        """What the browser gave, as its `toJSON()` writes it. It counts as two factors: no code is asked for."""
        cookie = refresh_cookie.chosen(request.scope, data.transport)
        return TokenAnswer(await passkey_login.login(data, client), cookie).response()

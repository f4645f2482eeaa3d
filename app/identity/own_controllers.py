"""The life of one's own account: proving an address, the ways back in, what is held, and leaving."""

from collections.abc import AsyncIterator

from litestar import Controller, MediaType, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody
from litestar.response import Stream
from litestar.status_codes import HTTP_200_OK, HTTP_202_ACCEPTED, HTTP_204_NO_CONTENT

from app.audit.activity import PAGE, ActivityAsked, ActivityPage, CursorText, PageSize
from app.client import Client
from app.errors import (
    EmailTaken,
    InvalidCredentials,
    InvalidOneTimeToken,
    LastAdmin,
    Overloaded,
    RateLimited,
    ReauthenticationRequired,
    Unavailable,
    WeakPassword,
)
from app.identity.accounts import Accounts
from app.identity.emails import Emails
from app.identity.holdings import Export, Holdings
from app.identity.recovery import Recovery
from app.identity.structs import AccountDeletion, Forgotten, MailedToken, PasswordReset
from app.problems import convert
from app.request import JSON
from app.sessions.caller import Caller


class RecoveryController(Controller):
    tags = ("recovery",)

    @post(
        "/password/forgot",
        status_code=HTTP_202_ACCEPTED,
        media_type=MediaType.TEXT,  # nothing in it; as JSON it would be `null`
        exclude_from_auth=True,
        summary="Forgot my password",
        errors=(RateLimited, Unavailable),
    )
    async def forgot(
        self, data: JSONBody[Forgotten], client: NamedDependency[Client], recovery: NamedDependency[Recovery]
    ) -> None:
        """Mails a link that is good for an hour, if somebody has this address; the answer is the same if nobody has."""
        await recovery.forgot(data.email, client)

    @post(
        "/password/reset",
        status_code=HTTP_204_NO_CONTENT,
        exclude_from_auth=True,
        summary="Set a new password by a link",
        errors=(InvalidOneTimeToken, WeakPassword, Overloaded, Unavailable),
    )
    async def reset(
        self, data: JSONBody[PasswordReset], client: NamedDependency[Client], recovery: NamedDependency[Recovery]
    ) -> None:
        """Works once. Ends every session of the user and begins none: sign in with the new password next."""
        await recovery.reset(data.token, data.new_password, client)

    @post(
        "/password/not-me",
        status_code=HTTP_204_NO_CONTENT,
        exclude_from_auth=True,
        operation_id="not_me",
        summary="This was not me",
        errors=(InvalidOneTimeToken, Unavailable),
    )
    async def not_me(
        self, data: JSONBody[MailedToken], client: NamedDependency[Client], recovery: NamedDependency[Recovery]
    ) -> None:
        """By the link of a notice: ends every session, voids the password, restores the address, mails a new link."""
        await recovery.not_me(data.token, client)

    @post(
        "/email/verify",
        status_code=HTTP_204_NO_CONTENT,
        exclude_from_auth=True,
        operation_id="verify_email",
        summary="Verify an address",
        errors=(InvalidOneTimeToken, EmailTaken, Unavailable),
    )
    async def verify(
        self, data: JSONBody[MailedToken], client: NamedDependency[Client], emails: NamedDependency[Emails]
    ) -> None:
        """By the link that was mailed there, once; a new address takes the place of the old one now."""
        await emails.verify(data.token, client)

    @post(
        "/email/resend",
        status_code=HTTP_202_ACCEPTED,
        media_type=MediaType.TEXT,  # nothing in it; as JSON it would be `null`
        operation_id="resend_verification",
        summary="Send the link again",
        errors=(RateLimited, Unavailable),
    )
    async def resend(self, caller: Caller, client: NamedDependency[Client], emails: NamedDependency[Emails]) -> None:
        """To the address that waits to be verified; if none does, nothing is sent."""
        await emails.resend(caller, client)


class OwnAccountController(Controller):
    tags = ("account",)
    path = "/me"

    @delete(
        status_code=HTTP_204_NO_CONTENT,
        operation_id="delete_my_account",
        summary="Delete my account",
        errors=(InvalidCredentials, ReauthenticationRequired, LastAdmin, RateLimited, Overloaded),
    )
    async def delete_me(
        self,
        data: JSONBody[AccountDeletion],
        caller: Caller,
        client: NamedDependency[Client],
        accounts: NamedDependency[Accounts],
    ) -> None:
        """With everything that is held; the audit keeps the bare id. The last administrator cannot go.

        Who has no password here (he signs in at a provider, or by a passkey) says none: he needs a login of the last
        ten minutes.
        """
        await accounts.delete(caller, data.password, client)

    @get("/activity", operation_id="my_activity", summary="My activity")
    async def activity(
        self,
        caller: Caller,
        holdings: NamedDependency[Holdings],
        cursor: FromQuery[CursorText | None] = None,
        page_size: FromQuery[PageSize] = PAGE,
    ) -> ActivityPage:
        """What happened to the account, newest first."""
        asked = convert({"cursor": cursor, "page_size": page_size}, ActivityAsked)
        return await holdings.activity(caller.user_id, asked.cursor, asked.page_size)

    @get(
        "/export",
        operation_id="export_my_data",
        summary="Everything held on me",
        media_type=JSON,
        answers={HTTP_200_OK: Export},
        errors=(ReauthenticationRequired,),
    )
    async def export(self, caller: Caller, holdings: NamedDependency[Holdings]) -> Stream:
        """One JSON document: the user, factors, passkeys, sessions, preferences, activity.

        Needs a login of the last ten minutes.
        """
        caller.require_fresh()
        pieces: AsyncIterator[bytes] = await holdings.export(caller.user_id)
        headers = {"Content-Disposition": 'attachment; filename="gatehouse-export.json"'}
        return Stream(pieces, media_type=JSON, headers=headers)

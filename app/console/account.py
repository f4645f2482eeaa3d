"""One's own account: who one is here, the address, and the password."""

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.status_codes import HTTP_200_OK

from app.console.forms import Form
from app.console.languages import mark
from app.console.visit import ROOT, Visit
from app.errors import AppError, EmailTaken, InvalidCredentials, ValidationFailed
from app.identity.accounts import Accounts
from app.identity.emails import Emails
from app.identity.holdings import Holdings
from app.identity.structs import PasswordChange, ProfileChange
from app.problems import convert
from app.sessions.caller import Caller

ACCOUNT = f"{ROOT}/account"
PROFILE, EMAIL, NO_EMAIL, PASSWORD = (
    f"account/{name}.html" for name in ("profile", "email", "email_remove", "password")
)


def beside(refused: AppError, **fields: type[AppError]) -> AppError:
    """The refusal as what is wrong with one of these fields, where it is of that field's kind."""
    for field, kind in fields.items():
        if isinstance(refused, kind):
            refused.members["errors"] = [{"field": field, "message": refused.detail}]
    return refused


class AccountPages(Controller):
    path = "/account"

    @get()
    async def profile(self, visit: NamedDependency[Visit], emails: NamedDependency[Emails]) -> Response[bytes]:
        return visit.page(PROFILE, waiting=await emails.waiting(visit.known))

    @post(status_code=HTTP_200_OK)
    async def save_profile(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        caller: Caller,
        accounts: NamedDependency[Accounts],
        emails: NamedDependency[Emails],
    ) -> Response[bytes]:
        try:
            await accounts.change(caller, convert(form.as_sent("full_name"), ProfileChange), visit.client)
        except AppError as refused:
            return visit.again(PROFILE, refused, form, waiting=await emails.waiting(visit.known))
        return visit.go(ACCOUNT, "profile-saved")


class EmailPages(Controller):
    path = "/account/email"

    @get()
    async def address(self, visit: NamedDependency[Visit], caller: Caller) -> Response[bytes]:
        caller.require_fresh()
        return visit.page(EMAIL)

    @post(status_code=HTTP_200_OK)
    async def change(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        caller: Caller,
        accounts: NamedDependency[Accounts],
        emails: NamedDependency[Emails],
    ) -> Response[bytes]:
        try:
            if not (asked := form.given("email")):
                raise ValidationFailed(("email", mark("Please fill this in.")))
            await accounts.change(caller, convert(asked, ProfileChange), visit.client)
        except AppError as refused:
            return visit.again(EMAIL, beside(refused, email=EmailTaken), form)
        stays = await emails.waiting(visit.known) in (None, visit.known.email)
        return visit.go(ACCOUNT, "email-same" if stays else "email-asked")

    @get("/remove")
    async def before_removing(self, visit: NamedDependency[Visit], caller: Caller) -> Response[bytes]:
        caller.require_fresh()
        return visit.page(NO_EMAIL) if visit.known.email else visit.go(ACCOUNT)

    @post("/remove", status_code=HTTP_200_OK)
    async def remove(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        caller: Caller,
        accounts: NamedDependency[Accounts],
    ) -> Response[bytes]:
        try:
            await accounts.change(caller, ProfileChange(email=None), visit.client)
        except AppError as refused:
            return visit.again(NO_EMAIL, refused, form)
        return visit.go(ACCOUNT, "email-removed")

    @post("/resend", status_code=HTTP_200_OK)
    async def resend(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        caller: Caller,
        emails: NamedDependency[Emails],
    ) -> Response[bytes]:
        try:
            await emails.resend(caller, visit.client)
        except AppError as refused:
            return visit.again(PROFILE, refused, form, waiting=await emails.waiting(visit.known))
        return visit.go(ACCOUNT, "link-sent")


class PasswordPages(Controller):
    """Who has to change the password gets no further than here."""

    path = "/account/password"

    @get(with_old_password=True)
    async def password(
        self, visit: NamedDependency[Visit], caller: Caller, holdings: NamedDependency[Holdings]
    ) -> Response[bytes]:
        held = await holdings.credentials(caller.user_id)
        return visit.page(PASSWORD, has_password=held.has_password)

    @post(status_code=HTTP_200_OK, with_old_password=True)
    async def change(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        caller: Caller,
        accounts: NamedDependency[Accounts],
    ) -> Response[bytes]:
        try:
            asked = convert(form.given("current_password", "new_password"), PasswordChange)
            if form.get("repeated") != asked.new_password:
                raise ValidationFailed(("repeated", mark("This is not the same as the new password above.")))
            await accounts.change_password(caller, asked, visit.client)
        except AppError as refused:
            wrong = beside(refused, current_password=InvalidCredentials)
            return visit.again(PASSWORD, wrong, form, has_password=True)
        return visit.go(ACCOUNT, "password-changed")

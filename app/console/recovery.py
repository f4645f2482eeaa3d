"""The pages behind the links of mails, and the one that asks for such a link. To open a link changes nothing."""

from typing import Annotated, ClassVar

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from litestar.status_codes import HTTP_200_OK

from app.console.forms import Form
from app.console.visit import ROOT, SIGN_IN, Visit
from app.errors import AppError
from app.identity.emails import Emails
from app.identity.recovery import Recovery
from app.identity.structs import Forgotten, MailedToken, PasswordReset
from app.problems import convert

LONGEST = 256  # characters of a token (OneTimeTokenText)
Token = Annotated[str | None, QueryParameter(name="token")]


def carried(token: str | None) -> str:
    """A token that may be one of ours, for the form; the page says so where there is none."""
    return token if token and len(token) <= LONGEST else ""


class ForgottenController(Controller):
    path = "/forgot"

    @get(exclude_from_auth=True)
    async def show(self, visit: NamedDependency[Visit]) -> Response[bytes]:
        return visit.page("recovery/forgot.html")

    @post(exclude_from_auth=True, status_code=HTTP_200_OK)
    async def ask(
        self, visit: NamedDependency[Visit], form: NamedDependency[Form], recovery: NamedDependency[Recovery]
    ) -> Response[bytes]:
        try:
            await recovery.forgot(convert(form.given("email"), Forgotten).email, visit.client)
        except AppError as refused:
            return visit.again("recovery/forgot.html", refused, form)
        return visit.go(SIGN_IN, "reset-mailed")


class LinkController(Controller):
    """Where a link leads: the page carries its token in a form, and asks."""

    template: ClassVar[str]

    @get(exclude_from_auth=True)
    async def show(self, visit: NamedDependency[Visit], token: Token = None) -> Response[bytes]:
        return visit.page(self.template, token=carried(token))

    def again(self, visit: Visit, refused: AppError, form: Form) -> Response[bytes]:
        return visit.again(self.template, refused, form, token=carried(form.get("token")))


class ResetController(LinkController):
    path = "/reset-password"
    template = "recovery/reset.html"

    @post(exclude_from_auth=True, status_code=HTTP_200_OK)
    async def reset(
        self, visit: NamedDependency[Visit], form: NamedDependency[Form], recovery: NamedDependency[Recovery]
    ) -> Response[bytes]:
        try:
            asked = convert(form.given("token", "new_password"), PasswordReset)
            await recovery.reset(asked.token, asked.new_password, visit.client)
        except AppError as refused:
            return self.again(visit, refused, form)
        return visit.go(SIGN_IN, "password-reset")


class VerificationController(LinkController):
    path = "/verify-email"
    template = "recovery/verify.html"

    @post(exclude_from_auth=True, status_code=HTTP_200_OK)
    async def verify(
        self, visit: NamedDependency[Visit], form: NamedDependency[Form], emails: NamedDependency[Emails]
    ) -> Response[bytes]:
        try:
            await emails.verify(convert(form.given("token"), MailedToken).token, visit.client)
        except AppError as refused:
            return self.again(visit, refused, form)
        return visit.go(ROOT if visit.caller else SIGN_IN, "email-verified")


class NotMeController(LinkController):
    path = "/not-me"
    template = "recovery/not_me.html"

    @post(exclude_from_auth=True, status_code=HTTP_200_OK)
    async def shut_out(
        self, visit: NamedDependency[Visit], form: NamedDependency[Form], recovery: NamedDependency[Recovery]
    ) -> Response[bytes]:
        try:
            await recovery.not_me(convert(form.given("token"), MailedToken).token, visit.client)
        except AppError as refused:
            return self.again(visit, refused, form)
        return visit.go(SIGN_IN, "shut-out")

"""Signing in by password, by passkey and by what comes after them; signing out."""

from typing import Annotated, Any

import msgspec
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from litestar.status_codes import HTTP_200_OK

from app.console.forms import Form, own_path
from app.console.visit import ROOT, SIGN_IN, Visit
from app.errors import AppError, InvalidCredentials, MfaRequired
from app.federation.sign_ins import SignIns
from app.identity.login import Login
from app.identity.passkey_login import REFUSED, PasskeyLogin
from app.identity.passkeys import PasskeyAssertion
from app.identity.structs import Credentials, SecondStep, TokenResponse
from app.problems import convert
from app.providers import GPUSTACK
from app.reading import decode
from app.sessions.service import Sessions

Next = Annotated[str | None, QueryParameter(name="next")]
NEXT = "next"  # of the query, and of the forms that it is carried on in
CREDENTIAL = "credential"  # the field of what a passkey has signed, as JSON


def enter(visit: Visit, response: TokenResponse, onwards: str | None, told: str | None = None) -> Response[bytes]:
    """The browser has a session from now on."""
    visit.keep(*visit.console.cookies.signed_in(response))
    return visit.go(own_path(onwards) or ROOT, told)


def ask_for_code(visit: Visit, due: MfaRequired, onwards: str | None) -> Response[bytes]:
    """The page of the second step; what stands for the first one is in its form."""
    return visit.page("sign_in/code.html", pending=due.members, next=own_path(onwards))


def passkey_options(passkey_login: PasskeyLogin) -> str:
    """What a script of the page gives to the browser."""
    return msgspec.json.encode(passkey_login.options(None)).decode()


def shown_passkey(form: Form) -> PasskeyAssertion:
    """What the browser has given to the script.

    Raises:
        InvalidCredentials: it is nothing of the kind.
    """
    try:
        sent = convert(decode(form.get(CREDENTIAL, "").encode()), PasskeyAssertion)
    except AppError:
        raise InvalidCredentials(REFUSED) from None
    return msgspec.structs.replace(sent, device_name=None, transport="body")


class Door:
    """Dependency `door`: the page of the ways in."""

    def __init__(self, visit: Visit, sign_ins: SignIns, passkey_login: PasskeyLogin) -> None:
        self._visit = visit
        self._sign_ins = sign_ins
        self._passkey_login = passkey_login

    def page(self, onwards: str | None) -> Response[bytes]:
        return self._visit.page("sign_in/password.html", **self._known(onwards))

    def again(self, refused: AppError, onwards: str | None, form: Form | None = None) -> Response[bytes]:
        return self._visit.again("sign_in/password.html", refused, form or {}, **self._known(onwards))

    def _known(self, onwards: str | None) -> dict[str, Any]:
        offered = self._sign_ins.offered()
        return {
            "next": own_path(onwards),
            "providers": [each for each in offered if each.name != GPUSTACK],
            "by_gpustack": any(each.name == GPUSTACK for each in offered),
            "passkey": passkey_options(self._passkey_login),
            "registration": self._visit.console.settings.registration,
        }


def provide_door(
    visit: NamedDependency[Visit], sign_ins: NamedDependency[SignIns], passkey_login: NamedDependency[PasskeyLogin]
) -> Door:
    return Door(visit, sign_ins, passkey_login)


class SignInController(Controller):
    path = "/sign-in"

    @get(exclude_from_auth=True)
    async def show(
        self, visit: NamedDependency[Visit], door: NamedDependency[Door], next_: Next = None
    ) -> Response[bytes]:
        if visit.caller is not None:
            return visit.go(own_path(next_) or ROOT)
        return door.page(next_)

    @post(exclude_from_auth=True, status_code=HTTP_200_OK)
    async def sign_in(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        login: NamedDependency[Login],
        door: NamedDependency[Door],
    ) -> Response[bytes]:
        try:
            response = await login.login(convert(form.given("username", "password"), Credentials), visit.client)
        except MfaRequired as due:
            return ask_for_code(visit, due, form.get(NEXT))
        except AppError as refused:
            return door.again(refused, form.get(NEXT), form)
        return enter(visit, response, form.get(NEXT))

    @get(["/code", "/passkey"], exclude_from_auth=True)
    async def show_instead(self, visit: NamedDependency[Visit]) -> Response[bytes]:
        """To who loads the page of a form's answer once more, as if it were one of its own."""
        return visit.go(SIGN_IN)

    @post("/code", exclude_from_auth=True, status_code=HTTP_200_OK)
    async def second_step(
        self, visit: NamedDependency[Visit], form: NamedDependency[Form], login: NamedDependency[Login]
    ) -> Response[bytes]:
        pending = {"mfa_token": form.get("mfa_token"), "methods": form.get("methods", "").split()}
        way = "recovery_code" if form.given("recovery_code") else "code"
        try:
            response = await login.second_step(convert(form.given("mfa_token", way), SecondStep), visit.client)
        except AppError as refused:
            return visit.again("sign_in/code.html", refused, form, pending=pending, next=own_path(form.get(NEXT)))
        return enter(visit, response, form.get(NEXT))

    @post("/passkey", exclude_from_auth=True, status_code=HTTP_200_OK)
    async def by_passkey(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        passkey_login: NamedDependency[PasskeyLogin],
        door: NamedDependency[Door],
    ) -> Response[bytes]:
        try:
            response = await passkey_login.login(shown_passkey(form), visit.client)
        except AppError as refused:
            return door.again(refused, form.get(NEXT))
        return enter(visit, response, form.get(NEXT))


class SignOutController(Controller):
    @post("/sign-out", exclude_from_auth=True, status_code=HTTP_200_OK)
    async def sign_out(self, visit: NamedDependency[Visit], sessions: NamedDependency[Sessions]) -> Response[bytes]:
        if visit.caller is not None:
            await sessions.log_out(visit.caller.user_id, visit.client, session_id=visit.caller.session_id)
        visit.keep(*visit.console.cookies.signed_out())
        return visit.go(SIGN_IN, "signed-out")

"""Who one is, once more, for what a stolen session must not do: by whatever somebody has."""

from typing import Any

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.status_codes import HTTP_200_OK

from app.console.forms import Form, own_path
from app.console.sign_in import NEXT, Next, enter, passkey_options, shown_passkey
from app.console.visit import ROOT, Visit
from app.errors import AppError
from app.federation.sign_ins import SignIns
from app.identity.holdings import Holdings
from app.identity.passkey_login import PasskeyLogin
from app.identity.reauthentication import Reauthenticator
from app.identity.structs import Reauthentication
from app.problems import convert
from app.providers import GPUSTACK
from app.sessions import amr
from app.sessions.caller import Caller

CONFIRM = f"{ROOT}/confirm"


class Confirming:
    """Dependency `confirming`: the page that asks for what the caller has."""

    def __init__(
        self, visit: Visit, caller: Caller, holdings: Holdings, sign_ins: SignIns, passkey_login: PasskeyLogin
    ) -> None:
        self._visit = visit
        self._caller = caller
        self._holdings = holdings
        self._sign_ins = sign_ins
        self._passkey_login = passkey_login

    async def page(self, onwards: str | None) -> Response[bytes]:
        return self._visit.page("sign_in/confirm.html", **await self._known(onwards))

    async def again(self, refused: AppError, onwards: str | None, form: Form | None = None) -> Response[bytes]:
        return self._visit.again("sign_in/confirm.html", refused, form or {}, **await self._known(onwards))

    async def _known(self, onwards: str | None) -> dict[str, Any]:
        """Who has a second factor shows that, for the password alone is none; but first what was shown offline."""
        caller, person = self._caller, self._visit.person
        held = await self._holdings.credentials(caller.user_id)
        by_code = caller.subject.mfa_enabled and amr.OFFLINE not in caller.amr
        has_password = held.has_password or (person is not None and person.provider == GPUSTACK)
        linked = {each.provider for each in held.identities} - {GPUSTACK}
        others = by_code or has_password or held.passkeys
        return {
            "next": own_path(onwards),
            "by_code": by_code,
            "by_password": has_password and not by_code,
            "passkey": passkey_options(self._passkey_login) if held.passkeys else None,
            "providers": [] if others else [each for each in self._sign_ins.offered() if each.name in linked],
        }


def provide_confirming(
    visit: NamedDependency[Visit],
    caller: Caller,
    holdings: NamedDependency[Holdings],
    sign_ins: NamedDependency[SignIns],
    passkey_login: NamedDependency[PasskeyLogin],
) -> Confirming:
    return Confirming(visit, caller, holdings, sign_ins, passkey_login)


class ConfirmationController(Controller):
    path = "/confirm"

    @get()
    async def show(self, confirming: NamedDependency[Confirming], next_: Next = None) -> Response[bytes]:
        return await confirming.page(next_)

    @post(status_code=HTTP_200_OK)
    async def confirm(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        caller: Caller,
        reauthenticator: NamedDependency[Reauthenticator],
        confirming: NamedDependency[Confirming],
    ) -> Response[bytes]:
        way = "code" if "code" in form else "password"
        try:
            asked = convert({way: form.get(way, "")}, Reauthentication)
            response, _ = await reauthenticator.reauthenticate(caller, asked, visit.client)
        except AppError as refused:
            return await confirming.again(refused, form.get(NEXT), form)
        return enter(visit, response, form.get(NEXT))

    @get("/passkey")
    async def show_instead(self, visit: NamedDependency[Visit]) -> Response[bytes]:
        """To who loads the page of a form's answer once more, as if it were one of its own."""
        return visit.go(CONFIRM)

    @post("/passkey", status_code=HTTP_200_OK)
    async def by_passkey(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        caller: Caller,
        reauthenticator: NamedDependency[Reauthenticator],
        confirming: NamedDependency[Confirming],
    ) -> Response[bytes]:
        try:
            response, _ = await reauthenticator.by_passkey(caller, shown_passkey(form), visit.client)
        except AppError as refused:
            return await confirming.again(refused, form.get(NEXT))
        return enter(visit, response, form.get(NEXT))

"""One's authenticator, and the codes for the day that it is lost."""

import base64
from typing import Any

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.status_codes import HTTP_200_OK

from app.console.account import ACCOUNT, beside
from app.console.forms import Form
from app.console.languages import mark
from app.console.messages import GOOD
from app.console.visit import Visit
from app.errors import AppError, InvalidCredentials, InvalidMfa, ValidationFailed
from app.factors.totp import Enrolment
from app.identity.holdings import Holdings
from app.identity.second_factors import SecondFactors
from app.identity.structs import PasswordConfirmation, TotpConfirmation, TotpRemoval
from app.problems import convert
from app.providers import GPUSTACK
from app.sessions.caller import Caller

FACTORS = f"{ACCOUNT}/factors"
OVERVIEW, SET_UP, CODES, NEW_CODES, REMOVE = (
    f"account/{name}.html" for name in ("factors", "authenticator", "codes", "new_codes", "authenticator_remove")
)
CODES_TOLD = (
    GOOD,
    mark("Signing in asks for a code from your authenticator from now on. One step is left: save these codes."),
    None,
)


def shown(made: Enrolment) -> dict[str, Any]:
    """What the page shows of a secret; the picture as data, which can do nothing."""
    picture = base64.b64encode(made.qr_svg.encode()).decode()
    return {"secret": made.secret, "uri": made.otpauth_uri, "picture": f"data:image/svg+xml;base64,{picture}"}


async def asks_password(visit: Visit, holdings: Holdings) -> bool:
    """Whether the visitor has a password to confirm things by: here, or at GPUStack."""
    person = visit.known
    return person.provider == GPUSTACK or (await holdings.credentials(person.id)).has_password


class FactorPages(Controller):
    path = "/account/factors"

    @get()
    async def overview(
        self, visit: NamedDependency[Visit], caller: Caller, holdings: NamedDependency[Holdings]
    ) -> Response[bytes]:
        return visit.page(OVERVIEW, held=await holdings.credentials(caller.user_id))

    # ---- the authenticator ----------------------------------------------------------------------------------------

    @get("/authenticator")
    async def before(self, visit: NamedDependency[Visit], caller: Caller) -> Response[bytes]:
        caller.require_fresh()
        return visit.page(SET_UP, secret=None)

    @post("/authenticator", status_code=HTTP_200_OK)
    async def set_up(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        caller: Caller,
        second_factors: NamedDependency[SecondFactors],
    ) -> Response[bytes]:
        """First a secret; then, with a code of it, the recovery codes. The page keeps the secret between the two."""
        known: dict[str, Any] = {"secret": None}
        try:
            if "secret" not in form:
                return visit.page(SET_UP, form=form, **shown(await second_factors.enrol(caller)))
            known = shown(second_factors.once_more(caller, form["secret"]))
            code = convert(form.given("code"), TotpConfirmation).code
            codes = await second_factors.confirm(caller, code, visit.client)
        except InvalidMfa:
            refused = InvalidMfa(mark("This is not the code that your authenticator shows now."))
            return visit.again(SET_UP, beside(refused, code=InvalidMfa), form, **known)
        except AppError as refused:
            return visit.again(SET_UP, refused, form, **known)
        return visit.page(CODES, codes=codes, told=CODES_TOLD)

    @get("/authenticator/remove")
    async def before_removal(
        self, visit: NamedDependency[Visit], caller: Caller, holdings: NamedDependency[Holdings]
    ) -> Response[bytes]:
        caller.require_fresh()
        return visit.page(REMOVE, asks_password=await asks_password(visit, holdings))

    @post("/authenticator/remove", status_code=HTTP_200_OK)
    async def remove(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        caller: Caller,
        holdings: NamedDependency[Holdings],
        second_factors: NamedDependency[SecondFactors],
    ) -> Response[bytes]:
        try:
            sent = form.given("password", "code", "recovery_code")
            if len(sent.keys() & {"code", "recovery_code"}) != 1:
                raise ValidationFailed(("code", mark("Type one of the two: a code, or a recovery code.")))
            await second_factors.remove(caller, convert(sent, TotpRemoval), visit.client)
        except AppError as refused:
            wrong = beside(refused, password=InvalidCredentials, code=InvalidMfa)
            return visit.again(REMOVE, wrong, form, asks_password=await asks_password(visit, holdings))
        return visit.go(FACTORS, "authenticator-removed")

    # ---- recovery codes -------------------------------------------------------------------------------------------

    @get("/codes")
    async def before_codes(
        self, visit: NamedDependency[Visit], caller: Caller, holdings: NamedDependency[Holdings]
    ) -> Response[bytes]:
        caller.require_fresh()
        return visit.page(NEW_CODES, asks_password=await asks_password(visit, holdings))

    @post("/codes", status_code=HTTP_200_OK)
    async def new_codes(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        caller: Caller,
        holdings: NamedDependency[Holdings],
        second_factors: NamedDependency[SecondFactors],
    ) -> Response[bytes]:
        try:
            confirmed = convert(form.given("password"), PasswordConfirmation)
            codes = await second_factors.new_codes(caller, confirmed.password, visit.client)
        except AppError as refused:
            wrong = beside(refused, password=InvalidCredentials)
            return visit.again(NEW_CODES, wrong, form, asks_password=await asks_password(visit, holdings))
        return visit.page(CODES, codes=codes)

"""What is held on one: taken along, or deleted."""

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery
from litestar.response import Stream
from litestar.status_codes import HTTP_200_OK

from app.console.account import ACCOUNT, beside
from app.console.factors import asks_password
from app.console.forms import Form
from app.console.languages import mark
from app.console.visit import ROOT, SIGN_IN, Visit
from app.errors import AppError, InvalidCredentials, ReauthenticationRequired, ValidationFailed
from app.identity.accounts import Accounts
from app.identity.holdings import Holdings
from app.identity.structs import AccountDeletion
from app.problems import convert
from app.request import JSON
from app.sessions.caller import Caller

DATA = f"{ACCOUNT}/data"
DELETE = "account/delete.html"
HELD_BACK = f"{ROOT}/confirm?next={DATA}%3Fready%3Dtrue"


class DataPages(Controller):
    path = "/account/data"

    @get()
    async def overview(
        self,
        visit: NamedDependency[Visit],
        ready: FromQuery[bool] = False,  # noqa: FBT002 - a query parameter
    ) -> Response[bytes]:
        return visit.page("account/data.html", ready=ready)

    @get("/export")
    async def export(
        self, visit: NamedDependency[Visit], caller: Caller, holdings: NamedDependency[Holdings]
    ) -> Response[bytes] | Stream:
        """A file. Who has to show first who he is comes back to the page: a download would leave him where he was."""
        try:
            caller.require_fresh()
        except ReauthenticationRequired:
            return visit.go(HELD_BACK)
        headers = {"Content-Disposition": 'attachment; filename="gatehouse-export.json"'}
        return Stream(await holdings.export(caller.user_id), media_type=JSON, headers=headers)

    @get("/delete")
    async def before_deletion(
        self, visit: NamedDependency[Visit], caller: Caller, holdings: NamedDependency[Holdings]
    ) -> Response[bytes]:
        asked = await asks_password(visit, holdings)
        if not asked:
            caller.require_fresh()
        return visit.page(DELETE, asks_password=asked)

    @post("/delete", status_code=HTTP_200_OK)
    async def delete(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        caller: Caller,
        accounts: NamedDependency[Accounts],
        holdings: NamedDependency[Holdings],
    ) -> Response[bytes]:
        try:
            if form.get("confirmation", "").strip() != visit.known.username:
                raise ValidationFailed(("confirmation", mark("This is not your username.")))
            confirmed = convert(form.given("password"), AccountDeletion)
            await accounts.delete(caller, confirmed.password, visit.client)
        except AppError as refused:
            wrong = beside(refused, password=InvalidCredentials)
            return visit.again(DELETE, wrong, form, asks_password=await asks_password(visit, holdings))
        visit.keep(*visit.console.cookies.signed_out())
        return visit.go(SIGN_IN, "account-deleted")

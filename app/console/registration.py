"""Making an account, where the installation lets people do that."""

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.status_codes import HTTP_200_OK

from app.console.forms import Form, own_path, then
from app.console.languages import mark
from app.console.sign_in import NEXT, Next, enter
from app.console.visit import ROOT, SIGN_IN, Visit
from app.errors import AppError, Forbidden
from app.identity.accounts import Accounts
from app.identity.login import Login
from app.identity.structs import Credentials, Registration
from app.problems import convert


class RegistrationController(Controller):
    path = "/register"

    @get(exclude_from_auth=True)
    async def show(self, visit: NamedDependency[Visit], next_: Next = None) -> Response[bytes]:
        if visit.caller is not None:
            return visit.go(own_path(next_) or ROOT)
        if visit.console.settings.registration == "closed":
            raise Forbidden(mark("Accounts are made by an administrator here."))
        return visit.page("sign_in/register.html", next=own_path(next_))

    @post(exclude_from_auth=True, status_code=HTTP_200_OK)
    async def register(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        accounts: NamedDependency[Accounts],
        login: NamedDependency[Login],
    ) -> Response[bytes]:
        """Who has made an account is signed in; where that cannot be at the moment, he is asked to."""
        onwards = own_path(form.get(NEXT))
        try:
            new = convert(form.given("username", "password", "email", "full_name"), Registration)
            await accounts.register(new, visit.client)
        except AppError as refused:
            return visit.again("sign_in/register.html", refused, form, next=onwards)
        try:
            response = await login.login(Credentials(username=new.username, password=new.password), visit.client)
        except AppError:
            return visit.go(then(SIGN_IN, onwards), "registered-sign-in")
        return enter(visit, response, onwards, "registered")

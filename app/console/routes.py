"""The console as an application of its own; the only place where its pages are listed."""

import asyncio
from collections.abc import Mapping
from functools import partial

from litestar import Litestar, Response, Router, get
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.types import Receive, Scope, Send

from app.console.account import ACCOUNT, AccountPages, EmailPages, PasswordPages
from app.console.activity import ActivityPages
from app.console.administration.routes import administration_router
from app.console.confirmation import ConfirmationController, provide_confirming
from app.console.devices import DevicePages
from app.console.factors import FactorPages
from app.console.federation import ConfirmWithController, LinkController, SignInWithController, provide_departure
from app.console.files import read_file
from app.console.identities import IdentityPages
from app.console.own_data import DataPages
from app.console.own_passkeys import PasskeyPages
from app.console.preferences import PreferencePages
from app.console.recovery import ForgottenController, NotMeController, ResetController, VerificationController
from app.console.refusals import REFUSALS
from app.console.registration import RegistrationController
from app.console.sign_in import SignInController, SignOutController, provide_door
from app.console.visit import (
    ROOT,
    SIGN_IN,
    Console,
    Visit,
    Visits,
    check_form,
    provide_form,
    provide_visit,
)
from app.console.ways import Ways
from app.errors import NotFound
from app.request import MAX_BODY_BYTES, Request
from app.sessions.caller import Authentication


@get("/", exclude_from_auth=True)
async def start(visit: NamedDependency[Visit]) -> Response[bytes]:
    """Wherever the visitor belongs."""
    return visit.go(SIGN_IN if visit.caller is None else ACCOUNT)


@get("/{path:path}", exclude_from_auth=True, sync_to_thread=False)
def nowhere(path: FromPath[str]) -> Response[bytes]:
    """What is none of our pages is told on one."""
    raise NotFound(path and "There is no such page.")


def create_console(console: Console, dependencies: Mapping[str, Provide]) -> Litestar:
    """The application of the pages; its dependencies are those of the API's, and so are its gates."""
    pages = Router(
        ROOT,
        route_handlers=[
            start,
            read_file,
            SignInController,
            SignInWithController,
            SignOutController,
            ConfirmationController,
            ConfirmWithController,
            RegistrationController,
            ForgottenController,
            ResetController,
            VerificationController,
            NotMeController,
            LinkController,
            AccountPages,
            administration_router(),
            EmailPages,
            PasswordPages,
            FactorPages,
            PasskeyPages,
            IdentityPages,
            DevicePages,
            ActivityPages,
            PreferencePages,
            DataPages,
            nowhere,
        ],
    )
    ways = Ways(console.settings)
    app = Litestar(
        route_handlers=[pages],
        before_request=check_form,
        dependencies={
            **dependencies,
            "visit": Provide(provide_visit),
            "form": Provide(provide_form),
            "confirming": Provide(provide_confirming, sync_to_thread=False),
            "departure": Provide(provide_departure, sync_to_thread=False),
            "door": Provide(provide_door, sync_to_thread=False),
            "ways": Provide(lambda: ways, sync_to_thread=False),
        },
        exception_handlers=REFUSALS,
        middleware=[Visits(console), Authentication(console.authenticate)],
        logging_config=None,  # logs are ours; the default starts a thread to write them
        openapi_config=None,  # pages are for people
        request_class=Request,
        request_max_body_size=MAX_BODY_BYTES,
    )
    app.state.settings = console.settings
    app.state.console = console
    return app


class Pages:
    """Made when the first page is asked for: who serves programs alone does not pay for it."""

    def __init__(self, console: Console, dependencies: Mapping[str, Provide]) -> None:
        self._make = partial(create_console, console, dependencies)
        self._one = asyncio.Lock()
        self._app: Litestar | None = None

    @property
    def app(self) -> Litestar:
        if self._app is None:
            self._app = self._make()
        return self._app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._one:
            if self._app is None:
                self._app = await asyncio.to_thread(self._make)  # it takes some 100 ms
        await self._app(scope, receive, send)

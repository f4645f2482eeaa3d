"""The application: its routes, its parts opened and closed in order; the only place where these are wired."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from litestar import Litestar, Router
from litestar.di import Provide
from litestar.types import ASGIApp, ControllerRouterHandler

from app import devices, logs, problems
from app.background import end
from app.browsers import Browsers
from app.clients.controllers import ClientsController
from app.console.cookies import ConsoleCookies
from app.console.forms import Forms
from app.console.routes import Pages
from app.console.visit import ROOT, Console
from app.documentation.controllers import documentation_handlers
from app.edge import Edge
from app.federation.cookie import FlowCookie
from app.health.controllers import HealthController, metrics_handler
from app.identity.admin_controllers import UsersController
from app.identity.controllers import AccountController, LoginController, login_answer, me_answer, refresh_answer
from app.identity.factor_controllers import (
    MfaController,
    PasskeyLoginController,
    PasskeysController,
    ReauthenticationController,
)
from app.identity.federation_controllers import FederationController, IdentitiesController
from app.identity.own_controllers import OwnAccountController, RecoveryController
from app.identity.role_controllers import RolesController
from app.identity.transfer_controllers import TransferController
from app.identity.upstream_controllers import UpstreamController
from app.keys.controllers import WellKnownController
from app.maintenance.controllers import MaintenanceController
from app.parts import Parts, assemble
from app.preferences.controllers import PreferencesController
from app.request import MAX_BODY_BYTES, Request, provide_client
from app.sessions.admin_controllers import SessionsController
from app.sessions.caller import Authentication, provide_caller, provide_judge, provide_optional_caller
from app.sessions.controllers import (
    LogoutController,
    MySessionsController,
    logout_handler,
    verify_answer,
    verify_handler,
)
from app.settings import BASE, Settings, load
from app.trail.controllers import AuditController

SAMPLE_INTERVAL = 1.0  # seconds between two samples of the gauges


def create() -> ASGIApp:
    """The application of a worker, by the settings of its environment (the target that Granian is given)."""
    settings = load()
    logs.configure(settings)
    return at_the_edge(create_app(settings))


def at_the_edge(app: Litestar) -> Edge:
    """The application as it is served."""
    parts: Parts = app.state.parts
    authenticate = parts.authenticator.caller
    verify = verify_answer(authenticate)
    methods = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    without_body = {
        ("GET", f"{BASE}/me"): me_answer(authenticate),
        **{(method, f"{BASE}/verify"): verify for method in methods},
    }
    with_body = {
        ("POST", f"{BASE}/login"): login_answer(parts.login, parts.refresh_cookie, parts.settings),
        ("POST", f"{BASE}/refresh"): refresh_answer(parts.login, parts.refresh_cookie, parts.settings),
    }
    streamed = {("POST", f"{BASE}/users/import")}
    others = {ROOT: app.state.pages}
    count = parts.metrics.traffic.answered
    return parts.traces.edge(app, Browsers(parts.settings), without_body, with_body, streamed, others, count=count)


@asynccontextmanager
async def running(parts: Parts) -> AsyncGenerator[None]:
    """Open the parts in order, close them in reverse; no store has to be there for a process to start."""
    devices.load()
    await parts.db.start()
    await parts.entries.start()
    await parts.ring.start()
    await parts.lists.start()
    await parts.reports.start()
    parts.last_seen.start()
    parts.maintenance.start()
    parts.roll_up.start()
    parts.sender.start()
    if parts.gpustack is not None:
        parts.gpustack.start()
    await parts.health.ready()  # from now on `?degraded=ok` may stand in for it
    parts.health.start()
    sampler = asyncio.create_task(_sample(parts))
    try:
        yield
    finally:
        await end(sampler)
        await parts.health.stop()
        if parts.gpustack is not None:
            await parts.gpustack.stop()
        await parts.sender.stop()
        await parts.roll_up.stop()
        await parts.maintenance.stop()
        await parts.last_seen.stop()
        await parts.census.stop()
        await parts.reports.stop()
        await parts.lists.stop()
        await parts.ring.stop()
        await parts.sessions.stop()
        await parts.passwords.stop()
        await parts.entries.stop()
        await parts.db.stop()
        await parts.traces.stop()


async def _sample(parts: Parts) -> None:
    told = dict(parts.authenticator.checks)
    while True:
        await asyncio.sleep(SAMPLE_INTERVAL)
        for source, checks in parts.authenticator.checks.items():
            parts.metrics.session_checked(source, checks - told[source])
            told[source] = checks
        parts.metrics.sample()


def create_app(settings: Settings, route_handlers: Sequence[ControllerRouterHandler] = ()) -> Litestar:
    """The Litestar application.

    Args:
        settings: checked by `app.settings.load`.
        route_handlers: an application's own routes, served beside ours; they may ask for `Caller` and `requires`.
    """
    parts = assemble(settings)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncGenerator[None]:
        async with running(parts):
            yield

    authenticate = parts.authenticator.caller
    api = Router(
        BASE,
        route_handlers=[
            LoginController,
            AccountController,
            RecoveryController,
            OwnAccountController,
            MfaController,
            PasskeysController,
            PasskeyLoginController,
            ReauthenticationController,
            LogoutController,
            MySessionsController,
            FederationController,
            IdentitiesController,
            PreferencesController,
            UsersController,
            RolesController,
            TransferController,
            UpstreamController,
            SessionsController,
            AuditController,
            MaintenanceController,
            HealthController,
            ClientsController,
            logout_handler(authenticate),
            verify_handler(authenticate),
        ],
    )
    dependencies = dependencies_of(parts, settings)
    app = Litestar(
        route_handlers=[
            api,
            WellKnownController,
            metrics_handler(parts.metrics, settings),
            *documentation_handlers(settings),
            *route_handlers,
        ],
        dependencies=dependencies,
        exception_handlers=problems.HANDLERS,
        lifespan=[lifespan],
        middleware=[Authentication(authenticate)],
        logging_config=None,  # logs are ours; the default starts a thread to write them
        openapi_config=None,  # app/documentation makes the document
        request_class=Request,
        request_max_body_size=MAX_BODY_BYTES,
    )
    app.state.settings = settings
    app.state.parts = parts
    console = Console(settings, ConsoleCookies(settings), Forms(settings), parts.login, parts.preferences, authenticate)
    app.state.pages = Pages(console, dependencies)
    app.state.started_at = time.monotonic()
    return app


def dependencies_of(parts: Parts, settings: Settings) -> dict[str, Provide]:
    """What a handler may ask for by name."""
    authenticate = parts.authenticator.caller
    return {
        "accounts": constant(parts.accounts),
        "administration": constant(parts.administration),
        "assistance": constant(parts.assistance),
        "analytics": constant(parts.analytics),
        "caller": Provide(provide_caller),
        "census": constant(parts.census),
        "client": Provide(provide_client),
        "clients": constant(parts.clients),
        "emails": constant(parts.emails),
        "ending": constant(parts.ending),
        "exports": constant(parts.exports),
        "federated_login": constant(parts.federated_login),
        "flow_cookie": constant(FlowCookie(settings)),
        "health": constant(parts.health),
        "holdings": constant(parts.holdings),
        "identities": constant(parts.identities),
        "imports": constant(parts.imports),
        "introspection": constant(parts.introspection),
        "judge": Provide(provide_judge),
        "login": constant(parts.login),
        "maintenance": constant(parts.maintenance),
        "optional_caller": Provide(provide_optional_caller(authenticate)),
        "preferences": constant(parts.preferences),
        "reauthenticator": constant(parts.reauthenticator),
        "passkey_login": constant(parts.passkey_login),
        "passkeys": constant(parts.passkeys),
        "recovery": constant(parts.recovery),
        "second_factors": constant(parts.second_factors),
        "refresh_cookie": constant(parts.refresh_cookie),
        "revocation": constant(parts.revocation),
        "ring": constant(parts.ring),
        "roles": constant(parts.roles),
        "rotation": constant(parts.rotation),
        "sender": constant(parts.sender),
        "session_directory": constant(parts.session_directory),
        "sessions": constant(parts.sessions),
        "sign_ins": constant(parts.sign_ins),
        "trail": constant(parts.trail),
        "upstream_sync": constant(parts.gpustack.sync if parts.gpustack else None),
        "user_list": constant(parts.user_list),
    }


def constant(part: object) -> Provide:
    """A dependency that is the same for every request."""
    return Provide(lambda: part, sync_to_thread=False)

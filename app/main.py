"""The only place where things are wired; no global state, so a test makes as many applications as it likes."""

import asyncio
import importlib
import os
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from litestar import Litestar, Router
from litestar.di import Provide
from litestar.types import ASGIApp, ControllerRouterHandler

from app import devices, logs, problems, providers
from app.background import end
from app.browsers import Browsers
from app.cache.entries import Entries
from app.clients import queries as client_queries
from app.clients.controllers import ClientsController
from app.clients.introspection import Introspection
from app.clients.revocation import Revocation
from app.clients.service import CLIENT_KIND, Clients
from app.database import Database
from app.documentation.controllers import documentation_handlers
from app.edge import Edge
from app.factors.relying_party import RelyingParty
from app.factors.totp import Totp
from app.federation.cookie import FlowCookie
from app.federation.sign_ins import IdentityProvider, SignIns
from app.gpustack.directory import Directory
from app.gpustack.instance import Instance
from app.health.controllers import HealthController, metrics_handler
from app.health.service import Health
from app.identity import queries as identity_queries
from app.identity import rights as identity_rights
from app.identity.accounts import Accounts
from app.identity.admin_controllers import UsersController
from app.identity.administration import Administration
from app.identity.confirmation import Confirmation
from app.identity.controllers import AccountController, LoginController, login_answer, me_answer, refresh_answer
from app.identity.emails import Emails
from app.identity.entry import People, decode
from app.identity.factor_controllers import (
    MfaController,
    PasskeyLoginController,
    PasskeysController,
    ReauthenticationController,
)
from app.identity.federated_login import FederatedLogin
from app.identity.federation_controllers import FederationController, IdentitiesController
from app.identity.holdings import Holdings
from app.identity.identities import Identities
from app.identity.listing import UserList
from app.identity.login import Login
from app.identity.mails import Mails, mailed_link
from app.identity.own_controllers import OwnAccountController, RecoveryController
from app.identity.passkey_login import PasskeyLogin
from app.identity.passkeys import Passkeys
from app.identity.passwords import Passwords
from app.identity.reauthentication import Reauthenticator
from app.identity.recovery import FORGOT, Recovery
from app.identity.rights import RoleTable
from app.identity.second_factors import SecondFactors
from app.identity.shadows import Shadows
from app.identity.structs import UserEntry
from app.identity.tries import Tries
from app.identity.upstream import Upstream
from app.identity.upstream_controllers import UpstreamController
from app.identity.upstream_sync import UpstreamSync
from app.identity.ways_in import WaysIn
from app.keys.controllers import WellKnownController
from app.keys.cursors import Cursors
from app.keys.ring import Ring
from app.limits.attempts import Attempts
from app.limits.quota import Quota
from app.limits.violations import Violations
from app.limits.windows import Windows
from app.listing import Lists
from app.mail.sender import Handler, Sender
from app.maintenance.controllers import MaintenanceController
from app.maintenance.service import Maintenance
from app.metrics import Metrics
from app.outbound import Outbound
from app.preferences.controllers import PreferencesController
from app.preferences.service import Preferences
from app.proofs.tokens import OneTimeTokens
from app.request import MAX_BODY_BYTES, Request, provide_client
from app.sessions import queries as session_queries
from app.sessions.admin_controllers import SessionsController
from app.sessions.authenticator import Authenticator
from app.sessions.caller import Authentication, provide_caller, provide_optional_caller
from app.sessions.controllers import (
    LogoutController,
    MySessionsController,
    logout_handler,
    verify_answer,
    verify_handler,
)
from app.sessions.cookie import RefreshCookie
from app.sessions.lastseen import LastSeen
from app.sessions.listing import SessionDirectory
from app.sessions.service import Sessions
from app.sessions.structs import RIGHTS_KEY, SESSION_KIND, USER_KIND
from app.sessions.tokens import AccessTokens, RefreshTokens
from app.setting_values import Rate
from app.settings import BASE, Settings, load

JUDGEMENTS = Rate(60, 3600)  # passwords of a network that are judged before it registers: 0.2 s each at worst
SAMPLE_INTERVAL = 1.0  # seconds between two samples of the gauges


@dataclass(frozen=True)
class Gpustack:
    """What there is where GPUStack keeps passwords of its own users."""

    instance: Instance
    upstream: Upstream
    sync: UpstreamSync

    def start(self) -> None:
        self.instance.start()
        self.sync.start()

    async def stop(self) -> None:
        await self.sync.stop()
        await self.instance.stop()


@dataclass(frozen=True)
class Parts:
    """Everything that a process is made of; a test may look at it through `app.state.parts`."""

    settings: Settings
    db: Database
    entries: Entries
    ring: Ring
    passwords: Passwords
    attempts: Attempts
    last_seen: LastSeen
    metrics: Metrics
    health: Health
    gpustack: Gpustack | None  # where GPUSTACK_URL says that there is one
    authenticator: Authenticator[UserEntry]
    sessions: Sessions
    sender: Sender
    mails: Mails
    second_factors: SecondFactors
    login: Login
    passkeys: Passkeys
    passkey_login: PasskeyLogin
    reauthenticator: Reauthenticator
    accounts: Accounts
    emails: Emails
    recovery: Recovery
    holdings: Holdings
    administration: Administration
    preferences: Preferences
    lists: Lists
    user_list: UserList
    session_directory: SessionDirectory
    maintenance: Maintenance
    refresh_cookie: RefreshCookie
    sign_ins: SignIns
    federated_login: FederatedLogin
    identities: Identities
    clients: Clients
    introspection: Introspection
    revocation: Revocation


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
    return Edge(app, Browsers(parts.settings), without_body, with_body)


def assemble(settings: Settings) -> Parts:  # noqa: PLR0915 - one line a part
    """Make the parts; nothing is opened yet."""
    metrics = Metrics()
    db = Database(settings.database_url, settings.database_pool_size)
    entries = Entries(db, settings.valkey_url, strict=settings.strict_revocation)
    ring = Ring(db, settings)
    access = AccessTokens(ring, settings)
    rights = RoleTable(db)
    last_seen = LastSeen(db)
    authenticator = Authenticator(entries, access, decode, rights, last_seen)
    entries.register(SESSION_KIND, lambda ids: session_queries.truths(db, ids))
    entries.register(USER_KIND, lambda ids: identity_queries.truths(db, ids))
    entries.register(RIGHTS_KEY.partition(":")[0], lambda ids: identity_rights.truths(db, ids))
    entries.register(CLIENT_KIND, lambda ids: client_queries.truths(db, ids))
    people = People(entries, rights)
    refresh_tokens = RefreshTokens(settings.secret_key, settings.secret_key_previous)
    sessions = Sessions(db, entries, access, refresh_tokens, settings)
    workers = int(os.environ.get("GATEHOUSE_WORKERS", "1"))
    passwords = Passwords(settings, workers=workers)
    attempts = Attempts(entries.links)
    windows = Windows(entries.links)
    violations = Violations(db, entries.links, metrics)
    measure(metrics, db, entries, passwords)
    one_time_tokens = OneTimeTokens(settings.secret_key, settings.secret_key_previous)
    errands: dict[str, Handler] = {}
    sender = Sender(db, settings, partial(mailed_link, settings, one_time_tokens), errands, metrics)
    mails = Mails(sender.wake, available=sender.available)
    mailings = Quota("forgot", windows, violations, settings.rate_limit_forgot)
    welcomes = Quota("welcome", windows, violations, settings.rate_limit_forgot)
    askings = Quota("forgot_ip", windows, violations, settings.rate_limit_forgot_ip)
    registrations = Quota("register", windows, violations, settings.rate_limit_register)
    judgements = Quota("password_strength", windows, violations, settings.rate_limit_register and JUDGEMENTS)
    tries = Tries(db, attempts, violations, settings)
    outbound = way_out(settings)
    gpustack = gpustack_of(settings, outbound, db, entries, sessions, passwords, mails, metrics, workers)
    upstream = gpustack.upstream if gpustack else None
    confirmation = Confirmation(db, passwords, tries, upstream)
    second_factors = SecondFactors(db, entries, sessions, Totp(settings), confirmation, tries, mails)
    login = Login(db, entries, sessions, people, passwords, second_factors, tries, metrics, mails, upstream, settings)
    party = RelyingParty(settings)
    ways_in = WaysIn(settings)
    passkeys = Passkeys(db, party, ways_in, mails)
    passkey_login = PasskeyLogin(db, party, login, tries, metrics)
    sign_ins = SignIns(db, sign_in_providers(settings, outbound), settings)
    federated_login = FederatedLogin(db, sign_ins, login, tries, metrics, mails, welcomes, settings)
    identities = Identities(db, sign_ins, ways_in, mails)
    emails = Emails(db, entries, mails, mailings, one_time_tokens)
    accounts = Accounts(
        db,
        entries,
        people,
        sessions,
        passwords,
        confirmation,
        registrations,
        judgements,
        welcomes,
        mails,
        emails,
        settings,
    )
    recovery = Recovery(db, entries, sessions, passwords, mails, mailings, askings, one_time_tokens)
    errands[FORGOT] = recovery.remind
    reauthenticator = Reauthenticator(db, entries, sessions, people, confirmation, tries, second_factors, passkey_login)
    administration = Administration(db, entries, people, sessions, passwords, mails, recovery)
    preferences = Preferences(db)
    cursors = Cursors(settings.secret_key, settings.secret_key_previous)
    holdings = Holdings(
        db,
        people,
        cursors,
        {
            "second_factor": second_factors.held_of,
            "passkeys": passkeys.all_of,
            "identities": identities.all_of,
            "sessions": sessions.kept_of,
            "preferences": preferences.all_of,
        },
    )
    lists = Lists(settings.database_url, cursors)
    maintenance = Maintenance(db, settings)
    health = Health(db, entries, settings, gpustack.instance if gpustack else None)
    return Parts(
        settings,
        db,
        entries,
        ring,
        passwords,
        attempts,
        last_seen,
        metrics,
        health,
        gpustack,
        authenticator,
        sessions,
        sender,
        mails,
        second_factors,
        login,
        passkeys,
        passkey_login,
        reauthenticator,
        accounts,
        emails,
        recovery,
        holdings,
        administration,
        preferences,
        lists,
        UserList(lists, people),
        SessionDirectory(lists, sessions),
        maintenance,
        RefreshCookie(settings),
        sign_ins,
        federated_login,
        identities,
        Clients(db, entries),
        Introspection(authenticator.caller, authenticator.subject, sessions, settings.public_url),
        Revocation(sessions, access),
    )


def sign_in_providers(settings: Settings, outbound: Outbound) -> Mapping[str, IdentityProvider]:
    """Imported only where there are some."""
    found: Mapping[str, IdentityProvider] = {}
    if settings.oidc_providers:
        found = importlib.import_module("app.federation.configured").providers(settings, outbound)
    return found


def way_out(settings: Settings) -> Outbound:
    """To whomever the settings name, wherever he is; and to the Internet."""
    named = [*providers.named_urls(settings.oidc_providers), settings.gpustack_url]
    return Outbound(filter(None, named), settings.outbound_ca_file)


def gpustack_of(
    settings: Settings,
    outbound: Outbound,
    db: Database,
    entries: Entries,
    sessions: Sessions,
    passwords: Passwords,
    mails: Mails,
    metrics: Metrics,
    workers: int,
) -> Gpustack | None:
    url = settings.gpustack_url
    if not url:
        return None
    instance = Instance(url, outbound, metrics, workers=workers)
    directory = Directory(instance, settings.gpustack_api_key)
    shadows = Shadows(db, entries, sessions, mails, url)
    return Gpustack(
        instance,
        Upstream(db, instance, shadows, passwords, metrics, settings.gpustack_offline_hours),
        UpstreamSync(db, directory, shadows, metrics, settings.gpustack_sync_minutes),
    )


def measure(metrics: Metrics, db: Database, entries: Entries, passwords: Passwords) -> None:
    """The gauges: how full the pool and the queues are."""
    metrics.gauge("auth_database_pool_connections", "Connections that are open.", lambda: db.gauge()[0])
    metrics.gauge("auth_database_pool_in_use", "Connections that are in use.", lambda: db.gauge()[1])
    metrics.gauge("auth_hashing_threads", "Threads that hash passwords.", lambda: passwords.threads.count)
    metrics.gauge("auth_hashing_busy", "Threads that are hashing.", lambda: passwords.threads.busy)
    metrics.gauge("auth_hashing_queued", "Passwords that wait to be hashed.", lambda: passwords.threads.queued)
    metrics.gauge("auth_cache_outbox_pending", "Entries whose change was pending.", lambda: len(entries.outbox.pending))


@asynccontextmanager
async def running(parts: Parts) -> AsyncGenerator[None]:
    """Open the parts in order, close them in reverse; no store has to be there for a process to start."""
    devices.load()
    await parts.db.start()
    await parts.entries.start()
    await parts.ring.start()
    await parts.lists.start()
    parts.last_seen.start()
    parts.maintenance.start()
    parts.sender.start()
    if parts.gpustack is not None:
        parts.gpustack.start()
    await parts.health.ready()  # from now on `?degraded=ok` may stand in for it
    sampler = asyncio.create_task(_sample(parts))
    try:
        yield
    finally:
        await end(sampler)
        if parts.gpustack is not None:
            await parts.gpustack.stop()
        await parts.sender.stop()
        await parts.maintenance.stop()
        await parts.last_seen.stop()
        await parts.lists.stop()
        await parts.ring.stop()
        await parts.sessions.stop()
        await parts.passwords.stop()
        await parts.entries.stop()
        await parts.db.stop()


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
            UpstreamController,
            SessionsController,
            MaintenanceController,
            HealthController,
            ClientsController,
            logout_handler(authenticate),
            verify_handler(authenticate),
        ],
    )
    app = Litestar(
        route_handlers=[
            api,
            WellKnownController,
            metrics_handler(parts.metrics, settings),
            *documentation_handlers(settings),
            *route_handlers,
        ],
        dependencies={
            "accounts": constant(parts.accounts),
            "administration": constant(parts.administration),
            "caller": Provide(provide_caller),
            "client": Provide(provide_client),
            "clients": constant(parts.clients),
            "emails": constant(parts.emails),
            "federated_login": constant(parts.federated_login),
            "flow_cookie": constant(FlowCookie(settings)),
            "health": constant(parts.health),
            "holdings": constant(parts.holdings),
            "identities": constant(parts.identities),
            "introspection": constant(parts.introspection),
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
            "session_directory": constant(parts.session_directory),
            "sessions": constant(parts.sessions),
            "sign_ins": constant(parts.sign_ins),
            "upstream_sync": constant(parts.gpustack.sync if parts.gpustack else None),
            "user_list": constant(parts.user_list),
        },
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
    app.state.started_at = time.monotonic()
    return app


def constant(part: object) -> Provide:
    """A dependency that is the same for every request."""
    return Provide(lambda: part, sync_to_thread=False)

"""The parts of a process, and how they are put together; no global state, so a test makes as many as it likes."""

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from app import providers
from app.audit.rollup import RollUp
from app.cache.entries import Entries
from app.clients import queries as client_queries
from app.clients.introspection import Introspection
from app.clients.revocation import Revocation
from app.clients.service import CLIENT_KIND, Clients
from app.database import Database
from app.factors.relying_party import RelyingParty
from app.factors.totp import Totp
from app.federation.sign_ins import IdentityProvider, SignIns
from app.gpustack.directory import Directory
from app.gpustack.instance import Instance
from app.health.service import Health
from app.identity import queries as identity_queries
from app.identity import rights as identity_rights
from app.identity.accounts import Accounts
from app.identity.administration import Administration
from app.identity.assistance import Assistance
from app.identity.confirmation import Confirmation
from app.identity.emails import Emails
from app.identity.entry import People, decode
from app.identity.exports import Exports
from app.identity.federated_login import FederatedLogin
from app.identity.holdings import Holdings
from app.identity.identities import Identities
from app.identity.imports import Imports
from app.identity.listing import UserList
from app.identity.login import Login
from app.identity.mails import Mails, mailed_link
from app.identity.passkey_login import PasskeyLogin
from app.identity.passkeys import Passkeys
from app.identity.passwords import Passwords
from app.identity.reauthentication import Reauthenticator
from app.identity.recovery import FORGOT, Recovery
from app.identity.rights import RoleTable
from app.identity.roles import Roles
from app.identity.second_factors import SecondFactors
from app.identity.shadows import Shadows
from app.identity.structs import CachedUser
from app.identity.tries import Tries
from app.identity.upstream import Upstream
from app.identity.upstream_sync import UpstreamSync
from app.identity.ways_in import WaysIn
from app.keys.cursors import Cursors
from app.keys.ring import Ring
from app.limits.attempts import Attempts
from app.limits.quota import Quota
from app.limits.violations import Violations
from app.limits.windows import Windows
from app.listing import Lists
from app.mail.sender import Handler, Sender
from app.maintenance.rotation import Rotation
from app.maintenance.service import Maintenance
from app.metrics import Metrics
from app.outbound import Outbound
from app.preferences.service import Preferences
from app.proofs.tokens import OneTimeTokens
from app.sessions import queries as session_queries
from app.sessions.authenticator import Authenticator
from app.sessions.census import Census
from app.sessions.cookie import RefreshCookie
from app.sessions.ending import Ending
from app.sessions.lastseen import LastSeen
from app.sessions.listing import SessionDirectory
from app.sessions.service import Sessions
from app.sessions.structs import RIGHTS_KEY, SESSION_KIND, USER_KIND
from app.sessions.tokens import AccessTokens, RefreshTokens
from app.setting_values import Rate
from app.settings import Settings
from app.traces import Traces
from app.trail.analytics import Analytics
from app.trail.service import Trail

RETURNS = Rate(1000, 600)  # of browsers of a network from sign-in providers: an office at nine, and no more rows
REPORTS = 2  # connections a process, beside its pool: who looks through the audit trail holds up no login
READING = {"enable_seqscan": "off"}  # by indexes, also of what was just filled and has no statistics yet
JUDGEMENTS = Rate(60, 3600)  # passwords of a network that are judged before it registers: 0.2 s each at worst


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
    traces: Traces
    health: Health
    gpustack: Gpustack | None  # where GPUSTACK_URL says that there is one
    authenticator: Authenticator[CachedUser]
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
    assistance: Assistance
    roles: Roles
    imports: Imports
    exports: Exports
    preferences: Preferences
    lists: Lists
    user_list: UserList
    census: Census
    session_directory: SessionDirectory
    ending: Ending
    maintenance: Maintenance
    rotation: Rotation
    reports: Database
    roll_up: RollUp
    trail: Trail
    analytics: Analytics
    refresh_cookie: RefreshCookie
    sign_ins: SignIns
    federated_login: FederatedLogin
    identities: Identities
    clients: Clients
    introspection: Introspection
    revocation: Revocation


def assemble(settings: Settings) -> Parts:  # noqa: PLR0915 - one line a part
    """Make the parts; nothing is opened yet."""
    metrics = Metrics()
    traces = traces_of(settings)
    db = Database.of(settings, settings.database_pool_size, watch=traces.statements)
    entries = Entries(db, settings.valkey_url, strict=settings.strict_revocation, shown=traces.link, batch=traces.batch)
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
    sessions = Sessions(db, entries, access, refresh_tokens, settings, traces.batch)
    workers = int(os.environ.get("GATEHOUSE_WORKERS", "1"))
    passwords = Passwords(settings, workers=workers)
    attempts = Attempts(entries.links)
    windows = Windows(entries.links)
    violations = Violations(db, entries.links, metrics)
    measure(metrics, db, entries, passwords, ring)
    one_time_tokens = OneTimeTokens(settings.secret_key, settings.secret_key_previous)
    errands: dict[str, Handler] = {}
    sender = Sender(db, settings, partial(mailed_link, settings, one_time_tokens), errands, metrics)
    mails = Mails(sender.wake, available=sender.available)
    mailings = Quota("forgot", windows, violations, settings.rate_limit_forgot)
    welcomes = Quota("welcome", windows, violations, settings.rate_limit_forgot)
    askings = Quota("forgot_ip", windows, violations, settings.rate_limit_forgot_ip)
    returns = Quota("sign_in", windows, violations, settings.rate_limit_login and RETURNS)
    registrations = Quota("register", windows, violations, settings.rate_limit_register)
    judgements = Quota("password_strength", windows, violations, settings.rate_limit_register and JUDGEMENTS)
    tries = Tries(db, attempts, violations, settings)
    outbound = way_out(settings, traces)
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
    federated_login = FederatedLogin(db, sign_ins, login, tries, metrics, mails, welcomes, returns, settings)
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
    recovery = Recovery(db, entries, sessions, passwords, ways_in, mails, mailings, askings, one_time_tokens)
    errands[FORGOT] = recovery.remind
    reauthenticator = Reauthenticator(db, entries, sessions, people, confirmation, tries, second_factors, passkey_login)
    administration = Administration(db, entries, people, sessions, passwords, mails)
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
    lists = Lists(settings, cursors, traces.statements)
    census = Census(db)
    maintenance = Maintenance(db, settings)
    reports = Database.of(settings, REPORTS, "gatehouse reports", READING, traces.statements)
    roll_up = RollUp(reports)
    health = Health(db, entries, settings, gpustack.instance if gpustack else None, metrics)
    return Parts(
        settings,
        db,
        entries,
        ring,
        passwords,
        attempts,
        last_seen,
        metrics,
        traces,
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
        Assistance(db, entries, sessions, mails, recovery, sign_ins),
        Roles(db, entries),
        Imports(db, entries, sessions, passwords, mails, administration),
        Exports(db),
        preferences,
        lists,
        UserList(lists, people),
        census,
        SessionDirectory(lists, sessions, census),
        Ending(db, entries, lists),
        maintenance,
        Rotation(db, settings, ring),
        reports,
        roll_up,
        Trail(db, reports, cursors),
        Analytics(reports, roll_up),
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


def traces_of(settings: Settings) -> Traces:
    """Its library costs 10 MB a process, and where nobody looks at traces it is not there."""
    if not settings.otel_exporter_otlp_endpoint:
        return Traces()
    made: Traces = importlib.import_module("app.tracing").traces(settings)
    return made


def way_out(settings: Settings, traces: Traces) -> Outbound:
    """To whomever the settings name, wherever he is; and to the Internet."""
    named = [*providers.named_urls(settings.oidc_providers), settings.gpustack_url]
    return traces.outbound(filter(None, named), settings.outbound_ca_file)


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


def measure(metrics: Metrics, db: Database, entries: Entries, passwords: Passwords, ring: Ring) -> None:
    """The gauges: whether the stores are there, how full the pool and the queues are, how old the key is."""
    metrics.gauge(
        "auth_database_away",
        "1: PostgreSQL does not answer.",
        lambda: entries.outbox.lost,
        "livemax",
    )
    metrics.gauge(
        "auth_database_unfit",
        "1: PostgreSQL holds a restored copy that nobody has dealt with, or an older schema: all is 503.",
        lambda: entries.outbox.unfit,
        "livemax",
    )
    metrics.gauge(
        "auth_valkey_away", "1: Valkey is away, or not trusted.", lambda: entries.links.current is None, "livemax"
    )
    metrics.gauge("auth_signing_key_age_seconds", "How long the key signs.", lambda: ring.age_seconds, "livemax")
    metrics.gauge("auth_database_pool_limit", "Connections there may be.", lambda: db.size)
    metrics.gauge("auth_database_pool_connections", "Connections that are open.", lambda: db.gauge()[0])
    metrics.gauge("auth_database_pool_in_use", "Connections that are in use.", lambda: db.gauge()[1])
    metrics.gauge("auth_hashing_threads", "Threads that hash passwords.", lambda: passwords.threads.count)
    metrics.gauge("auth_hashing_busy", "Threads that are hashing.", lambda: passwords.threads.busy)
    metrics.gauge("auth_hashing_queued", "Passwords that wait to be hashed.", lambda: passwords.threads.queued)
    metrics.gauge("auth_cache_outbox_pending", "Entries whose change was pending.", lambda: len(entries.outbox.pending))

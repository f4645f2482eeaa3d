"""The examples of the document: one person, her session, and what she sends. Each of them is sent by a test."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from app.audit.activity import ActivityPage
from app.audit.events import Event
from app.clients.structs import ActiveAccessToken, ActiveRefreshToken, Inactive, TokenForm
from app.documentation.samples import (
    ACCESS,
    ADA,
    AUDITED,
    BCRYPT,
    CHALLENGE,
    CHECKS,
    CLIENT_DATA,
    CLIENT_ID,
    CLIENT_SECRET,
    CODE,
    CREDENTIAL,
    CURSOR,
    EDITOR,
    EVENT,
    IDENTITY,
    MORNING,
    NEW_PHRASE,
    ONE_TIME,
    PAPER,
    PASSKEY,
    PENDING,
    PHRASE,
    REFRESH,
    SESSION,
    SESSION_ID,
    SIGNED_IN,
    TOKENS,
    VERIFIER,
)
from app.federation.structs import ProviderItem, ProviderList
from app.health.structs import HealthReport, Status
from app.identity.controllers import PasswordGrant
from app.identity.holdings import Export, HeldFactor, UserCredentials
from app.identity.identities import Identity, IdentityCode, IdentityList
from app.identity.import_lines import ExportLine, ImportLine, ReportLine
from app.identity.passkeys import (
    AssertionResponse,
    AttestationResponse,
    Passkey,
    PasskeyAssertion,
    PasskeyList,
    PasskeyLoginOptions,
    PasskeyRegistration,
    PasskeyRenaming,
)
from app.identity.role_structs import HeldRoles, NewRole, Permission, PermissionList, Role, RoleChange, RoleList
from app.identity.structs import (
    AccountDeletion,
    Credentials,
    Exchange,
    Forgotten,
    MailedToken,
    NewUser,
    PasswordChange,
    PasswordConfirmation,
    PasswordReset,
    ProfileChange,
    Reauthentication,
    RecoveryCodes,
    Registration,
    SecondStep,
    TokenResponse,
    TotpConfirmation,
    TotpEnrolment,
    TotpRemoval,
    User,
    UserChange,
    UserPage,
)
from app.identity.upstream_sync import SyncReport
from app.maintenance.service import CleanupReport, Deleted
from app.sessions.admin_controllers import Revoked, RevokeSessions
from app.sessions.census import Analytics
from app.sessions.ending import Ended
from app.sessions.filters import SessionFilter
from app.sessions.listing import SessionPage
from app.sessions.structs import LogoutRequest, RefreshRequest, SessionList
from app.trail.structs import AnalyticsReport, AuditEvent, AuditPage, Point

BY_TYPE: Mapping[object, Mapping[str, Struct]] = {
    CleanupReport: {
        "report": CleanupReport(
            deleted=Deleted(
                sessions=412,
                audit_events=0,
                audit_partitions=1,
                signing_keys=0,
                one_time_tokens=37,
                sign_ins=9,
                factors=4,
            ),
            duration_ms=83,
        )
    },
    SyncReport: {
        "report": SyncReport(listed=214, created=3, updated=1, deactivated=2, reactivated=0, skipped=0, duration_ms=640)
    },
    ProviderList: {
        "providers": ProviderList(
            items=[
                ProviderItem(name="google", kind="oidc", label="Google"),
                ProviderItem(name="gpustack", kind="gpustack", label="GPUStack"),
            ]
        )
    },
    Exchange: {"code": Exchange(code=CODE, code_verifier=VERIFIER, device_name="Ada's laptop")},
    IdentityCode: {"code": IdentityCode(code=CODE, code_verifier=VERIFIER)},
    Identity: {"google": IDENTITY},
    IdentityList: {"identities": IdentityList(items=[IDENTITY])},
    UserCredentials: {
        "several": UserCredentials(
            has_password=True,
            second_factor=HeldFactor(totp_since=MORNING, recovery_codes=10),
            passkeys=[PASSKEY],
            identities=[IDENTITY],
        )
    },
    AccountDeletion: {"password": AccountDeletion(password=PHRASE)},
    ActivityPage: {"page": ActivityPage(items=[EVENT], next_cursor="AAAAAAAAB_8")},
    AuditEvent: {"event": AUDITED},
    AuditPage: {"page": AuditPage(items=[AUDITED], next_cursor=CURSOR)},
    AnalyticsReport: {
        "hour": AnalyticsReport(
            since=MORNING.replace(minute=0),
            until=MORNING.replace(hour=10, minute=0),
            bucket="hour",
            tz="UTC",
            as_of=MORNING,
            points=[
                Point(
                    begins=MORNING.replace(minute=0),
                    logins=212,
                    failures={"invalid_credentials": 9},
                    refreshes=1640,
                    registrations=3,
                    active_users=611,
                    active_sessions=702,
                )
            ],
        )
    },
    Export: {
        "ada": Export(
            exported_at=MORNING,
            user=ADA,
            pending_email=None,
            second_factor=HeldFactor(totp_since=MORNING, recovery_codes=10),
            passkeys=[PASSKEY],
            identities=[IDENTITY],
            sessions=[SESSION],
            preferences={"theme": "dark"},
            activity=[EVENT],
        )
    },
    ImportLine: {
        "hash": ImportLine(
            username="grace", email="grace@example.org", full_name="Grace Hopper", password_hash=BCRYPT, roles=[]
        ),
        "name": ImportLine(username="edsger"),
    },
    ReportLine: {
        "created": ReportLine(line=1, status="created", id=43),
        "error": ReportLine(line=2, status="error", code="email_taken", message="This e-mail address is taken."),
    },
    ExportLine: {
        "ada": ExportLine(
            username=ADA.username,
            email=ADA.email,
            full_name=ADA.full_name,
            is_admin=ADA.is_admin,
            is_active=ADA.is_active,
            roles=ADA.roles,
            must_change_password=ADA.must_change_password,
            provider=ADA.provider,
            id=ADA.id,
            email_verified=ADA.email_verified,
            mfa_enabled=ADA.mfa_enabled,
            created_at=ADA.created_at,
            updated_at=ADA.updated_at,
            last_login=ADA.last_login,
        )
    },
    Forgotten: {"email": Forgotten(email="ada@example.org")},
    MailedToken: {"token": MailedToken(token=ONE_TIME)},
    PasswordReset: {"reset": PasswordReset(token=ONE_TIME, new_password=NEW_PHRASE)},
    Credentials: {
        "username": Credentials(username="ada", password=PHRASE, device_name="Ada's laptop"),
        "email": Credentials(username="ada@example.org", password=PHRASE),
    },
    SecondStep: {
        "code": SecondStep(mfa_token=PENDING, code="492039"),
        "recovery_code": SecondStep(mfa_token=PENDING, recovery_code=PAPER[0]),
    },
    Reauthentication: {"password": Reauthentication(password=PHRASE), "code": Reauthentication(code="492039")},
    TotpEnrolment: {
        "secret": TotpEnrolment(
            secret="JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",  # noqa: S106 - an example
            otpauth_uri=(
                "otpauth://totp/auth.example.org:ada?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=auth.example.org"
            ),
            qr_svg='<svg xmlns="http://www.w3.org/2000/svg" width="180" height="180">…</svg>',
        )
    },
    TotpConfirmation: {"code": TotpConfirmation(code="492039")},
    TotpRemoval: {"code": TotpRemoval(password=PHRASE, code="492039")},
    PasswordConfirmation: {"password": PasswordConfirmation(password=PHRASE)},
    RecoveryCodes: {"codes": RecoveryCodes(PAPER)},
    PasskeyRegistration: {
        "passkey": PasskeyRegistration(
            id=CREDENTIAL,
            raw_id=CREDENTIAL,
            type="public-key",
            response=AttestationResponse(
                client_data_json=CLIENT_DATA, attestation_object="o2NmbXRkbm9uZQ", transports=["internal", "hybrid"]
            ),
            name=PASSKEY.name,
        )
    },
    PasskeyAssertion: {
        "passkey": PasskeyAssertion(
            id=CREDENTIAL,
            raw_id=CREDENTIAL,
            type="public-key",
            response=AssertionResponse(
                client_data_json=CLIENT_DATA,
                authenticator_data="SZYN5YgOjGh0NBcPZHZgW4_krrmihjLHmVzzuoMdl2MFAAAAAQ",
                signature="MEUCIQDk7ItDnfkyCvJY4Hn6",
                user_handle="AAAAAAAAACo",
            ),
        )
    },
    PasskeyLoginOptions: {"anybody": PasskeyLoginOptions(), "ada": PasskeyLoginOptions(username="ada")},
    PasskeyRenaming: {"name": PasskeyRenaming(name="Ada's tablet")},
    PasskeyList: {"list": PasskeyList([PASSKEY])},
    Passkey: {"passkey": PASSKEY},
    LogoutRequest: {"token": LogoutRequest(REFRESH)},
    NewUser: {
        "user": NewUser(username="grace", password=PHRASE, email="grace@example.org", full_name="Grace Hopper"),
        "admin": NewUser(username="edsger", password=PHRASE, is_admin=True, must_change_password=False),
    },
    PasswordChange: {"password": PasswordChange(current_password=PHRASE, new_password=NEW_PHRASE)},
    PasswordGrant: {"password": PasswordGrant(grant_type="password", username="ada", password=PHRASE)},
    ProfileChange: {"name": ProfileChange(full_name="Ada King"), "no_name": ProfileChange(full_name=None)},
    RefreshRequest: {"token": RefreshRequest(REFRESH)},
    Registration: {
        "full": Registration(username="ada", password=PHRASE, email="ada@example.org", full_name="Ada Lovelace"),
        "short": Registration(username="ada", password=PHRASE),
    },
    HealthReport: {"ok": HealthReport(status=Status.OK)},
    HeldRoles: {"editor": HeldRoles(roles=["editor"])},
    NewRole: {"editor": NewRole(name="editor", description="Writes articles.", permissions=["articles:write"])},
    PermissionList: {
        "permissions": PermissionList(
            items=[
                Permission(name="articles:write", description=""),
                Permission(name="users:read", description="See accounts."),
            ]
        )
    },
    Role: {"editor": EDITOR},
    RoleChange: {
        "permissions": RoleChange(permissions=["articles:read", "articles:write"]),
        "one_more": RoleChange(add_permissions=["articles:publish"]),
        "name": RoleChange(name="author", description="Writes articles, and has them published."),
    },
    RoleList: {
        "roles": RoleList(
            items=[
                Role(
                    name="admin",
                    description="May do everything.",
                    permissions=["articles:write", "users:read"],
                    built_in=True,
                ),
                EDITOR,
            ]
        )
    },
    Revoked: {"two": Revoked(2)},
    RevokeSessions: {
        "network": RevokeSessions(filter=SessionFilter(ip="203.0.113.0/24", factor="pwd"), dry_run=True),
        "device": RevokeSessions(filter=SessionFilter(device="iPhone", created_before=MORNING)),
    },
    Ended: {"ended": Ended(matched=31, revoked=31)},
    SessionList: {"sessions": SessionList([SESSION])},
    SessionPage: {
        "page": SessionPage(
            items=[msgspec.structs.replace(SESSION, current=False)],
            total=1815,
            total_exact=True,
            page=1,
            page_size=1,
            next_cursor=CURSOR,
            analytics=Analytics(
                active_sessions=1815,
                active_users=1792,
                created_last_24h=210,
                by_device={"Bot": 12, "Tablet": 93, "Mobile": 804, "Desktop": 897, "Other": 9},
                by_day={"2026-01-04": 187, "2026-01-05": 94},
                as_of=MORNING,
            ),
        )
    },
    TokenResponse: {"tokens": TOKENS},
    TokenForm: {
        "by_basic": TokenForm(token=ACCESS),
        "in_the_form": TokenForm(token=REFRESH, client_id=CLIENT_ID, client_secret=CLIENT_SECRET),
    },
    User: {"ada": ADA},
    UserChange: {
        "profile": UserChange(email="ada.king@example.org", full_name="Ada King"),
        "deactivate": UserChange(is_active=False),
        "password": UserChange(password=PHRASE, must_change_password=True),
    },
    UserPage: {
        "page": UserPage(items=[ADA], total=1815, total_exact=True, page=1, page_size=1, next_cursor=CURSOR),
    },
}

PREFERENCES = {
    "theme": "dark",
    "language": "en",
    "default_model": "llama-3.3-70b",
    "conversation_history": {"enabled": True, "retention_days": 90},
    "editor.font_size": 14,
}
VALUE = {"text": "dark"}

# What no Struct describes, by the operation's id.
BODIES: Mapping[str, Mapping[str, Any]] = {
    "reauthenticate": {"password": {"password": PHRASE}, "code": {"code": "492039"}},
    "merge_preferences": {"theme": {"theme": "dark"}, "own": {"editor.font_size": 14, "sidebar": {"open": True}}},
    "replace_preferences": {"all": PREFERENCES, "none": {}},
    "set_preference": VALUE,
}
# … and by the status.
ANSWERS: Mapping[tuple[str, int], Mapping[str, Any]] = {
    ("authorization_server_metadata", 200): {
        "metadata": {
            "issuer": "https://auth.example.org",
            "token_endpoint": "https://auth.example.org/api/auth/v2/login",
            "jwks_uri": "https://auth.example.org/.well-known/jwks.json",
            "response_types_supported": [],
            "grant_types_supported": ["password"],
            "token_endpoint_auth_methods_supported": ["none"],
            "introspection_endpoint": "https://auth.example.org/api/auth/v2/introspect",
            "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "revocation_endpoint": "https://auth.example.org/api/auth/v2/revoke",
            "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        }
    },
    ("get_preference", 200): VALUE,
    ("get_preferences", 200): {"preferences": PREFERENCES},
    ("health", 200): {
        "everybody": {"status": "ok"},
        "with_permission": msgspec.to_builtins(
            HealthReport(status=Status.OK, version="1.4.0", uptime_seconds=86_400, checks=CHECKS)
        ),
    },
    ("health", 503): {"down": {"status": "down"}},
    ("introspect", 200): {
        "access_token": msgspec.to_builtins(
            ActiveAccessToken(
                active=True,
                token_type="bearer",  # noqa: S106 - RFC 6750's name of a kind of token
                iss="https://auth.example.org",
                aud="https://auth.example.org",
                sub=str(ADA.id),
                username=ADA.username,
                sid=SESSION_ID,
                jti=f"{SESSION_ID}.3",
                iat=SIGNED_IN + 3600,
                nbf=SIGNED_IN + 3600,
                exp=SIGNED_IN + 4500,
                auth_time=SIGNED_IN,
                amr=["pwd"],
                roles=ADA.roles,
                permissions=ADA.permissions,
            )
        ),
        "refresh_token": msgspec.to_builtins(
            ActiveRefreshToken(
                active=True,
                token_type="N_A",  # noqa: S106 - RFC 8693's name of what is no access token
                iss="https://auth.example.org",
                aud="https://auth.example.org",
                sub=str(ADA.id),
                username=ADA.username,
                sid=SESSION_ID,
                exp=SIGNED_IN + 2_592_000,
                auth_time=SIGNED_IN,
                amr=["pwd"],
            )
        ),
        "inactive": msgspec.to_builtins(Inactive(active=False)),
    },
    ("jwks", 200): {
        "keys": {
            "keys": [
                {
                    "kty": "EC",
                    "crv": "P-256",
                    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
                    "kid": "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U",
                    "alg": "ES256",
                    "use": "sig",
                }
            ]
        }
    },
    ("passkey_options", 200): {
        "options": {
            "rp": {"id": "auth.example.org", "name": "auth.example.org"},
            "user": {"id": "AAAAAAAAACo", "name": "ada", "displayName": "Ada Lovelace"},
            "challenge": CHALLENGE,
            "pubKeyCredParams": [{"type": "public-key", "alg": -7}],
            "timeout": 300_000,
            "excludeCredentials": [],
            "authenticatorSelection": {
                "residentKey": "required",
                "requireResidentKey": True,
                "userVerification": "required",
            },
            "attestation": "none",
        }
    },
    ("passkey_login_options", 200): {
        "options": {
            "challenge": CHALLENGE,
            "timeout": 300_000,
            "rpId": "auth.example.org",
            "allowCredentials": [],
            "userVerification": "required",
        }
    },
    ("merge_preferences", 200): {"preferences": PREFERENCES},
    ("metrics", 200): {
        "metrics": "# HELP auth_login_success_total Logins that opened a session.\n"
        "# TYPE auth_login_success_total counter\n"
        "auth_login_success_total 1815.0\n"
    },
    ("replace_preferences", 200): {"preferences": PREFERENCES},
    ("set_preference", 200): VALUE,
}

PARAMETERS: Mapping[str, Any] = {
    "active": False,
    "bucket": "day",
    "code": "SplxlOBeZQQYbYS6WxSbIA",
    "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    "error": "access_denied",
    "event": Event.LOGIN_FAILED,
    "identity_id": str(IDENTITY.id),
    "iss": "https://accounts.google.com",
    "prompt": "login",
    "provider": "google",
    "redirect_to": "https://app.example.org/signed-in",
    "state": "af0ifjsldkjaf0ifjsldkjaf0ifjsldk",
    "cursor": CURSOR,
    "degraded": "ok",
    "created_after": "2026-01-01T00:00:00Z",
    "created_before": "2026-01-05T09:30:00Z",
    "device": "firefox",
    "except_current": True,
    "factor": "mfa",
    "ip": "203.0.113.0/24",
    "is_active": True,
    "is_admin": False,
    "key": "theme",
    "name": EDITOR.name,
    "page": 2,
    "passkey_id": str(PASSKEY.id),
    "page_size": 100,
    "role": "admin",
    "search": "ada",
    "since": "2026-01-05T00:00:00Z",
    "session_id": str(SESSION_ID),
    "sort": "-created_at",
    "tz": "Europe/Berlin",
    "until": "2026-01-06T00:00:00Z",
    "user_id": ADA.id,
}


def of_body(operation_id: str, kind: object) -> Mapping[str, Any]:
    """What may be sent: values alone, for what is not named has its default."""
    if operation_id in BODIES:
        return BODIES[operation_id]
    return {name: _sent(value) for name, value in BY_TYPE.get(kind, {}).items()}


def of_answer(operation_id: str, status: int, kind: object) -> Mapping[str, Any]:
    if (operation_id, status) in ANSWERS:
        return ANSWERS[operation_id, status]
    return {name: msgspec.to_builtins(value) for name, value in BY_TYPE.get(kind, {}).items()}


def _sent(value: Struct) -> dict[str, Any]:
    defaults = {field.encode_name: field.default for field in msgspec.structs.fields(value)}
    return {name: item for name, item in msgspec.to_builtins(value).items() if item != defaults[name]}

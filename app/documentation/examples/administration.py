"""Looking after others: users, roles, files of users, the trail."""

from collections.abc import Mapping

from msgspec import Struct

from app.documentation.samples import ADA, AUDITED, BCRYPT, CURSOR, EDITOR, IDENTITY, MORNING, PASSKEY, PHRASE
from app.identity.holdings import HeldFactor, UserCredentials
from app.identity.import_lines import ExportLine, ImportLine, ReportLine
from app.identity.role_structs import HeldRoles, NewRole, Permission, PermissionList, Role, RoleChange, RoleList
from app.identity.structs import NewUser, UserChange, UserPage
from app.trail.structs import AnalyticsReport, AuditEvent, AuditPage, Point

BY_TYPE: Mapping[object, Mapping[str, Struct]] = {
    NewUser: {
        "user": NewUser(username="grace", password=PHRASE, email="grace@example.org", full_name="Grace Hopper"),
        "admin": NewUser(username="edsger", password=PHRASE, is_admin=True, must_change_password=False),
    },
    UserChange: {
        "profile": UserChange(email="ada.king@example.org", full_name="Ada King"),
        "deactivate": UserChange(is_active=False),
        "password": UserChange(password=PHRASE, must_change_password=True),
    },
    UserPage: {
        "page": UserPage(items=[ADA], total=1815, total_exact=True, page=1, page_size=1, next_cursor=CURSOR),
    },
    UserCredentials: {
        "several": UserCredentials(
            has_password=True,
            second_factor=HeldFactor(totp_since=MORNING, recovery_codes=10),
            passkeys=[PASSKEY],
            identities=[IDENTITY],
        )
    },
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
}

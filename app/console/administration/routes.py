"""Administration as a router; the only place where its pages are listed."""

from litestar import Router
from litestar.di import Provide

from app.console.administration.audit import AuditPages
from app.console.administration.keys import KeysPages
from app.console.administration.overview import OverviewPage
from app.console.administration.query import provide_query, provide_zone
from app.console.administration.roles import RolesPages
from app.console.administration.sessions import SessionsPages
from app.console.administration.system import SystemPages
from app.console.administration.user import DangerPages, UserPages, provide_file, provide_user
from app.console.administration.users import UsersPages


def administration_router() -> Router:
    return Router(
        "/admin",
        route_handlers=[
            OverviewPage,
            UsersPages,
            UserPages,
            DangerPages,
            SessionsPages,
            RolesPages,
            AuditPages,
            KeysPages,
            SystemPages,
        ],
        dependencies={
            "asks": Provide(provide_query),
            "zone": Provide(provide_zone, sync_to_thread=False),
            "user": Provide(provide_user),
            "file": Provide(provide_file, sync_to_thread=False),
        },
    )

"""One user: what there is to know of him, and what can be done."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.status_codes import HTTP_200_OK

from app.audit.activity import ActivityItem
from app.console.administration.audit import details
from app.console.administration.query import known_id
from app.console.administration.users import USERS, boxes, known_roles, ticked
from app.console.forms import Form
from app.console.languages import mark
from app.console.own import one_of
from app.console.visit import Visit
from app.errors import AppError, Forbidden, ValidationFailed
from app.federation.sign_ins import SignIns
from app.identity.administration import Administration
from app.identity.assistance import Assistance
from app.identity.holdings import Holdings
from app.identity.roles import Actor, Roles
from app.identity.structs import User, UserChange
from app.problems import convert
from app.sessions.caller import Caller, requires
from app.sessions.listing import SessionDirectory
from app.sessions.service import Sessions
from app.sessions.structs import Session
from app.trail.service import Trail
from app.trail.structs import AuditAsked, AuditFilter

READ = [requires("users:read")]
WRITE = [requires("users:read"), requires("users:write")]
ROLES = [requires("users:read")]  # and either users:write or roles:write
REVOKE = [requires("users:read"), requires("sessions:revoke")]
LATEST = 10  # sessions and events of the page; their own pages have the rest


class UserFile:
    """Dependency `file`: everything of his page, as far as the visitor may see it."""

    def __init__(
        self, holdings: Holdings, session_directory: SessionDirectory, trail: Trail, roles: Roles, sign_ins: SignIns
    ) -> None:
        self._holdings = holdings
        self._sessions = session_directory
        self._trail = trail
        self._roles = roles
        self._sign_ins = sign_ins

    async def page(
        self, visit: Visit, caller: Actor, user: User, refused: AppError | None = None, form: Form | None = None
    ) -> Response[bytes]:
        sessions: list[Session] = []
        events: list[ActivityItem] = []
        if visit.may("sessions:read"):
            sessions = (await self._sessions.live_of(user.id, caller.session_id)).items
        if visit.may("audit:read"):
            asked = AuditFilter(user_id=user.id, event=None, ip=None, since=None, until=None)
            events = [*(await self._trail.page(asked, AuditAsked(cursor=None, page_size=LATEST))).items]
        known: dict[str, Any] = {
            "user": user,
            "himself": user.id == caller.user_id,
            "held": await self._holdings.credentials(user.id),
            "label": self._sign_ins.label,
            "sessions": sessions[:LATEST],
            "session_number": len(sessions),
            "events": events,
            "details": details,
            "roles": boxes(await known_roles(visit, self._roles), user.roles if form is None else _typed(form, user)),
        }
        if refused is not None:
            return visit.again("admin/user.html", refused, form or {}, **known)
        return visit.page("admin/user.html", **known)


def _typed(form: Form, user: User) -> list[str]:
    """The roles as they were ticked, if it was their form."""
    return ticked(form, "role") if "role_more" in form else user.roles


def provide_file(
    holdings: NamedDependency[Holdings],
    session_directory: NamedDependency[SessionDirectory],
    trail: NamedDependency[Trail],
    roles: NamedDependency[Roles],
    sign_ins: NamedDependency[SignIns],
) -> UserFile:
    return UserFile(holdings, session_directory, trail, roles, sign_ins)


async def provide_user(user_id: FromPath[int], administration: NamedDependency[Administration]) -> User:
    """Dependency `user`, whom the address names; NotFound where there is none."""
    return await administration.read_user(known_id(user_id))


class UserPages(Controller):
    path = "/users/{user_id:int}"

    @get(guards=READ)
    async def show(
        self,
        visit: NamedDependency[Visit],
        user: NamedDependency[User],
        caller: Caller,
        file: NamedDependency[UserFile],
    ) -> Response[bytes]:
        return await file.page(visit, caller, user)

    @post(guards=WRITE, status_code=HTTP_200_OK)
    async def change(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        user: NamedDependency[User],
        caller: Caller,
        administration: NamedDependency[Administration],
        file: NamedDependency[UserFile],
    ) -> Response[bytes]:
        """One form of several: it names what it is about."""
        try:
            asked, told = _asked(form, himself=user.id == caller.user_id)
            await administration.change_user(caller, user.id, asked, visit.client)
        except AppError as refused:
            return await file.page(visit, caller, user, refused, form)
        return visit.go(f"{USERS}/{user.id}", told)

    @post("/roles", guards=ROLES, status_code=HTTP_200_OK)
    async def set_roles(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        user: NamedDependency[User],
        caller: Caller,
        administration: NamedDependency[Administration],
        file: NamedDependency[UserFile],
    ) -> Response[bytes]:
        """For who may change accounts, and for who may hand out roles, as in the API."""
        if not (visit.may("users:write") or visit.may("roles:write")):
            raise Forbidden(mark("This needs the permission users:write or roles:write."))
        try:
            asked = convert({"roles": ticked(form, "role")}, UserChange)
            await administration.change_user(caller, user.id, asked, visit.client)
        except AppError as refused:
            return await file.page(visit, caller, user, refused, form)
        return visit.go(f"{USERS}/{user.id}", "user-roles-saved")

    @post("/reset-link", guards=WRITE, status_code=HTTP_200_OK)
    async def send_reset(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        user: NamedDependency[User],
        caller: Caller,
        assistance: NamedDependency[Assistance],
        file: NamedDependency[UserFile],
    ) -> Response[bytes]:
        try:
            await assistance.send_reset(caller, user.id, visit.client)
        except AppError as refused:
            return await file.page(visit, caller, user, refused, form)
        return visit.go(f"{USERS}/{user.id}", "user-reset-sent")

    @post("/end-sessions", guards=REVOKE, status_code=HTTP_200_OK)
    async def end_sessions(
        self,
        visit: NamedDependency[Visit],
        user: NamedDependency[User],
        caller: Caller,
        sessions: NamedDependency[Sessions],
    ) -> Response[bytes]:
        revoked = await sessions.revoke_all(user.id, caller.user_id, visit.client)
        return visit.go(f"{USERS}/{user.id}", "sessions-ended", revoked)


class DangerPages(Controller):
    """What cannot be undone: asked about on a page of its own, where it has to be meant."""

    path = "/users/{user_id:int}"
    guards = WRITE

    @get("/factors")
    async def ask_factors(
        self, visit: NamedDependency[Visit], user: NamedDependency[User], caller: Caller
    ) -> Response[bytes]:
        caller.require_fresh()
        return visit.page("admin/user_factors.html", user=user)

    @post("/factors", status_code=HTTP_200_OK)
    async def reset_factors(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        user: NamedDependency[User],
        caller: Caller,
        assistance: NamedDependency[Assistance],
    ) -> Response[bytes]:
        try:
            await assistance.reset_factors(caller, user.id, visit.client)
        except AppError as refused:
            return visit.again("admin/user_factors.html", refused, form, user=user)
        return visit.go(f"{USERS}/{user.id}", "user-factors-reset")

    @get("/identities/{identity_id:uuid}")
    async def ask_unlink(
        self,
        visit: NamedDependency[Visit],
        user: NamedDependency[User],
        identity_id: FromPath[UUID],
        caller: Caller,
        holdings: NamedDependency[Holdings],
        sign_ins: NamedDependency[SignIns],
    ) -> Response[bytes]:
        caller.require_fresh()
        identity = await _identity(holdings, sign_ins, user, identity_id)
        return visit.page("admin/user_identity.html", user=user, **identity)

    @post("/identities/{identity_id:uuid}", status_code=HTTP_200_OK)
    async def unlink(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        user: NamedDependency[User],
        identity_id: FromPath[UUID],
        caller: Caller,
        holdings: NamedDependency[Holdings],
        sign_ins: NamedDependency[SignIns],
        assistance: NamedDependency[Assistance],
    ) -> Response[bytes]:
        identity = await _identity(holdings, sign_ins, user, identity_id)
        try:
            await assistance.unlink_identity(caller, user.id, identity_id, visit.client)
        except AppError as refused:
            return visit.again("admin/user_identity.html", refused, form, user=user, **identity)
        return visit.go(f"{USERS}/{user.id}", "user-identity-unlinked")

    @get("/delete")
    async def ask_delete(
        self, visit: NamedDependency[Visit], user: NamedDependency[User], caller: Caller
    ) -> Response[bytes]:
        if user.id == caller.user_id:
            caller.require_fresh()
        return visit.page("admin/user_delete.html", user=user)

    @post("/delete", status_code=HTTP_200_OK)
    async def delete(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        user: NamedDependency[User],
        caller: Caller,
        administration: NamedDependency[Administration],
    ) -> Response[bytes]:
        try:
            if form.get("username", "").strip() != user.username:
                raise ValidationFailed(("username", mark("This is not the username of this account.")))
            await administration.delete_user(caller, user.id, visit.client)
        except AppError as refused:
            return visit.again("admin/user_delete.html", refused, form, user=user)
        return visit.go(USERS, "user-deleted")


async def _identity(holdings: Holdings, sign_ins: SignIns, user: User, identity_id: UUID) -> Mapping[str, Any]:
    """Raises NotFound: he has no such identity."""
    identity = one_of((await holdings.credentials(user.id)).identities, identity_id)
    return {"identity": identity, "provider": sign_ins.label(identity.provider)}


def _asked(form: Form, *, himself: bool) -> tuple[UserChange, str]:
    """What a form of the page asks for, and what is told after it.

    Raises:
        ValidationFailed: as it says.
    """
    about = form.get("about", "")
    if about == "profile":  # one's own address has to be proved: it changes elsewhere
        fields: dict[str, Any] = dict(form.as_sent("full_name") if himself else form.as_sent("full_name", "email"))
        return convert(fields, UserChange), "user-saved"
    if about in ("activate", "deactivate"):
        reason = form.as_sent("reason")
        return convert({"is_active": about == "activate", **reason}, UserChange), f"user-{about}d"
    if about in ("due", "not-due"):
        return convert({"must_change_password": about == "due"}, UserChange), f"user-password-{about}"
    if about == "password":
        return convert({"password": form.get("password", "")}, UserChange), "user-password-set"
    raise ValidationFailed(("about", mark("This is none of the forms of this page.")))

"""Everybody who has an account: found, and made."""

from collections.abc import Collection, Mapping
from typing import Any

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.status_codes import HTTP_200_OK
from msgspec import Struct

from app.console.administration.query import Query
from app.console.forms import Form
from app.console.languages import mark
from app.console.visit import ROOT, Visit
from app.errors import AppError, ValidationFailed
from app.identity.administration import Administration
from app.identity.listing import UserFilter, UserList, UserSort
from app.identity.roles import Roles
from app.identity.structs import NewUser
from app.mail.sender import Sender
from app.problems import convert
from app.sessions.caller import Caller, requires
from app.statements import MOST_ROWS

USERS = f"{ROOT}/admin/users"
NEW = f"{USERS}/new"
READ = [requires("users:read")]
WRITE = [requires("users:read"), requires("users:write")]  # who makes somebody is shown him
ROWS = 50  # of a page
MOST_BOXES = 60  # roles or permissions that are boxes to tick; a form has a hundred fields at most
TICKED = "on"


class Wanted(Struct, frozen=True):
    """In which order."""

    sort: UserSort = "-created_at"


class UsersPages(Controller):
    path = "/users"

    @get(guards=READ)
    async def show(
        self,
        visit: NamedDependency[Visit],
        asks: NamedDependency[Query],
        user_list: NamedDependency[UserList],
        roles: NamedDependency[Roles],
    ) -> Response[bytes]:
        known: dict[str, Any] = {"query": asks, "path": USERS, "most_numbered": MOST_ROWS}
        known["roles"] = [(name, name) for name in await known_roles(visit, roles)]
        try:
            words: dict[str, Any] = {"search": None, "role": None, **asks.given("search", "role")}
            words |= {name: asks.truth(name) for name in ("is_active", "is_admin")}
            sort = convert(asks.given("sort"), Wanted).sort
            page = await user_list.page(convert(words, UserFilter), sort, asks.asked(ROWS))
        except AppError as refused:
            return visit.again("admin/users.html", refused, asks, found=None, sort="-created_at", **known)
        return visit.page("admin/users.html", form=asks, found=page, sort=sort, **known)

    @get("/new", guards=WRITE)
    async def new(
        self, visit: NamedDependency[Visit], roles: NamedDependency[Roles], sender: NamedDependency[Sender]
    ) -> Response[bytes]:
        return visit.page("admin/new_user.html", mails=sender.available, **boxes(await known_roles(visit, roles), []))

    @post("/new", guards=WRITE, status_code=HTTP_200_OK)
    async def create(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        caller: Caller,
        administration: NamedDependency[Administration],
        roles: NamedDependency[Roles],
        sender: NamedDependency[Sender],
    ) -> Response[bytes]:
        invited = form.get("way") == "invitation"
        try:
            user = await administration.create_user(caller, _new(form, invited=invited), visit.client)
        except AppError as refused:
            known = boxes(await known_roles(visit, roles), ticked(form, "role"))
            return visit.again("admin/new_user.html", refused, form, mails=sender.available, **known)
        return visit.go(f"{USERS}/{user.id}", "user-invited" if invited else "user-created")


async def known_roles(visit: Visit, roles: Roles) -> list[str]:
    """The names of the roles there are, for who may see them."""
    return [role.name for role in await roles.everything()] if visit.may("roles:write") else []


def boxes(known: Collection[str], chosen: Collection[str]) -> Mapping[str, Any]:
    """What is a box to tick, and what of the chosen is text beside them."""
    ticked = set(chosen)
    names = sorted({*known, *chosen}, key=lambda name: (name not in ticked, name))[:MOST_BOXES]
    return {"names": sorted(names), "chosen": ticked, "more": " ".join(sorted(ticked - set(names)))}


def ticked(form: Mapping[str, str], prefix: str) -> list[str]:
    """The names whose boxes are ticked, and those that were typed beside them."""
    found = {name.removeprefix(f"{prefix}.") for name, value in form.items() if name.startswith(f"{prefix}.") and value}
    return sorted(found | set(form.get(f"{prefix}_more", "").replace(",", " ").split()))


def _new(form: Form, *, invited: bool) -> NewUser:
    """Raises ValidationFailed."""
    said: dict[str, Any] = form.given("username", "email", "full_name")
    if invited and "email" not in said:
        raise ValidationFailed(("email", mark("Please fill this in: the invitation goes there.")))
    if not invited:
        said["password"] = form.get("password", "")
        said["must_change_password"] = form.get("must_change_password") == TICKED
    return convert({**said, "roles": ticked(form, "role")}, NewUser)

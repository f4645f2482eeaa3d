"""Who is signed in, from where and on what; and signing out whoever should not be."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.status_codes import HTTP_200_OK
from msgspec import Struct

from app.console.administration.query import LARGEST_ID, ZONE, Query, Zone, known_id
from app.console.forms import Form
from app.console.languages import mark, translated
from app.console.visit import ROOT, Visit
from app.errors import AppError, NotFound, ValidationFailed
from app.identity.administration import Administration
from app.problems import convert
from app.sessions.amr import Factor
from app.sessions.caller import Caller, Judge, requires
from app.sessions.ending import Ending
from app.sessions.filters import SessionFilter
from app.sessions.listing import SessionDirectory, SessionSort
from app.sessions.service import Sessions
from app.statements import MOST_ROWS

SESSIONS = f"{ROOT}/admin/sessions"
END = f"{SESSIONS}/end"
READ = [requires("sessions:read")]
REVOKE = [requires("sessions:read"), requires("sessions:revoke")]
ROWS = 50  # of a page
NOBODY = mark("There is no local user with this name or id.")
WORDS = ("ip", "device", "factor")
TIMES = ("created_before", "created_after")
FACTORS: Mapping[Factor, str] = {
    "pwd": mark("Password"),
    "otp": mark("Code"),
    "pop": mark("Passkey"),
    "user": mark("Fingerprint, face or PIN"),
    "mfa": mark("More than one factor"),
    "fed": mark("Another provider"),
    "offline": mark("While GPUStack was away"),
}
FIELDS = ("user", *WORDS, *TIMES)  # of the filter


class Wanted(Struct, frozen=True):
    """In which order."""

    sort: SessionSort = "-created_at"


class SessionsPages(Controller):
    path = "/sessions"

    @get(guards=READ)
    async def show(
        self,
        visit: NamedDependency[Visit],
        asks: NamedDependency[Query],
        zone: NamedDependency[Zone],
        caller: Caller,
        session_directory: NamedDependency[SessionDirectory],
        administration: NamedDependency[Administration],
    ) -> Response[bytes]:
        known: dict[str, Any] = {"query": asks, "path": SESSIONS, "zone": zone, "most_numbered": MOST_ROWS}
        names: dict[str, str] = {way: translated(name) for way, name in FACTORS.items()}
        known |= {"names": names, "factors": list(names.items())}
        known |= {"filtered": bool(asks.given(*FIELDS)), "active": asks.truth("active") is not False}
        try:
            wanted = await asked(visit, asks, zone, administration)
            sort = convert(asks.given("sort"), Wanted).sort
            page = await session_directory.page(
                wanted, sort, asks.asked(ROWS), caller.session_id, active=known["active"]
            )
        except AppError as refused:
            return visit.again("admin/sessions.html", refused, asks, found=None, sort="-created_at", **known)
        return visit.page("admin/sessions.html", form=asks, found=page, sort=sort, wanted=wanted, **known)

    @get("/end", guards=REVOKE)
    async def preview(
        self,
        visit: NamedDependency[Visit],
        asks: NamedDependency[Query],
        zone: NamedDependency[Zone],
        caller: Caller,
        ending: NamedDependency[Ending],
        administration: NamedDependency[Administration],
    ) -> Response[bytes]:
        """How many there are; nothing is ended yet."""
        try:
            wanted = await asked(visit, asks, zone, administration)
            found = await ending.end(wanted, caller.user_id, visit.client, everybody=True, dry_run=True)
        except AppError as refused:
            return visit.again("admin/end_sessions.html", refused, asks, query=asks, zone=zone, matched=None)
        return visit.page("admin/end_sessions.html", query=asks, zone=zone, matched=found.matched)

    @post("/end", guards=REVOKE, status_code=HTTP_200_OK)
    async def end(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        zone: NamedDependency[Zone],
        caller: Caller,
        judge: NamedDependency[Judge],
        ending: NamedDependency[Ending],
        administration: NamedDependency[Administration],
    ) -> Response[bytes]:
        """A call works for some ten seconds: where there are more, the page says so and asks to go on."""
        asks = Query(form.given(*FIELDS, ZONE))
        try:
            everybody = not asks.given(*FIELDS)
            if everybody and "everybody" not in form:
                raise ValidationFailed(("everybody", mark("Tick this: without a filter, every session is ended.")))
            wanted = await asked(visit, asks, zone, administration)
            ended = await ending.end(
                wanted, caller.user_id, visit.client, judge=judge, session_id=caller.session_id, everybody=everybody
            )
        except AppError as refused:
            return visit.again("admin/end_sessions.html", refused, form, query=asks, zone=zone, matched=None)
        if ended.revoked < ended.matched:
            return visit.go(asks.at(END), "sessions-ended-partly", ended.revoked)
        return visit.go(asks.at(SESSIONS), "sessions-ended", ended.revoked)

    @post("/{user_id:int}/{session_id:uuid}", guards=REVOKE, status_code=HTTP_200_OK)
    async def end_one(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        user_id: FromPath[int],
        session_id: FromPath[UUID],
        caller: Caller,
        sessions: NamedDependency[Sessions],
    ) -> Response[bytes]:
        await sessions.revoke_one(known_id(user_id), session_id, caller.user_id, visit.client)
        return visit.go(visit.back(form, SESSIONS), "session-ended-one")


async def asked(visit: Visit, asks: Query, zone: Zone, administration: Administration) -> SessionFilter:
    """Which sessions are meant.

    Raises:
        ValidationFailed: a field says nothing that could be.
    """
    words: dict[str, Any] = {**asks.given(*WORDS), **{name: zone.time(asks, name) for name in TIMES}}
    if "user" in asks.given("user"):
        words["user_id"] = await whom(visit, asks, administration)
    return convert({name: value for name, value in words.items() if value is not None}, SessionFilter)


async def whom(visit: Visit, asks: Query, administration: Administration) -> int:
    """The user that is named: by his name for who may see accounts, or by his id, for he may be gone.

    Raises:
        ValidationFailed: nobody can be meant.
    """
    text = asks["user"].strip()
    if visit.may("users:read"):
        try:
            return await administration.id_of(text)
        except NotFound:
            if not text.isdecimal():
                raise ValidationFailed(("user", NOBODY)) from None
    user_id = asks.number("user") or 0
    if not 1 <= user_id <= LARGEST_ID:
        raise ValidationFailed(("user", mark("There is no user with this id.")))
    return user_id

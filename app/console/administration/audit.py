"""The audit trail: what happened, to whom, by whom; and what it changed."""

from collections.abc import Mapping, Sequence
from typing import Any

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.response import Stream
from litestar.status_codes import HTTP_200_OK
from msgspec import Struct

from app.audit.events import Event
from app.console.administration.query import Query, Zone
from app.console.administration.sessions import whom
from app.console.forms import Form
from app.console.languages import mark, translated
from app.console.pages import words
from app.console.visit import ROOT, Visit
from app.errors import AppError, ValidationFailed
from app.identity.administration import Administration
from app.problems import convert
from app.request import NDJSON
from app.sessions.caller import Caller, Judge, long_answer, requires
from app.trail.service import Trail
from app.trail.structs import AuditAsked, AuditEvent, AuditFilter

AUDIT = f"{ROOT}/admin/audit"
READ = [requires("audit:read")]
ROWS = 50  # events of a page
FIELDS = ("event", "user", "ip", "since", "until")
LABELS = {"amr": mark("signed in with"), "was": mark("before it was")}
LONGEST_VALUE = 200  # characters of a value that are shown; all of it is in the export


class Told(Struct, frozen=True):
    """A detail of an event, to be shown: what was added and taken away, or a value."""

    name: str
    added: Sequence[str] = ()
    removed: Sequence[str] = ()
    values: Sequence[str] = ()


class AuditPages(Controller):
    path = "/audit"
    guards = READ

    @get()
    async def show(
        self,
        visit: NamedDependency[Visit],
        asks: NamedDependency[Query],
        zone: NamedDependency[Zone],
        trail: NamedDependency[Trail],
        administration: NamedDependency[Administration],
    ) -> Response[bytes]:
        known: dict[str, Any] = {
            "query": asks,
            "path": AUDIT,
            "zone": zone,
            "kinds": [(each, words(each)) for each in Event],
            "details": details,
        }
        known |= {"filtered": bool(asks.given(*FIELDS))}
        try:
            asked = await _asked(visit, asks, zone, administration)
            cursor = convert({"cursor": asks.get("cursor") or None, "page_size": ROWS}, AuditAsked)
            page = await trail.page(asked, cursor)
            people = {each for item in page.items for each in (item.user_id, item.actor_id) if each is not None}
            names = await administration.usernames(people) if visit.may("users:read") else {}
        except AppError as refused:
            return visit.again("admin/audit.html", refused, asks, found=None, names={}, **known)
        return visit.page("admin/audit.html", form=asks, found=page, names=names, **known)

    @post("/export", status_code=HTTP_200_OK)
    async def export(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        zone: NamedDependency[Zone],
        caller: Caller,
        judge: NamedDependency[Judge],
        trail: NamedDependency[Trail],
        administration: NamedDependency[Administration],
    ) -> Stream:
        """A form, for the export is an event itself: no link of somebody else's makes one."""
        asked = await _asked(visit, Query(form.given(*FIELDS)), zone, administration)
        lines = await trail.export(asked, caller.user_id, [caller.session_id], visit.client)
        headers = {"Content-Disposition": 'attachment; filename="gatehouse-audit.ndjson"'}
        return Stream(await long_answer(lines, judge), media_type=NDJSON, headers=headers)


async def _asked(visit: Visit, asks: Query, zone: Zone, administration: Administration) -> AuditFilter:
    """Raises ValidationFailed: a field says nothing that could be."""
    event = asks.get("event") or None
    if event is not None and event not in list(Event):
        raise ValidationFailed(("event", mark("There is no such event.")))
    sent: dict[str, Any] = {"event": event, "ip": asks.get("ip", "").strip() or None}
    sent |= {name: zone.time(asks, name) for name in ("since", "until")}
    sent["user_id"] = await whom(visit, asks, administration) if asks.given("user") else None
    return convert(sent, AuditFilter)


def details(event: AuditEvent) -> list[Told]:
    """What an event changed: names of what was added and taken away together, everything else by its name."""
    found: list[Told] = []
    said: Mapping[str, Any] = event.details
    if "added" in said or "removed" in said:
        found.append(Told("", added=_texts(said.get("added", [])), removed=_texts(said.get("removed", []))))
    for name, value in said.items():
        if name in ("added", "removed") or value in ([], None):
            continue
        if isinstance(value, Mapping):
            found += [Told(f"{name} {inner}", values=_texts(each)) for inner, each in value.items() if each]
        else:
            found.append(Told(LABELS.get(name, name), values=_texts(value)))
    return found


def _texts(value: object) -> list[str]:
    if isinstance(value, bool):
        return [translated(mark("yes") if value else mark("no"))]
    return [str(each)[:LONGEST_VALUE] for each in (value if isinstance(value, list) else [value])]

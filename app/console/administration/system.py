"""The settings in force, and the clean-up."""

import re
from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Any

import msgspec
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.status_codes import HTTP_200_OK
from msgspec import Struct

from app.console.visit import ROOT, Visit
from app.maintenance.service import Maintenance
from app.providers import Provider
from app.sessions.caller import Caller, requires
from app.setting_values import Rate
from app.settings import Settings

SETTINGS = f"{ROOT}/admin/settings"
USERINFO = re.compile(r"(?<=://)[^/?#]*@")  # of a URL: a name and, it may be, a password


class Setting(Struct, frozen=True):
    """As it is in force."""

    name: str
    value: str  # nothing where it is empty
    is_set: bool  # or else it is the default
    is_hidden: bool


class SystemPages(Controller):
    guards = (requires("system:maintain"),)

    @get("/settings")
    async def show(self, visit: NamedDependency[Visit]) -> Response[bytes]:
        return visit.page("admin/settings.html", settings=in_force(visit.console.settings))

    @post("/cleanup", status_code=HTTP_200_OK)
    async def clean_up(
        self, visit: NamedDependency[Visit], caller: Caller, maintenance: NamedDependency[Maintenance]
    ) -> Response[bytes]:
        report = await maintenance.clean_up(visit.client, caller.user_id)
        return visit.go(SETTINGS, "cleaned-up", sum(msgspec.structs.astuple(report.deleted)))


def in_force(settings: Settings) -> Sequence[Setting]:
    """Every setting; of one that does not print, only whether it is there."""
    found = []
    for each in fields(Settings):
        value = getattr(settings, each.name)
        is_set = each.default is MISSING or value != each.default
        shown = _words(value) if each.repr else ""
        if value is None and each.name.startswith("rate_limit"):
            shown = "off"
        found.append(Setting(each.name.upper(), shown, is_set, is_hidden=not each.repr))
    return found


def _words(value: Any) -> str:  # noqa: ANN401 - of whatever kind settings are
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Rate):
        return f"{value.limit} in {value.seconds} s"
    if isinstance(value, Provider):
        return f"{value.name} ({USERINFO.sub('', value.issuer)})"
    if isinstance(value, tuple):
        return ", ".join(map(_words, value))
    return USERINFO.sub("", str(value))

"""What the address of a page asks for: filters of a list, and times as the reader's clock shows them."""

from datetime import UTC, datetime, tzinfo
from typing import Any
from urllib.parse import parse_qsl, urlencode
from zoneinfo import ZoneInfo

from litestar import Request
from litestar.di import NamedDependency
from msgspec import Struct

from app.asked import utc
from app.console.languages import mark
from app.console.visit import Visit
from app.errors import MalformedRequest, NotFound, ValidationFailed
from app.listing import Asked
from app.problems import convert

ZONE_COOKIE = "gatehouse-console-zone"  # IANA's name of the reader's time zone; a script writes it (static/admin.js)
ZONE = "tz"  # the field of a form, or of an address, that says the same
MOST_FIELDS = 50  # of an address: the longest form of ours has ten
MOST_DIGITS = 19  # of a number that fits 64 bits
LARGEST_ID = 2**63 - 1  # a bigint
YES_OR_NO = {"yes": True, "no": False}


class Query(dict[str, str]):
    """The fields of an address; of one that comes twice the last."""

    def given(self, *names: str) -> dict[str, str]:
        """Those of these fields that are not blank."""
        return {name: text for name in names if (text := self.get(name, "").strip())}

    def number(self, name: str) -> int | None:
        """Raises ValidationFailed unless it is a whole number, or blank."""
        text = self.get(name, "").strip()
        if not text:
            return None
        if not (text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS):
            raise ValidationFailed((name, mark("This has to be a whole number.")))
        return int(text)

    def truth(self, name: str) -> bool | None:
        """What a choice of yes, no and either says."""
        return YES_OR_NO.get(self.get(name, ""))

    def at(self, path: str, **changes: object) -> str:
        """The address of a page that asks for the same but for this; None takes a field away."""
        fields = {**self, **changes}
        told = urlencode({name: str(value) for name, value in fields.items() if value not in (None, "")})
        return f"{path}?{told}" if told else path

    def asked(self, page_size: int) -> Asked:
        """Which page of a list.

        Raises:
            ValidationFailed: there can be no such page.
        """
        number = self.number("page")
        page = {"page": 1 if number is None else number, "page_size": page_size, "cursor": self.get("cursor") or None}
        return convert(page, Asked)


class Zone(Struct, frozen=True):
    """Whose clocks the reader goes by."""

    name: str
    info: tzinfo

    def time(self, query: Query, field: str) -> datetime | None:
        """A time as a browser's field writes it, by these clocks unless it names others; None if it is blank.

        Raises:
            ValidationFailed: it is no time.
        """
        text = query.get(field, "").strip()
        if not text:
            return None
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise ValidationFailed((field, mark("This is not a time, such as 2026-01-05T09:30."))) from None
        return utc(at if at.tzinfo else at.replace(tzinfo=self.info), field)


def known_id(number: int) -> int:
    """A user's id in an address.

    Raises:
        NotFound: nobody can have this one.
    """
    if not 1 <= number <= LARGEST_ID:
        raise NotFound
    return number


def zone_named(name: str) -> Zone:
    """UTC where there is no such zone."""
    try:
        return Zone(name, ZoneInfo(name))
    except (KeyError, ValueError, OSError):  # no such file, no name of a file, a directory
        return Zone("UTC", UTC)


async def provide_query(request: Request[Any, Any, Any]) -> Query:
    """Dependency `asks`."""
    text: bytes = request.scope["query_string"]
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError:
        raise MalformedRequest("The address cannot be read.") from None
    return Query(pairs)


def provide_zone(request: Request[Any, Any, Any], visit: NamedDependency[Visit], asks: NamedDependency[Query]) -> Zone:
    """Dependency `zone`: as the form says whose times were shown, or the address, or the browser."""
    form = request.scope["state"].get("form", {})
    return zone_named(form.get(ZONE) or asks.get(ZONE) or visit.cookie(ZONE_COOKIE) or "UTC")

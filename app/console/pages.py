"""Templates become pages: what every one of them knows, and what a browser may do with it."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from app.console import languages
from app.console.files import files
from app.console.languages import mark, translated

OURS = Path(__file__).parent / "templates"
# Bootstrap holds its icons as data. Nothing is loaded from elsewhere, and no form is sent elsewhere.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",  # with `no-referrer` a browser sends a form with `Origin: null`
}
MONTHS = [
    *(mark("Jan"), mark("Feb"), mark("Mar"), mark("Apr"), mark("May"), mark("Jun")),
    *(mark("Jul"), mark("Aug"), mark("Sep"), mark("Oct"), mark("Nov"), mark("Dec")),
]
NEVER = Markup('<span class="text-body-secondary">\N{EN DASH}</span>')
WORD = re.compile(r"(?<=[a-z])(?=[A-Z])|[_.-]")


def render(template: str, context: Mapping[str, Any]) -> bytes:
    return _environment().get_template(template).render(context).encode()


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(OURS),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    # not the extension's own: with its new style a text is HTML and a format, also one that somebody has sent
    made.globals |= {"_": languages.said, "gettext": languages.said, "ngettext": languages.said_of}
    made.globals["asset"] = asset
    made.globals["now"] = lambda: datetime.now(UTC)
    made.filters |= {"time": time_of, "date": date_of, "number": number, "words": words}
    return made


def asset(name: str) -> str:
    """The address of a file."""
    return files()[name].url


def time_of(at: datetime | None) -> Markup:
    """In UTC; a script puts it into the reader's own zone and way of writing (static/console.js)."""
    if at is None:
        return NEVER
    utc = at.astimezone(UTC)
    text = f"{_day(utc)}, {utc:%H:%M} UTC"
    return Markup('<time datetime="{}">{}</time>').format(utc.isoformat(timespec="seconds"), text)


def date_of(at: datetime | None) -> Markup:
    """The same without the time of the day."""
    if at is None:
        return NEVER
    utc = at.astimezone(UTC)
    return Markup('<time datetime="{}" data-date>{}</time>').format(utc.isoformat(timespec="seconds"), _day(utc))


def _day(at: datetime) -> str:
    return f"{at.day} {month_of(at)} {at.year}"


def month_of(at: datetime) -> str:
    return translated(MONTHS[at.month - 1])


def number(value: int) -> str:
    """With thin spaces between the thousands (ISO 80000-1)."""
    return f"{value:,}".replace(",", "\u202f")


def words(name: str) -> str:
    """A name of ours, such as an event's, as words: `login.failed` is “Login failed”."""
    return translated(WORD.sub(" ", name).capitalize())

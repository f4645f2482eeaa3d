"""The languages that the pages speak: GNU gettext, one catalog each in `locale`; what none has is said in English."""

import gettext
import re
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from functools import cache
from pathlib import Path

from markupsafe import Markup, escape

OURS = Path(__file__).parent / "locale"
DOMAIN = "console"
SPOKEN = "en"  # the language that the pages are written in
MOST_WISHED = 10  # languages of a browser that are looked at
WISH = re.compile(r"\s*([A-Za-z0-9-]{1,64})\s*(?:;\s*q=([01](?:\.[0-9]{0,3})?)\s*)?")  # RFC 9110 §12.5.4

ENGLISH = gettext.NullTranslations()
_translations: ContextVar[gettext.NullTranslations] = ContextVar("translations", default=ENGLISH)


def mark(text: str) -> str:
    """The same text; `make messages` finds it, and the template that shows it has it translated."""
    return text


def speak(wished: Iterable[str]) -> str:
    """Have the pages of this request speak the first of these languages that there is, or the widest of it.

    Returns the tag of what they speak.
    """
    for wish in wished:
        tag = wish.lower()
        while tag:
            if tag == SPOKEN or tag in _catalogs():
                _translations.set(_catalog(tag))
                return tag
            tag = tag.rpartition("-")[0]
    _translations.set(ENGLISH)
    return SPOKEN


def accepted(header: str | None) -> list[str]:
    """The languages that a browser asks for, the best first; what is none of them is passed over."""
    found = [WISH.fullmatch(each) for each in (header or "").split(",")[:MOST_WISHED]]
    weighed = [(float(each[2] or 1), each[1]) for each in found if each is not None]
    return [tag for weight, tag in sorted(weighed, key=lambda each: -each[0]) if weight > 0]


def translated(text: str) -> str:
    """In the language of this request."""
    return _translations.get().gettext(text)


def said(text: str, **values: object) -> str:
    """For templates, `_("…")`: the text in the language of this request, with `%(values)s` in it.

    Nothing of it is taken for HTML: a text may be an error's, with what somebody has sent in it.
    """
    return escape(translated(text)) % values if values else translated(text)


def said_of(one: str, many: str, number: int, **values: object) -> Markup:
    """The same for `ngettext("…", "…", number)`; `%(num)s` is the number."""
    return escape(_translations.get().ngettext(one, many, number)) % {"num": number, **values}


@cache
def _catalogs() -> Mapping[str, str]:
    """The folders of the catalogs that there are, by their tags; no request names a path."""
    found = OURS.glob(f"*/LC_MESSAGES/{DOMAIN}.mo")
    return {path.parts[-3].lower().replace("_", "-"): path.parts[-3] for path in found}


@cache
def _catalog(tag: str) -> gettext.NullTranslations:
    return gettext.translation(DOMAIN, OURS, [_catalogs()[tag]]) if tag in _catalogs() else ENGLISH

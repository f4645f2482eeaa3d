"""What the console's pages say, for who translates it: console.pot, and the catalogs of the languages there are.

`make messages` writes them, `make messages BEGIN=de` begins one; `make check` asks whether they are up to date.
"""

import argparse
import io
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

import app.main  # noqa: F401 - brings every error along
from app.audit.events import Event
from app.console.activity import REASONS
from app.console.pages import words
from app.errors import AppError

CONSOLE = Path(__file__).parents[1] / "app/console"
LOCALE = CONSOLE / "locale"
TEMPLATE = LOCALE / "console.pot"
METHODS = [("**.py", "python"), ("templates/**.html", "jinja2")]
KEYWORDS = {"_": None, "mark": None, "ngettext": (1, 2)}
OPTIONS = {"templates/**.html": {"trim_blocks": "true", "lstrip_blocks": "true", "silent": "false"}}


def titles(error: type[AppError] = AppError) -> Iterator[str]:
    """What refusals say: all that can be said without what somebody has sent."""
    if title := getattr(error, "title", None):
        yield title
    for each in error.__subclasses__():
        yield from titles(each)


def template() -> Catalog:
    catalog = Catalog(fuzzy=False)
    for _, _, message, comments, context in extract_from_dir(
        CONSOLE, METHODS, OPTIONS, KEYWORDS, comment_tags=("Translators:",)
    ):
        catalog.add(message, auto_comments=comments, context=context)
    for said in (*titles(), *map(words, (*Event, *REASONS, "expired"))):
        catalog.add(said)
    return catalog


def written(catalog: Catalog) -> bytes:
    """Without the days and places that would change each time."""
    file = io.BytesIO()
    write_po(file, catalog, no_location=True, omit_header=True, sort_output=True, ignore_obsolete=True, width=120)
    plural = f"Plural-Forms: {catalog.plural_forms}\\n" if catalog.locale else ""
    head = f'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n{plural}"\n\n'
    return head.encode() + file.getvalue()


def compiled(catalog: Catalog) -> bytes:
    file = io.BytesIO()
    write_mo(file, catalog)
    return file.getvalue()


def files(begin: str | None) -> Iterator[tuple[Path, bytes]]:
    """Each file, as it should be."""
    found = template()
    yield TEMPLATE, written(found)
    if begin:
        path = LOCALE / begin / "LC_MESSAGES/console.po"
        if not path.exists():
            path.parent.mkdir(parents=True)
            path.write_bytes(written(Catalog(locale=begin)))
    for path in sorted(LOCALE.glob("*/LC_MESSAGES/console.po")):
        with path.open("rb") as file:
            catalog = read_po(file, locale=path.parts[-3])
        catalog.update(found, no_fuzzy_matching=True)
        yield path, written(catalog)
        yield path.with_suffix(".mo"), compiled(read_po(io.BytesIO(written(catalog)), locale=path.parts[-3]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where something is not up to date")
    parser.add_argument("--begin", help="a language to begin with, such as de or pt_BR")
    asked = parser.parse_args()
    stale = [(path, content) for path, content in files(asked.begin) if _now(path) != content]
    if asked.check and stale:
        names = ", ".join(path.relative_to(LOCALE).as_posix() for path, _ in stale)
        sys.exit(f"Not up to date in app/console/locale: {names}. Run `make messages`.")
    for path, content in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _now(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


if __name__ == "__main__":
    main()

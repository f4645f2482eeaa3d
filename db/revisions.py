"""Which migrations a database has, and whether this release can work on them; without SQLAlchemy: readiness asks."""

import re
from collections.abc import Mapping
from pathlib import Path

from db.connection import Connection

DIRECTORY = Path(__file__).parent / "migrations" / "versions"


def known() -> frozenset[str]:
    """The revisions of this release: a migration's file is named `<revision>_<what it does>.py`."""
    return frozenset(path.stem.split("_", 1)[0] for path in DIRECTORY.glob("[0-9]*.py"))


async def applied(connection: Connection) -> dict[str, str]:
    """The revisions of a database in order, each with the oldest release that may run once it is there."""
    if await connection.fetchval("SELECT to_regclass('schema_history')") is None:
        return {}
    rows = await connection.fetch("SELECT revision, oldest_release FROM schema_history ORDER BY revision")
    return {row["revision"]: row["oldest_release"] for row in rows}


def missing(revisions: Mapping[str, str]) -> list[str]:
    """What this release knows, and a database with these revisions lacks."""
    return sorted(known() - set(revisions))


def needed(revisions: Mapping[str, str], release: str) -> str | None:
    """The oldest release that the newest of these revisions allows, if this one is older still."""
    oldest = revisions[max(revisions)] if revisions else release
    return None if oldest[:1].isdigit() and _numbers(release) >= _numbers(oldest) else oldest


def _numbers(release: str) -> tuple[int, ...]:
    """The three numbers of a release; a candidate (`1.2.0rc1`) counts as the release that it is to be."""
    numbers = [int(number) for number in re.findall(r"\d+", release)[:3]]
    return (*numbers, *(0 for _ in range(3 - len(numbers))))

"""Which migrations this release knows; read without SQLAlchemy, because readiness asks."""

from pathlib import Path

DIRECTORY = Path(__file__).parent / "migrations" / "versions"


def known() -> frozenset[str]:
    """The revisions of this release: a migration's file is named `<revision>_<what it does>.py`."""
    return frozenset(path.stem.split("_", 1)[0] for path in DIRECTORY.glob("[0-9]*.py"))

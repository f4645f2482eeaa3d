"""The release before this one: which that is, and where it is put to run."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from db.revisions import DIRECTORY, known

ROOT = Path(__file__).parents[2]


class NoRelease(Exception):
    """There is nothing to go from."""


@dataclass(frozen=True)
class Release:
    name: str
    command: Path  # its `gatehouse`
    newest: str  # the last migration that it knows


def present() -> Release:
    return Release("this", Path(sys.executable).with_name("gatehouse"), max(known()))


def before(ref: str | None) -> str:
    """The commit to go from: `ref`, or the newest tag, or else the last one that did not know the newest migration.

    Raises:
        NoRelease: there is none, for example in a clone without history.
    """
    if ref or (ref := _git("describe", "--tags", "--abbrev=0", may_fail=True)):
        return _git("rev-parse", "--verify", f"{ref}^{{commit}}")
    newest = max(known())
    (file,) = DIRECTORY.glob(f"{newest}_*.py")
    added = _git("log", "--diff-filter=A", "--format=%H", "--", str(file.relative_to(ROOT))).splitlines()
    return _git("rev-parse", "--verify", f"{added[-1]}^" if added else "HEAD")


@contextmanager
def checked_out(commit: str, directory: Path) -> Iterator[Release]:
    """A worktree of that commit, with its own dependencies in its own .venv."""
    _git("worktree", "add", "--quiet", "--detach", str(directory), commit)
    try:
        done = subprocess.run(
            ["make", "-C", directory, f"PYTHON={sys.executable}", "install"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise NoRelease(f"{commit[:10]} cannot be installed:\n{done.stdout}{done.stderr}")
        newest = max(path.name[:4] for path in (directory / DIRECTORY.relative_to(ROOT)).glob("[0-9]*.py"))
        name = _git("describe", "--tags", "--always", commit)
        yield Release(name, directory / ".venv" / "bin" / "gatehouse", newest)
    finally:
        _git("worktree", "remove", "--force", str(directory))


def _git(*words: str, may_fail: bool = False) -> str:
    done = subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=False)
    if done.returncode and not may_fail:
        raise NoRelease(f"git {' '.join(words)}: {done.stderr.strip()}")
    return "" if done.returncode else done.stdout.strip()

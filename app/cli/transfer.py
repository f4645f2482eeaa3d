"""`gatehouse users import` and `gatehouse users export`: by the thousand, in pieces, without the API."""

import argparse
import asyncio
import os
import stat
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from app.cli.parts import at_work
from app.cli.refusal import FileUnusable
from app.cli.terminal import complain, say
from app.identity.import_batch import Importer
from app.identity.import_lines import ReportLine
from app.settings import Settings, load

PIECE = 65_536  # bytes
SHOWN = 10  # errors, where no report is asked for
STATUSES = ("created", "updated", "skipped", "error")
STANDARD = "-"


class Outcome:
    """Counts what becomes of the lines, and writes it down where that is asked for."""

    def __init__(self, *reports: BinaryIO) -> None:
        self.counts: Counter[str] = Counter()
        self.errors: list[ReportLine] = []
        self._reports = reports

    def keep(self, lines: Sequence[ReportLine]) -> None:
        self.counts.update(each.status for each in lines)
        room = SHOWN - len(self.errors)
        self.errors += [each for each in lines if each.status == "error"][:room]
        written = b"".join(msgspec.json.encode(each) + b"\n" for each in lines)
        for report in self._reports:
            report.write(written)


def take(arguments: argparse.Namespace) -> int:
    """`users import`."""
    settings = load(env_file=arguments.env_file)
    with ExitStack() as stack:
        source = stack.enter_context(_reading(arguments.file))
        reports = [sys.stdout.buffer] if arguments.json else []
        if arguments.report is not None:
            _require_another(arguments.report, source)
            reports.append(stack.enter_context(_writing(arguments.report)))
        advance = stack.enter_context(_progress("bytes", _size(source)))
        outcome = Outcome(*reports)
        asyncio.run(_take(settings, source, outcome, advance))
    sys.stdout.flush()
    if not arguments.json:
        for name in STATUSES:
            say(f"{name if name != 'error' else 'errors':<8} {outcome.counts[name]}")
    if not reports:
        for each in outcome.errors:
            complain(f"line {each.line}: {each.code}: {each.message}")
        if outcome.counts["error"] > SHOWN:
            complain(f"and {outcome.counts['error'] - SHOWN} more: --report FILE says all")
    return 1 if outcome.counts["error"] else 0


async def _take(settings: Settings, source: BinaryIO, outcome: Outcome, advance: Callable[[int], None]) -> None:
    async def pieces() -> AsyncGenerator[bytes]:
        while piece := await asyncio.to_thread(source.read, PIECE):  # a pipe may keep one waiting
            yield piece
            advance(len(piece))

    async def operator() -> Importer:
        return Importer()

    async with at_work(settings) as parts:
        await parts.imports.run(pieces(), operator, outcome.keep)


def give(arguments: argparse.Namespace) -> int:
    """`users export`."""
    settings = load(env_file=arguments.env_file)
    with ExitStack() as stack:
        to = sys.stdout.buffer
        if arguments.file != STANDARD:
            to = stack.enter_context(_writing_whole(Path(arguments.file)))
        advance = stack.enter_context(_progress("users", None))
        asyncio.run(_give(settings, to, advance, with_hashes=arguments.with_hashes))
    sys.stdout.flush()
    return 0


async def _give(settings: Settings, to: BinaryIO, advance: Callable[[int], None], *, with_hashes: bool) -> None:
    async with at_work(settings) as parts:
        async for users, piece in parts.exports.pieces(with_hashes=with_hashes):
            to.write(piece)
            advance(users)


# ---- files --------------------------------------------------------------------------------------------------------


@contextmanager
def _reading(name: str) -> Generator[BinaryIO]:
    if name == STANDARD:
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).open("rb", buffering=0)  # noqa: SIM115 - closed below
    except OSError as error:
        raise FileUnusable(Path(name), str(error.strerror)) from error
    with file:
        yield file


def _require_another(path: Path, source: BinaryIO) -> None:
    """Raises FileUnusable if what is to be written there would take the place of what is read."""
    if path.exists() and os.path.samestat(path.stat(), os.fstat(source.fileno())):
        raise FileUnusable(path, "it is the file to import")


def _require_plain(path: Path) -> None:
    """Raises FileUnusable if anything but a file is there: to replace /dev/null would break more than this command."""
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        raise FileUnusable(path, "it is no plain file")


@contextmanager
def _writing(path: Path) -> Generator[BinaryIO]:
    """A file that only its owner may read."""
    _require_plain(path)
    try:
        path.unlink(missing_ok=True)
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except OSError as error:
        raise FileUnusable(path, str(error.strerror)) from error
    with file:
        yield file


@contextmanager
def _writing_whole(path: Path) -> Generator[BinaryIO]:
    """The same, under its own name once there is all of it."""
    _require_plain(path)
    begun = path.with_name(f"{path.name}.part")
    with _writing(begun) as file:
        yield file
    begun.replace(path)


def _size(file: BinaryIO) -> int | None:
    """Bytes, where that can be known."""
    found = os.fstat(file.fileno())
    return found.st_size if stat.S_ISREG(found.st_mode) else None


@contextmanager
def _progress(what: str, total: int | None) -> Generator[Callable[[int], None]]:
    """A bar, where somebody looks at the terminal."""
    count = TaskProgressColumn() if what == "bytes" else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), count, TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.advance(task, done)

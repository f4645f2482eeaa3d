"""The directory that a server and its workers share while it runs."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from app.cli.refusal import NoRoomForFiles


@contextmanager
def directory(workers: int) -> Generator[Path]:
    """Make it, and tell the workers by their environment; it is gone afterwards.

    In it are `metrics`, where prometheus_client adds up over processes (it reads the variable when it is imported: that
    has to be later), and `draining` once the server is about to leave.
    """
    try:
        made = Path(tempfile.mkdtemp(prefix="gatehouse-"))
    except OSError as error:
        raise NoRoomForFiles(str(error.strerror)) from error
    held = os.open(made, os.O_RDONLY)
    fcntl.flock(
        held, fcntl.LOCK_SH
    )  # systemd-tmpfiles removes what is old, but for directories that somebody has locked
    try:
        (made / "metrics").mkdir()
        os.environ["GATEHOUSE_RUNTIME_DIR"] = str(made)
        os.environ["GATEHOUSE_WORKERS"] = str(workers)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(made / "metrics")
        yield made
    finally:
        os.close(held)
        shutil.rmtree(made, ignore_errors=True)

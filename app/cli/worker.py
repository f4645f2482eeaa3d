"""What a worker does before it serves; it runs in the worker's process."""

import ctypes
import gc
import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from granian import _signals
from granian._granian import WorkerSignal

PR_SET_PDEATHSIG = 1  # linux/prctl.h
YOUNG_OBJECTS = 10_000  # between two collections; Python's 700 are made by five requests, and cost 2 % of the time
OLDER_TURNS = 10, 10  # collections of a generation until the next older one has its turn: Python's own numbers
STOPPING = (signal.SIGINT, signal.SIGTERM)

# Granian's messages go the way of all others: `app.logs` tells them in our form.
LOGGING: dict[str, Any] = {
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"handlers": [], "propagate": True}},
}


@contextmanager
def signals_held() -> Generator[None]:
    """Around the start of a worker: what it is told before `load` waits until then, and so do signals to us."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def load(target: str) -> Callable[..., Any]:
    """Make the application, in a process that hears of Ctrl-C by its parent alone, and ends with it.

    Granian's own loader would put the working directory in front of the import path.
    """
    os.setsid()
    # The parent's handlers came along, and would take a SIGTERM for the parent's; until `listen`, it simply ends us.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid != os.getppid():  # it died before that was said
        os._exit(1)
    _signals.set_loop_signals = listen
    module, _, factory = target.partition(":")
    application: Callable[..., Any] = getattr(importlib.import_module(module), factory)()
    gc.collect()
    gc.freeze()  # what stays for good need not be looked through again: that would stop everything for some 30 ms
    gc.set_threshold(YOUNG_OBJECTS, *OLDER_TURNS)
    return application


def listen(_: object) -> WorkerSignal:
    """In place of Granian's `set_loop_signals`, with which a worker that was told to stop sometimes did not.

    That leaves signals to uvloop, which drops one that comes between two runs of its loop: the lifespan has started,
    serving has not. And it passes on every signal, of which the third blocks for ever, with the GIL held.
    """
    told = WorkerSignal()

    def stop(*_: object) -> None:
        _on_stop(signal.SIG_IGN)
        told.set()

    _on_stop(stop)
    return told


def _on_stop(handler: signal.Handlers | Callable[..., None]) -> None:
    for number in STOPPING:
        signal.signal(number, handler)

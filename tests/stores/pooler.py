"""PgBouncer, of Debian, in front of the tests' PostgreSQL."""

import shutil
import signal
import socket
from pathlib import Path
from urllib.parse import urlsplit

from app.cli import children, files
from app.cli.embedded import Server

SESSIONS = 3  # of PostgreSQL, which all connections of all replicas share: far fewer than those are


class Pooler(Server):
    """PgBouncer in transaction mode; whoever may sign in to PostgreSQL may here, by the same password."""

    name = "PgBouncer"
    stops_by = ((signal.SIGTERM, 5.0),)

    def __init__(self, directory: Path, url: str, *more: str) -> None:
        super().__init__(directory)
        self._to = urlsplit(url)
        self._more = more

    @property
    def url(self) -> str:
        to = self._to
        return f"postgresql://{to.username}:{to.password}@{children.LOOPBACK}:{self.port}{to.path}"

    def _prepare(self) -> None:
        users = f'"{self._to.username}" "{self._to.password}"\n'
        files.replace(self.directory / "users", users, children.account())

    def _command(self) -> list[str | Path]:
        config = self.directory / "pgbouncer.ini"
        files.replace(config, self._config(), children.account())
        program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
        assert program is not None, "pgbouncer is needed: make test-stores"
        return [program, config]

    def _config(self) -> str:
        return "\n".join(
            (
                "[databases]",
                f"* = host={children.LOOPBACK} port={self._to.port}",
                "[pgbouncer]",
                f"listen_addr = {children.LOOPBACK}",
                f"listen_port = {self.port}",
                "unix_socket_dir =",
                f"pidfile = {self._pid_file()}",
                "auth_type = scram-sha-256",
                f"auth_file = {self.directory / 'users'}",
                "pool_mode = transaction",
                f"default_pool_size = {SESSIONS}",
                "max_client_conn = 200",
                "server_round_robin = 1",  # the next statement is another session's: what relies on its own shows
                *self._more,
                "",
            )
        )

    def _answers(self, _: object) -> bool:
        try:
            with socket.create_connection((children.LOOPBACK, self.port), timeout=1.0):
                return True
        except OSError:
            return False

    def _pid_file(self) -> Path:
        return self.directory / "pid"

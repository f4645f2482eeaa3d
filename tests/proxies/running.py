"""nginx and HAProxy as processes, with the shipped configurations."""

import os
import shutil
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

import trustme

from tests.proxies import shipped
from tests.proxies.shipped import Places
from tests.servers import free_port

START_SECONDS = 20.0
STOP_SECONDS = 10.0
SERVICE, APPLICATION = "auth.example.org", "app.example.org"  # the names that the shipped files have
# What Debian's nginx.conf says beside sites, or leaves as it is; and a directory of its own for what it writes.
NGINX = """
daemon off; {user} pid {directory}/nginx.pid; error_log {directory}/nginx.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    include {directory}/gatehouse.conf;
    include {directory}/application.conf;
}}
"""


class Certified:
    """A certificate of both names and of the address, and who vouches for it."""

    def __init__(self, directory: Path) -> None:
        authority = trustme.CA()
        self.authority = directory / "authority.pem"
        self.both = directory / "both.pem"  # the certificate and its key
        authority.cert_pem.write_to_path(self.authority)
        authority.issue_cert(SERVICE, APPLICATION, "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(self.both)


class Proxy(ABC):
    """A proxy in front of the service, and of an application."""

    name: ClassVar[str]

    def __init__(self, directory: Path, replicas: Sequence[int], application: int) -> None:
        self.directory = directory
        self.certified = Certified(directory)
        self.replicas = replicas
        self.application = application
        self.ports: dict[str, int] = {}  # over TLS, by the name of what is behind
        self.plain_ports: dict[str, int] = {}  # without
        self._processes: list[subprocess.Popen[bytes]] = []

    def places(self, name: str) -> Places:
        """With ports of their own for what is behind this name."""
        port, plain = self.ports[name], self.plain_ports[name] = free_port(), free_port()
        return Places(self.directory, self.certified.both, port, plain, self.replicas, self.application)

    def __enter__(self) -> Self:
        for number, command in enumerate(self._commands()):
            with (self.directory / f"{self.name}-{number}.log").open("wb") as log:
                self._processes.append(subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True))
        for port in self.ports.values():
            self._await(port)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(STOP_SECONDS)

    @abstractmethod
    def _commands(self) -> list[list[str | Path]]:
        """What to run, once the files for it are written."""

    def _await(self, port: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while all(process.poll() is None for process in self._processes) and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        self.__exit__()
        said = "".join(path.read_text(errors="replace") for path in sorted(self.directory.glob("*.log")))
        raise AssertionError(f"{self.name} does not start:\n{said}")

    def _write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        return path


class Nginx(Proxy):
    name = "nginx"

    def _commands(self) -> list[list[str | Path]]:
        self._write("gatehouse.conf", shipped.nginx("gatehouse.conf", self.places(SERVICE)))
        self._write("application.conf", shipped.nginx("application.conf", self.places(APPLICATION)))
        user = "user root;" if os.geteuid() == 0 else ""  # whose directory it is
        main = self._write("nginx.conf", NGINX.format(directory=self.directory, user=user))
        return [[program("nginx"), "-p", self.directory, "-c", main]]


class HAProxy(Proxy):
    name = "haproxy"

    def _commands(self) -> list[list[str | Path]]:
        service, application = self.places(SERVICE), self.places(APPLICATION)
        self._write("verify.lua", shipped.lua(application))
        files = [
            self._write("haproxy.cfg", shipped.haproxy("haproxy.cfg", service)),
            self._write("application.cfg", shipped.haproxy("application.cfg", application)),
        ]
        return [[program("haproxy"), "-db", "-f", file] for file in files]


def program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    assert found is not None, f"{name} is needed: apt-get install --no-install-recommends {name}"
    return found

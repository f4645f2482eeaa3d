"""A replica as the deployment runs it, on stores that can be killed, stopped and brought back."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from app.cli.embedded import Postgres, Server, Valkey
from app.cli.refusal import NotRunning
from app.settings import Settings
from db import schema
from tests.probes.kubelet import Kubelet, rendered
from tests.replica import settings_for
from tests.servers import COMMAND, environment, free_port


class Store:
    """A store, and what may happen to it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        server.start()
        self._kind, self._directory, self._port = type(server), server.directory, server.port

    def goes(self, how: str) -> None:
        if how == "killed":
            for process in self._family():
                process.kill()
            self._server.stop()
        else:
            for process in self._family():
                process.send_signal(signal.SIGSTOP)

    def comes_back(self, how: str) -> None:
        if how == "killed":
            self._server = self._kind(self._directory, self._port)
            self._server.start()
        else:
            for process in self._family():
                process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        with suppress(psutil.NoSuchProcess, NotRunning):  # a test that broke off has left it killed
            self.comes_back("hung")
        self._server.stop()

    def _family(self) -> list[psutil.Process]:
        parent = psutil.Process(self._server.pid)
        return [parent, *parent.children(recursive=True)]


@pytest.fixture
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Store]]:
    directory = tmp_path_factory.mktemp("stores")
    servers = {"postgres": Postgres(directory / "postgres"), "valkey": Valkey(directory / "valkey")}
    found = {name: Store(server) for name, server in servers.items()}
    yield found
    for store in found.values():
        store.end()


@pytest.fixture
def settings(stores: dict[str, Store]) -> Settings:
    postgres, valkey = stores["postgres"]._server, stores["valkey"]._server
    assert isinstance(postgres, Postgres)
    assert isinstance(valkey, Valkey)
    return settings_for(postgres.url(), valkey.url)


@pytest.fixture
async def migrated(settings: Settings) -> Settings:
    await schema.upgrade(settings.database_url)
    return settings


class Replica:
    """Under a kubelet; with the deployment's own DRAIN_SECONDS."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        self.kubelet = Kubelet(free_port())
        self.drain = float(rendered("ConfigMap", "gatehouse-settings")["data"]["DRAIN_SECONDS"])
        self.log = directory / "replica.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [COMMAND, "serve", "--host", "127.0.0.1", "--port", str(self.kubelet.port)],
                env=environment(settings) | {"DRAIN_SECONDS": f"{self.drain:g}"},
                cwd=directory,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def end(self) -> None:
        if self.process.poll() is None:
            for process in psutil.Process(self.process.pid).children(recursive=True):
                process.kill()
            self.process.kill()
        self.process.wait()


@pytest.fixture
def replica(settings: Settings, tmp_path: Path) -> Iterator[Replica]:
    """Started before anybody has migrated, unless the test has asked for that first."""
    running = Replica(settings, tmp_path)
    yield running
    running.end()

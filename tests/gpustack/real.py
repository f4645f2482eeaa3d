"""A real GPUStack 2.3.0 on loopback, with a PostgreSQL of its own, in the directory that `make test-gpustack` fills."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from httpx import AsyncClient, Client, HTTPError

from app.cli.embedded import Postgres
from tests.gpustack.upstream import ADMIN_PASSWORD, PASSWORD, Outage
from tests.servers import free_port

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".gpustack" / "venv" / "bin" / "python"
START_SECONDS = 180.0  # it migrates its database at the first start, which takes it 25 s with a core to itself


class Real:
    """Missing is a failure, not a reason to skip: who asks for a real one wants to know."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._postgres = Postgres(directory / "postgres", free_port(), settings=["fsync=off"])
        self._port, self._proxy_port = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}"
        self.key = ""

    async def __aenter__(self) -> Self:
        assert PYTHON.exists(), f"{PYTHON} is missing: make test-gpustack installs it"
        self._postgres.start()
        try:
            await asyncio.to_thread(self._start)
            self.key = await self._new_key()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._stop)
        self._postgres.stop()

    async def _new_key(self) -> str:
        async with AsyncClient(base_url=self.url, timeout=START_SECONDS) as client:  # it is busy yet with its start
            answer = await client.post("/auth/login", data={"username": "admin", "password": ADMIN_PASSWORD})
            assert answer.status_code == 200, answer.text
            made = await client.post("/v2/api-keys", json={"name": "tests", "scope": ["management"]})
            return str(made.json()["value"])

    def _start(self) -> None:
        command = [str(PYTHON), str(Path(__file__).with_name("launch.py")), "start"]
        options = {
            "data-dir": str(self._directory / "data"),
            "database-url": self._postgres.url(),
            "gateway-mode": "disabled",
            "port": str(self._port),
            "api-port": str(self._port),
            "proxy-port": str(self._proxy_port),
            "advertise-address": "127.0.0.1",
            "bootstrap-password": ADMIN_PASSWORD,
        }
        off = ("disable-worker", "disable-metrics", "disable-update-check", "disable-builtin-observability")
        arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
        with (self._directory / "gpustack.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *arguments, *(f"--{name}" for name in off)],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={"PATH": os.environ["PATH"], "HOME": str(self._directory)},
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        with Client(trust_env=False) as client:
            while True:
                assert self._process is not None
                assert self._process.poll() is None, (self._directory / "gpustack.log").read_text()[-2000:]
                assert time.monotonic() < deadline, "GPUStack does not start"
                try:
                    if client.get(f"{self.url}/healthz").status_code == 200:
                        return
                except HTTPError:
                    pass
                time.sleep(0.2)

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    # ---- as an administrator of it would ----------------------------------------------------------------------------

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        async with AsyncClient(base_url=self.url, timeout=30) as client:
            headers = {"Authorization": f"Bearer {self.key}"}
            answer = await client.request(method, f"/v2{path}", headers=headers, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def add(
        self, username: str, *, password: str = PASSWORD, full_name: str | None = None, is_admin: bool = False
    ) -> int:
        body = {"username": username, "password": password, "full_name": full_name, "is_admin": is_admin}
        return int((await self._ask("POST", "/users", body))["id"])

    async def change(self, user_id: int, **fields: object) -> None:
        """With its name, which it demands."""
        present = await self._ask("GET", f"/users/{user_id}")
        await self._ask("PUT", f"/users/{user_id}", {"username": present["username"], **fields})

    async def remove(self, user_id: int) -> None:
        await self._ask("DELETE", f"/users/{user_id}")

    @asynccontextmanager
    async def outage(self, kind: Outage) -> AsyncIterator[None]:
        if kind == "refused":
            await asyncio.to_thread(self._stop)
        elif kind == "hung":
            assert self._process is not None
            self._process.send_signal(signal.SIGSTOP)
        else:
            await asyncio.to_thread(self._postgres.stop)
        try:
            yield
        finally:
            if kind == "refused":
                await asyncio.to_thread(self._start)
            elif kind == "hung":
                assert self._process is not None
                self._process.send_signal(signal.SIGCONT)
            else:
                await asyncio.to_thread(self._postgres.start)

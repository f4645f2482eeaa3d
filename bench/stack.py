"""The processes of a bench: the service and the bare reference on one core, wrk on the other."""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, Self

import psutil

from app.cli.embedded import Postgres, Valkey

BASE = "/api/auth/v2"
BIN = Path(sys.executable).parent
START_SECONDS = 30.0
MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0}

# wrk asks with the next token each time: one token for all would be looked up once a batch
SCRIPT = """
local tokens = {%s}
local requests, n = {}, 0
init = function()
  for i, token in ipairs(tokens) do
    requests[i] = wrk.format("GET", nil, {["Authorization"] = "Bearer " .. token})
  end
end
request = function() n = n %% #requests + 1; return requests[n] end
done = function(summary, latency, each)
  local e = summary.errors
  io.write(string.format("ERRORS %%d\\n", e.status + e.connect + e.read + e.write + e.timeout))
end
"""


def say(text: str) -> None:
    """A line of the answer, at once: a bench takes minutes."""
    print(text, flush=True)  # noqa: T201


def leave_by_all_doors() -> None:
    """At SIGTERM, for stores, replicas and their shares are not ended by our end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def refuse(reason: str) -> NoReturn:
    sys.exit(f"bench: {reason}")


def processors() -> tuple[int, int]:
    """The core of the server and the core of all else."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:  # noqa: PLR2004 - one for the server, one for the load
        refuse("two cores are needed")
    if shutil.which("wrk") is None:
        refuse("wrk is needed: apt-get install wrk")
    return cores[0], cores[1]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


class Stack:
    """`gatehouse serve` with one worker and default settings, and the bare application under the same server."""

    def __init__(self, postgres: Postgres, valkey: Valkey, core: int, settings: Mapping[str, str]) -> None:
        self.port = port = free_port()
        bare_port = free_port()
        self.url = f"http://127.0.0.1:{port}{BASE}"
        self.bare_url = f"http://127.0.0.1:{bare_port}"
        self.database_url = postgres.url()
        environment = {
            **os.environ,
            "ENVIRONMENT": "production",
            "PUBLIC_URL": "https://auth.example.test",
            "SECRET_KEY": secrets.token_urlsafe(48),
            "DATABASE_URL": self.database_url,
            "VALKEY_URL": valkey.url,
            "TRUSTED_PROXIES": "127.0.0.1",  # each login of the load comes from an address of its own
            "RATE_LIMIT_REGISTER": "off",
            "DRAIN_SECONDS": "0",
            **settings,
        }
        self.environment = environment
        self._commands = [
            ["taskset", "-c", str(core), str(BIN / "gatehouse"), "serve", "--host", "127.0.0.1", "--port", str(port)],
            ["taskset", "-c", str(core), sys.executable, "-m", "bench.bare", str(bare_port)],
        ]
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        subprocess.run([BIN / "gatehouse", "migrate"], env=self.environment, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
        for command in self._commands:  # they write their log, which costs what it costs, and nobody reads it
            self._processes.append(subprocess.Popen(command, env=self.environment, stderr=subprocess.DEVNULL))  # noqa: S603
        _await(f"{self.url}/health/ready")
        _await(f"{self.bare_url}/me")
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(20)

    @property
    def server_pid(self) -> int:
        return self._processes[0].pid

    def place(self, hashing: int, others: int) -> None:
        """Hold the threads that hash to one core, and all else of the service to another.

        The hashing threads are those that have stepped back behind the others (app/identity/passwords.py).
        """
        for task in _tasks(self._processes[0].pid):
            with suppress(ProcessLookupError):
                os.sched_setaffinity(task, {hashing if os.getpriority(os.PRIO_PROCESS, task) > 0 else others})


@contextmanager
def running(core: int, **settings: str) -> Iterator[Stack]:
    """The stack on stores of its own; its server is held to this core, all else to where the caller is."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        directory.chmod(0o711)  # PostgreSQL runs as somebody else where we are root
        with (
            Postgres(directory / "postgres") as postgres,
            Valkey(directory / "valkey") as valkey,
            Stack(postgres, valkey, core, settings) as stack,
        ):
            yield stack


def _tasks(pid: int) -> list[int]:
    """The threads of a process and of its children."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return [int(path.name) for process in family for path in Path(f"/proc/{process.pid}/task").iterdir()]


def _await(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own loopback address
                return
        except OSError:
            if time.monotonic() > deadline:
                refuse(f"{url} does not answer")
            time.sleep(0.05)


def wrk(url: str, tokens: list[str], connections: int, seconds: int) -> float:
    """Requests a second; any error ends the bench, for a fast refusal is no figure."""
    return wrk_with_latency(url, tokens, connections, seconds)[0]


def wrk_with_latency(url: str, tokens: list[str], connections: int, seconds: int) -> tuple[float, float]:
    """The same, and the milliseconds that 99 of a hundred requests took at most."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT % ",".join(f'"{token}"' for token in tokens))
        script.flush()
        command = ["wrk", "-t1", "--latency", f"-c{connections}", f"-d{seconds}s", "-s", script.name, url]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
    if "ERRORS 0" not in out:
        refuse(f"wrk saw errors at {url}:\n{out}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    slowest = re.search(r"99%\s+([\d.]+)(us|ms|s)", out)
    if rate is None or slowest is None:
        refuse(out)
    return float(rate[1]), float(slowest[1]) * MILLISECONDS[slowest[2]]

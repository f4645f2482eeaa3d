"""The processes of a bench: the service and the bare reference on one core, wrk on the other."""

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import NoReturn, Self

from app.cli.embedded import Postgres, Valkey

BASE = "/api/auth/v2"
BIN = Path(sys.executable).parent
START_SECONDS = 30.0

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

    def __init__(self, postgres: Postgres, valkey: Valkey, core: int) -> None:
        port, bare_port = free_port(), free_port()
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
        }
        self._environment = environment
        self._commands = [
            ["taskset", "-c", str(core), str(BIN / "gatehouse"), "serve", "--host", "127.0.0.1", "--port", str(port)],
            ["taskset", "-c", str(core), sys.executable, "-m", "bench.bare", str(bare_port)],
        ]
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        subprocess.run([BIN / "gatehouse", "migrate"], env=self._environment, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
        for command in self._commands:  # they write their log, which costs what it costs, and nobody reads it
            self._processes.append(subprocess.Popen(command, env=self._environment, stderr=subprocess.DEVNULL))  # noqa: S603
        _await(f"{self.url}/health/ready")
        _await(f"{self.bare_url}/me")
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(20)


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
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT % ",".join(f'"{token}"' for token in tokens))
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script.name, url]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
    if "ERRORS 0" not in out:
        refuse(f"wrk saw errors at {url}:\n{out}")
    match = re.search(r"Requests/sec:\s+([\d.]+)", out)
    return float(match[1]) if match else refuse(out)

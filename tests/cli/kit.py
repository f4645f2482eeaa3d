"""What the tests of the commands do over and over: run one, read what it says, wait for what it does."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

GATEHOUSE = Path(sys.executable).with_name("gatehouse")
ROOT = Path(__file__).parents[2]
PATIENCE = 60.0  # seconds until a test says that what it waits for will not happen; no test waits as long


class Process:
    """A process that is stopped with the test; its output is read line by line."""

    def __init__(self, *command: str | Path, cwd: Path, environment: Mapping[str, str] | None = None) -> None:
        self.popen = subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            env={**_clean(), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def read_until(self, words: str) -> str:
        """The first line that holds these words."""
        assert self.popen.stdout is not None
        with self._bounded():
            for line in self.popen.stdout:
                self.lines.append(line)
                if words in line:
                    return line
        raise AssertionError(f"ended without {words!r}:\n{self.output}")

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def ends(self) -> int:
        """The exit status, once it has one; what it said until then is in `output`."""
        assert self.popen.stdout is not None
        with self._bounded():
            self.lines.extend(self.popen.stdout)
            return self.popen.wait()

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """Kill a process that says nothing, and does not end, for too long."""
        killer = threading.Timer(PATIENCE, self.popen.kill)
        killer.start()
        try:
            yield
        finally:
            killer.cancel()

    def children(self) -> list[int]:
        text = Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children").read_text()
        return [int(number) for number in text.split()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        if self.popen.stdout is not None:
            self.popen.stdout.close()


def gatehouse(*words: str, cwd: Path, environment: Mapping[str, str] | None = None) -> Process:
    return Process(GATEHOUSE, *words, cwd=cwd, environment=environment)


def eventually(holds: Callable[[], bool], process: Process | None = None) -> None:
    """Wait for something that tells nobody when it happens; in vain, should the process that does it end."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        if process is not None and process.popen.poll() is not None:
            process.ends()
            raise AssertionError(f"ended:\n{process.output}")
        time.sleep(0.01)


def runs(pid: int) -> bool:
    """Whether there is such a process, and it is not only waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def listening_somewhere() -> Iterator[int]:
    """A port that is taken."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield int(taken.getsockname()[1])


def _clean() -> dict[str, str]:
    """The environment without settings: a developer's own must not decide about a test."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"PYTHONUNBUFFERED": "1"}

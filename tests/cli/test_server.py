"""The server survives its workers, leaves slowly, and leaves nobody behind."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from app.cli import children
from app.cli.refusal import PortUnusable
from app.cli.server import free_address
from tests.cli.kit import ROOT, Process, eventually, runs

FOR_EVER = 3600


class Stub(Process):
    """The stub server, and a client of it."""

    def __init__(self, workers: int = 1, drain_seconds: float = 0.0, **environment: str) -> None:
        self.port = children.free_port()
        command = [sys.executable, "-m", "tests.cli.stub", str(self.port), str(workers), str(drain_seconds)]
        super().__init__(*command, cwd=ROOT, environment=environment)

    def up(self) -> int:
        """The next worker that has started."""
        return int(self.read_until("up").split()[1])

    def get(self, path: str = "/") -> httpx.Response:
        # A worker listens a moment after it has started, and a killed one takes its queued connections along.
        with httpx.Client(transport=httpx.HTTPTransport(retries=10)) as client:
            return client.get(f"http://127.0.0.1:{self.port}{path}", timeout=30.0)


def test_a_worker_that_is_killed_over_and_over_is_replaced() -> None:
    with Stub() as server:
        for _ in range(3):
            os.kill(server.up(), signal.SIGKILL)
        last = server.up()

        assert server.get().text.split()[0] == str(last)

        server.signal(signal.SIGTERM)
        assert server.ends() == 0


def test_workers_that_are_killed_together_are_all_replaced() -> None:
    with Stub(workers=2) as server:
        for worker in (server.up(), server.up()):
            os.kill(worker, signal.SIGKILL)
        server.up()
        server.up()

        assert server.get().status_code == 200


def test_a_server_that_is_told_to_stop_drains_first() -> None:
    with Stub(workers=2, drain_seconds=FOR_EVER) as server:
        server.up()
        server.up()
        assert server.get("/ready").status_code == 200

        server.signal(signal.SIGTERM)

        eventually(lambda: server.get("/ready").status_code == 503)
        assert server.get("/").status_code == 200

        server.signal(signal.SIGTERM)
        assert server.ends() == 0


def test_a_worker_that_dies_during_the_drain_is_replaced() -> None:
    with Stub(drain_seconds=FOR_EVER) as server:
        worker = server.up()
        server.signal(signal.SIGTERM)
        eventually(lambda: server.get("/ready").status_code == 503)

        os.kill(worker, signal.SIGKILL)

        server.up()
        assert server.get("/ready").status_code == 503


def test_the_drain_ends_by_itself() -> None:
    with Stub(drain_seconds=0.1) as server:
        server.up()

        server.signal(signal.SIGTERM)

        assert server.ends() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_and_a_closed_terminal_do_not_drain(number: signal.Signals) -> None:
    with Stub(drain_seconds=FOR_EVER) as server:
        server.up()

        server.signal(number)

        assert server.ends() == 0


def test_a_request_under_way_is_answered(tmp_path: Path) -> None:
    release = tmp_path / "release"
    with Stub() as server, ThreadPoolExecutor(1) as pool:
        server.up()
        held = pool.submit(server.get, f"/held?{release}")
        server.read_until("held")

        server.signal(signal.SIGTERM)
        eventually(lambda: not _accepts(server.port))
        release.touch()

        assert held.result().status_code == 200
        assert server.ends() == 0


def test_a_worker_that_is_told_over_and_over_finishes_its_request(tmp_path: Path) -> None:
    release = tmp_path / "release"
    with Stub() as server, ThreadPoolExecutor(1) as pool:
        worker = server.up()
        held = pool.submit(server.get, f"/held?{release}")
        server.read_until("held")

        for _ in range(4):
            os.kill(worker, signal.SIGTERM)
            eventually(lambda: _pending_signals(worker) == 0)  # or they would become one
        eventually(lambda: not _accepts(server.port))
        release.touch()

        assert held.result().text.split()[0] == str(worker)
        assert server.up() != worker


def test_ctrl_c_at_the_terminal_reaches_the_parent_alone() -> None:
    with Stub() as server:
        server.up()
        _, session, _ = server.get().text.split()

        assert int(session) != os.getsid(server.popen.pid)


def test_ctrl_c_that_python_drops_before_it_serves_stops_it_all_the_same() -> None:
    """As it does with what a handler raises in a finalizer; imports are full of them."""
    with Stub(STUB_INTERRUPTED="yes") as server:
        assert server.ends() == 0

    assert "Exception ignored" in server.output


def test_a_killed_parent_takes_its_workers_along() -> None:
    with Stub(workers=2) as server:
        workers = [server.up(), server.up()]

        server.signal(signal.SIGKILL)

        eventually(lambda: not any(runs(worker) for worker in workers))


def test_an_application_that_cannot_start_ends_the_server() -> None:
    with Stub(STUB_FAILS="yes") as server:
        assert server.ends() == 1

    assert "the stub cannot start" in server.output


def test_nothing_is_left_in_the_temporary_directory() -> None:
    with Stub() as server:
        server.up()
        shared = Path(server.get().text.split()[2])
        assert (shared / "metrics").is_dir()

        server.signal(signal.SIGTERM)

        assert server.ends() == 0
        assert not shared.exists()


def test_a_port_that_a_server_listens_on_is_taken() -> None:
    """Though the system would let a second server of the same user share it."""
    with Stub() as server:
        server.up()
        eventually(lambda: _accepts(server.port))

        with pytest.raises(PortUnusable, match="--port"):
            free_address("127.0.0.1", server.port)


def _pending_signals(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().partition("ShdPnd:")[2].split()[0], 16)


def _accepts(port: int) -> bool:
    try:
        free_address("127.0.0.1", port)
    except PortUnusable:
        return True
    return False


def test_a_name_is_resolved_and_an_unknown_one_is_said() -> None:
    assert free_address("localhost", children.free_port()) in {"127.0.0.1", "::1"}

    with pytest.raises(PortUnusable, match=r"name-of\.nobody\.invalid"):
        free_address("name-of.nobody.invalid", 8000)


ORPHAN = """
import multiprocessing, os, time
from app.cli import worker

def come_late(parent):
    while os.getppid() == parent:
        time.sleep(0.01)
    worker.load("nowhere:nothing")

multiprocessing.get_context("fork").Process(target=come_late, args=(os.getpid(),)).start()
os._exit(0)
"""


def test_a_worker_whose_server_was_killed_before_it_began_does_not_begin() -> None:
    done = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, text=True, timeout=60, check=True)

    assert done.stderr == ""  # as it would be if the worker had gone on to what there is not

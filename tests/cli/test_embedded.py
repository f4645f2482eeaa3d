"""The stores that `gatehouse dev` and these tests bring along."""

import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from app.cli import children, files
from app.cli.embedded import Postgres, Valkey
from app.cli.refusal import DirectoryNotOurs, DirectoryUnusable, DoesNotStart, NotRunning, SecretLost, StatementRefused
from tests.cli.kit import ROOT, Process, eventually, runs

FAST = ["fsync=off", "shared_buffers=16MB"]

# A parent that starts both stores, says who they are, and waits to be killed.
PARENT = """
import sys, time
from pathlib import Path
from app.cli.embedded import Postgres, Valkey
directory = Path(sys.argv[1])
with Postgres(directory / "postgres", settings=["fsync=off"]) as postgres, Valkey(directory / "valkey") as valkey:
    print("pids", postgres.pid, valkey.pid, flush=True)
    time.sleep(600)
"""


def test_a_second_start_finds_the_data_again(tmp_path: Path) -> None:
    with Postgres(tmp_path / "postgres", settings=FAST) as first:
        first.sql("CREATE TABLE kept (word text); INSERT INTO kept VALUES ('here')", "gatehouse")

    with Postgres(tmp_path / "postgres", settings=FAST) as second:
        assert second.sql("SELECT word FROM kept", "gatehouse") == "here"


def test_a_database_is_made_once_and_can_be_copied(postgres: Postgres) -> None:
    postgres.create_database("cli_original")
    postgres.sql("CREATE TABLE word (it text)", "cli_original")

    postgres.create_database("cli_original")
    postgres.create_database("cli_copy", template="cli_original")

    assert postgres.sql("SELECT count(*) FROM word", "cli_copy") == "0"


def test_the_stores_ask_for_their_passwords(postgres: Postgres, valkey: Valkey) -> None:
    postgres_without, valkey_without = postgres.url().replace(postgres.password, "guess"), socket.socket()
    with valkey_without:
        valkey_without.connect(("127.0.0.1", valkey.port))
        valkey_without.sendall(b"PING\r\n")

        assert valkey_without.recv(64).startswith(b"-NOAUTH")
    assert "guess" in postgres_without
    assert "scram-sha-256" in postgres.sql("SELECT string_agg(auth_method, ',') FROM pg_hba_file_rules")


def test_only_their_owner_can_read_what_the_stores_keep(postgres: Postgres, valkey: Valkey) -> None:
    for store in (postgres, valkey):
        assert store.directory.stat().st_mode & 0o777 == 0o700
        assert (store.directory / "password").stat().st_mode & 0o777 == 0o600


def test_root_runs_the_stores_without_its_rights(postgres: Postgres, valkey: Valkey) -> None:
    for pid in (postgres.pid, valkey.pid):
        uids = Path(f"/proc/{pid}/status").read_text().partition("Uid:")[2].split()[:4]

        assert "0" not in uids


def test_what_stopped_is_not_running(tmp_path: Path) -> None:
    store = Valkey(tmp_path / "valkey")
    with store:
        pid = store.pid

    assert not runs(pid)
    with pytest.raises(NotRunning):
        _ = store.pid
    store.stop()  # and again, to no harm


def test_a_killed_parent_leaves_no_orphans(tmp_path: Path) -> None:
    with Process(sys.executable, "-c", PARENT, tmp_path, cwd=ROOT) as parent:
        pids = [int(word) for word in parent.read_until("pids").split()[1:]]

        parent.signal(signal.SIGKILL)

        eventually(lambda: not any(runs(pid) for pid in pids))


def test_a_start_after_a_crash_recovers(tmp_path: Path) -> None:
    with Postgres(tmp_path / "postgres", settings=FAST) as crashed:
        crashed.sql("CREATE TABLE kept ()", "gatehouse")
        os.kill(crashed.pid, signal.SIGKILL)
        eventually(lambda: not runs(crashed.pid))
        assert (crashed.data / "postmaster.pid").exists()

        with Postgres(tmp_path / "postgres", settings=FAST) as second:
            assert second.sql("SELECT count(*) FROM kept", "gatehouse") == "0"


def test_an_orphan_is_stopped_before_the_next_start(tmp_path: Path) -> None:
    """As a parent leaves one where the system cannot tell children of its death."""
    directory = tmp_path / "postgres"
    with Postgres(directory, settings=FAST) as orphan, Postgres(directory, settings=FAST) as second:
        assert not runs(orphan.pid)
        assert runs(second.pid)


def test_a_number_that_came_round_again_is_left_alone(tmp_path: Path) -> None:
    """After a restart of the machine the number in postmaster.pid may be anybody's: ours, here."""
    with Postgres(tmp_path / "postgres", settings=FAST):
        pass
    (tmp_path / "postgres" / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n")

    with Postgres(tmp_path / "postgres", settings=FAST) as second:
        assert runs(second.pid)


def test_a_taken_port_is_said_in_one_line(tmp_path: Path, valkey: Valkey) -> None:
    with pytest.raises(DoesNotStart, match=r"Valkey does not start: .*port"), Valkey(tmp_path / "v", valkey.port):
        pass
    with pytest.raises(DoesNotStart, match="PostgreSQL does not start"), Postgres(tmp_path / "p", valkey.port, FAST):
        pass


def test_a_free_port_that_is_taken_meanwhile_is_no_obstacle(
    tmp_path: Path, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = [valkey.port, children.free_port()]
    monkeypatch.setattr(children, "free_port", lambda: ports.pop(0))

    with Valkey(tmp_path / "valkey") as second:
        assert second.port != valkey.port


def test_a_wrong_setting_is_told_in_the_servers_words(tmp_path: Path) -> None:
    with (
        pytest.raises(DoesNotStart, match=r"no_such_setting"),
        Postgres(tmp_path / "p", settings=["fsync=off", "no_such_setting=1"]),
    ):
        pass


def test_a_statement_that_fails_is_told_in_the_servers_words(postgres: Postgres) -> None:
    with pytest.raises(StatementRefused, match="no_such_table"):
        postgres.sql("SELECT * FROM no_such_table")


def test_without_setpriv_the_stores_start_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS; only where the way to the data is closed to all but root, root needs it."""
    monkeypatch.setattr(children, "_prefix", tuple)
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)

        with Valkey(Path(directory) / "valkey") as store:
            assert runs(store.pid)


def test_a_directory_of_somebody_else_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    theirs = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: theirs)

    with pytest.raises(DirectoryNotOurs, match=f"{directory} belongs to .*--data-dir"):
        files.private_directory(directory)


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(DirectoryUnusable):
        files.private_directory(tmp_path / "file")
    with pytest.raises(DirectoryUnusable):
        files.private_directory(tmp_path / "file" / "data")


def test_a_directory_that_others_can_read_is_closed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)

    assert files.private_directory(tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_an_empty_secret_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / "secret").touch()

    with pytest.raises(SecretLost):
        files.kept_secret(tmp_path / "secret")

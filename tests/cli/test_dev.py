"""`gatehouse dev`: everything on one machine, by one command."""

import re
import signal
from pathlib import Path

import httpx

from app.cli import children
from tests.cli.kit import GATEHOUSE, Process, eventually, runs
from tests.kit import BASE


class Dev(Process):
    """A `gatehouse dev` in this directory."""

    def __init__(self, here: Path, *words: str, **environment: str) -> None:
        self.port = children.free_port()
        super().__init__(GATEHOUSE, "dev", "--port", str(self.port), *words, cwd=here, environment=environment)

    def ready(self) -> None:
        """All that it says on the way is in `output` afterwards."""
        self.read_until("stop  ")

    def log_in(self, username: str, password: str) -> int:
        url = f"http://127.0.0.1:{self.port}{BASE}/login"
        return httpx.post(url, json={"username": username, "password": password}).status_code

    def stops(self, number: signal.Signals = signal.SIGINT) -> None:
        self.signal(number)
        assert self.ends() == 0, self.output


def shown_password(output: str) -> str | None:
    found = re.search(r"^ *password +(\S+) +\(shown only now\)$", output, re.MULTILINE)
    return found and found[1]


def test_the_first_start_shows_how_to_sign_in_and_the_second_finds_the_data(here: Path) -> None:
    with Dev(here) as first:
        first.ready()
        password = shown_password(first.output)
        assert password
        assert f"http://localhost:{first.port}/docs" in first.output
        assert first.log_in("admin", password) == 200
        first.stops()

    with Dev(here) as second:
        second.ready()
        assert shown_password(second.output) is None
        assert second.log_in("admin", password) == 200
        assert "valkey.away" not in second.output  # the first one's Valkey is not waited for
        second.stops(signal.SIGTERM)


def test_a_killed_one_leaves_nobody_behind_and_the_next_start_recovers(here: Path) -> None:
    with Dev(here, "--workers", "2") as killed:
        killed.ready()
        children_of_it = killed.children()
        assert len(children_of_it) == 4  # PostgreSQL, Valkey, two workers

        killed.signal(signal.SIGKILL)

        eventually(lambda: not any(runs(child) for child in children_of_it))

    with Dev(here) as second:
        second.ready()
        second.stops()


def test_what_is_set_holds_but_for_the_stores(here: Path) -> None:
    (here / ".env").write_text("ADMIN_USERNAME=boss\nADMIN_PASSWORD=easy\nENVIRONMENT=production\n")
    with Dev(here, "--data-dir", "kept", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none", LOG_LEVEL="error") as dev:
        dev.ready()
        assert "stores of its own" in dev.output
        assert "easy" not in dev.output
        assert dev.log_in("boss", "easy") == 200
        dev.stops()
    assert (here / "kept").stat().st_mode & 0o777 == 0o700
    for secret in ("secret_key", "env"):
        assert (here / "kept" / secret).stat().st_mode & 0o777 == 0o600


def test_a_wrong_setting_is_exit_78_and_leaves_nobody_behind(here: Path) -> None:
    with Dev(here, LOG_LEVEL="loud") as dev:
        assert dev.ends() == 78
    assert "gatehouse: LOG_LEVEL: has to be one of" in dev.output


def test_ctrl_c_before_it_is_up_stops_it_as_well(here: Path) -> None:
    with Dev(here) as dev:
        dev.read_until("PostgreSQL runs")
        postgres = int((here / ".data/postgres/data/postmaster.pid").read_text().split()[0])

        dev.stops()

    assert not runs(postgres)


def test_a_second_one_on_the_same_data_is_refused_in_one_line_and_other_commands_find_the_stores(here: Path) -> None:
    with Dev(here) as dev:
        dev.ready()

        with Dev(here) as second:
            assert second.ends() == 1
        assert second.output.startswith("gatehouse: ")
        assert "in use by another" in second.output
        assert len(second.lines) == 1

        command = ["check", "--env-file", ".data/env"]
        with Process(GATEHOUSE, *command, cwd=here) as check:
            assert check.ends() == 0, check.output
        with Process(GATEHOUSE, "users", "set-password", "admin", "--env-file", ".data/env", cwd=here) as way_back:
            assert way_back.ends() == 0, way_back.output
        password = shown_password(way_back.output)
        assert password
        assert dev.log_in("admin", password) == 200
        dev.stops()

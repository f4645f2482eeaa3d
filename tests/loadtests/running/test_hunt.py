"""The hunt finds a service that goes on serving what has ended, and only that."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loadtests.service import serving

ROOT = Path(__file__).parents[3]


def hunt(host: str, reports: Path, password: str = "any") -> tuple[int, str]:
    words = ["--scenario", "hunt", "--users", "1", "--seconds", "4", "--host", host, "--reports", str(reports)]
    environment = {"PATH": os.environ["PATH"], "LOADTEST_ADMIN_PASSWORD": password}
    done = subprocess.run(
        [sys.executable, "-m", "loadtests", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def tried_and_accepted(output: str) -> tuple[int, int]:
    found = re.search(r"tried after their end: ([\d,]+), accepted: ([\d,]+)", output)
    assert found is not None, output
    return int(found[1].replace(",", "")), int(found[2].replace(",", ""))


def test_replicas_that_do_not_hear_of_an_end_are_found(tmp_path: Path) -> None:
    with serving(hear=False) as host:
        status, output = hunt(host, tmp_path)

    tried, accepted = tried_and_accepted(output)
    assert tried > 0
    assert accepted > 0
    assert status == 1
    assert "BROKEN  served after" in output
    assert (tmp_path / "hunt.html").exists()


def test_replicas_that_hear_are_not_accused(tmp_path: Path) -> None:
    with serving(hear=True) as host:
        _, output = hunt(host, tmp_path)

    tried, accepted = tried_and_accepted(output)
    assert tried > 0
    assert accepted == 0
    assert "failed: 0 of" in output


@pytest.mark.parametrize(("replicas", "password", "missing"), [(1, "any", "two replicas"), (2, "", "administrator")])
def test_a_hunt_that_lacks_something_fails(tmp_path: Path, replicas: int, password: str, missing: str) -> None:
    with serving(hear=True) as host:
        status, output = hunt(",".join(host.split(",")[:replicas]), tmp_path, password)

    assert status == 1
    assert missing in output


def test_a_service_that_is_not_there_fails_the_run(tmp_path: Path) -> None:
    with serving(hear=True) as host:
        pass

    assert hunt(host, tmp_path)[0] == 1

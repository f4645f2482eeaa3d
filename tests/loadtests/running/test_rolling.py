"""People who must notice nothing notice the one request that was not answered."""

import os
import subprocess
import sys
from pathlib import Path

from tests.loadtests.service import serving

ROOT = Path(__file__).parents[3]


def rolling(host: str, reports: Path) -> tuple[int, str]:
    words = ["--scenario", "rolling", "--users", "2", "--seconds", "4", "--host", host, "--reports", str(reports)]
    done = subprocess.run(
        [sys.executable, "-m", "loadtests", *words],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_one_request_without_an_answer_is_found(tmp_path: Path) -> None:
    with serving(hear=True, drops=100) as hosts:
        status, output = rolling(hosts.partition(",")[0], tmp_path)

    assert status == 1
    assert "BROKEN  failed" in output


def test_a_service_that_answers_all_is_not_accused(tmp_path: Path) -> None:
    with serving(hear=True) as hosts:
        status, output = rolling(hosts.partition(",")[0], tmp_path)

    assert status == 0, output

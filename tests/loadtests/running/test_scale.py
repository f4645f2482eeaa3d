"""A run at a given rate finds replicas that do not hear of a demotion or a logout, and counts what it asked."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.loadtests.service import serving

ROOT = Path(__file__).parents[3]
RATE, SECONDS = 500, 4  # a stay is 380 requests


def travel(host: str) -> tuple[int, str, dict[str, Any]]:
    words = ["--host", host, "--headless", "--only-summary", "--users", "1", "--settle-seconds", "0.2"]
    done = subprocess.run(
        [sys.executable, "-m", "locust", "-f", "loadtests/scale.py", *words],
        cwd=ROOT,
        input=f"{RATE} {SECONDS}\n",
        env={"PATH": os.environ["PATH"], "LOADTEST_ADMIN_PASSWORD": "any"},
        capture_output=True,
        text=True,
        check=False,
    )
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"event": "tried"')]
    assert len(told) == 1, done.stdout + done.stderr
    return done.returncode, done.stdout, told[0]


def test_replicas_that_do_not_hear_of_a_demotion_or_a_logout_are_found() -> None:
    with serving(hear=False) as host:
        status, output, _ = travel(host)

    assert status == 1
    assert "VIOLATION: served after a demotion" in output
    assert "VIOLATION: served after a logout" in output


def test_replicas_that_hear_are_not_accused_and_asked_at_the_rate() -> None:
    with serving(hear=True) as host:
        status, output, told = travel(host)

    assert status == 0, output
    assert told["failures"] == 0
    assert told["sign_in_times"]
    requests = sum(told["times"].values()) + sum(told["sign_in_times"].values())
    assert 0 < requests <= RATE * (told["seconds"] + 0.5)  # what was due, but for the turn that a message took

"""The attack finds a service that lets guess, and one that takes tokens which have expired."""

import os
import subprocess
import sys
from pathlib import Path

from tests.loadtests.service import serving

ROOT = Path(__file__).parents[3]


def attack(host: str, reports: Path, token: str) -> tuple[int, str]:
    words = ["--scenario", "attack", "--users", "15", "--seconds", "4", "--host", host, "--reports", str(reports)]
    done = subprocess.run(
        [sys.executable, "-m", "loadtests", *words],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "LOADTEST_EXPIRED_TOKEN": token},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_service_without_limits_that_takes_any_token_is_found(tmp_path: Path) -> None:
    with serving(hear=True) as host:
        status, output = attack(host, tmp_path, "a.b.c")

    assert status == 1
    assert "BROKEN  more guesses were judged than a limit allows" in output
    assert "BROKEN  taken, token: expired" in output
    assert "BROKEN  taken, token: forged" in output
    assert "nobody asked" in output  # nobody was told to stop, which is the least that has to happen


def test_an_attack_without_an_expired_token_fails(tmp_path: Path) -> None:
    with serving(hear=True) as host:
        status, output = attack(host, tmp_path, "")

    assert status == 1
    assert "LOADTEST_EXPIRED_TOKEN" in output

"""What pip-audit says is taken for what it means: a clean bill is one only where somebody was asked."""

import json
import subprocess
from typing import Any

import pytest

from tests import advisories
from tests.advisories import verdict

CLEAN = {"name": "good", "version": "1.0", "vulns": []}
BAD = {"name": "bad", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"]}]}
SKIPPED = {"name": "ours", "skip_reason": "Dependency not found on PyPI and could not be audited: ours (1.0)"}


def said(*dependencies: dict[str, Any]) -> str:
    return json.dumps({"dependencies": dependencies, "fixes": []})


def test_a_known_vulnerability_fails_and_is_named_with_what_mends_it() -> None:
    status, text = verdict(1, said(CLEAN, BAD), "Found 1 known vulnerability in 1 package")

    assert status == 1
    assert text.splitlines() == ["bad 2.0: PYSEC-1, mended in 2.1", "1 advisories against 2 packages"]


def test_a_clean_bill_names_who_was_not_known() -> None:
    assert verdict(0, said(CLEAN, SKIPPED), "") == (0, "0 advisories against 1 packages, 1 unknown to the index (ours)")


@pytest.mark.parametrize(
    ("status", "output", "errors"),
    [
        (0, said(SKIPPED), "No known vulnerabilities found"),
        (1, "", "Traceback\nrequests.exceptions.ConnectionError: nobody is there"),
        (1, "", ""),
    ],
)
def test_where_nobody_could_be_asked_that_is_said_in_one_line(status: int, output: str, errors: str) -> None:
    found, text = verdict(status, output, errors)

    assert found == 0
    assert text.startswith("advisories were not looked up: ")
    assert "\n" not in text


def test_a_wrong_command_is_no_missing_network() -> None:
    assert verdict(2, "", "usage: pip-audit\npip-audit: error: no such option") == (
        1,
        "pip-audit: error: no such option",
    )


def test_it_never_hangs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def hang(*_: object, timeout: float, **__: object) -> None:
        raise subprocess.TimeoutExpired("pip-audit", timeout)

    monkeypatch.setattr(subprocess, "run", hang)

    assert advisories.main("requirements/base.txt") == 0
    assert capsys.readouterr().out == "advisories were not looked up: no answer within 45 s\n"

"""`python -m tests.advisories FILE`: what is known against the versions that FILE pins; exit 1 if anything is.

pip-audit asks PyPI about each. Where nobody can be asked (a mirror that serves packages alone, no network) it must not
pass for a clean bill, and must not stop a check either: then it is said, in one line.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

AUDIT = Path(sys.executable).parent / "pip-audit"
SECONDS = 45.0  # for all of it; with PyPI about five
ANSWER_SECONDS = 5  # for one answer
USAGE = 2  # argparse's exit status: the command is wrong, not the network


def main(file: str) -> int:
    command: list[str | Path] = [
        AUDIT,
        "--requirement",
        file,
        "--require-hashes",
        "--disable-pip",
        "--timeout",
        str(ANSWER_SECONDS),
    ]
    try:
        done = subprocess.run(
            [*command, "--format", "json", "--progress-spinner", "off"],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return told(*unknown(f"no answer within {SECONDS:.0f} s"))
    return told(*verdict(done.returncode, done.stdout, done.stderr))


def verdict(status: int, output: str, errors: str) -> tuple[int, str]:
    """The exit status, and what there is to say."""
    last = (errors.strip().splitlines() or ["nothing said"])[-1][:200]
    if status == USAGE:
        return 1, last
    try:
        found: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except ValueError:
        return unknown(last)
    asked = [each for each in found if "vulns" in each]
    if not asked:
        return unknown("the index knows none of the packages")
    bad = [
        f"{each['name']} {each['version']}: {known['id']}, mended in {', '.join(known['fix_versions']) or 'no version'}"
        for each in asked
        for known in each["vulns"]
    ]
    skipped = [each["name"] for each in found if "vulns" not in each]
    unasked = f", {len(skipped)} unknown to the index ({', '.join(skipped)})" if skipped else ""
    return (1 if bad else 0), "\n".join([*bad, f"{len(bad)} advisories against {len(asked)} packages{unasked}"])


def unknown(why: str) -> tuple[int, str]:
    return 0, f"advisories were not looked up: {why}"


def told(status: int, text: str) -> int:
    print(text)  # noqa: T201 - that is what it is for
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

"""The image takes the argon2 that its processor can run."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.deploy.files import DEPLOY

SUPPORTED = "  x86-64-v3 (supported, searched)"
NOT_SUPPORTED = "  x86-64-v3"


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="ascii")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("said", "built", "native"),
    [
        (SUPPORTED, True, True),
        (NOT_SUPPORTED, True, False),
        (SUPPORTED, False, False),  # the image is for another kind of processor
    ],
)
def test_argon2_is_chosen_by_what_the_processor_can(tmp_path: Path, said: str, built: bool, native: bool) -> None:  # noqa: FBT001
    script(tmp_path / "loader", f"echo '{said}'")
    script(tmp_path / "gatehouse", 'echo "$PYTHONPATH|$*"')
    if built:
        (tmp_path / "x86-64-v3/_argon2_cffi_bindings").mkdir(parents=True)
    text = (DEPLOY / "entrypoint").read_text(encoding="utf-8")
    here = text.replace("/lib64/ld-linux-x86-64.so.2", str(tmp_path / "loader")).replace(
        "/opt/gatehouse", str(tmp_path)
    )
    script(tmp_path / "entrypoint", here)

    ran = subprocess.run(
        [tmp_path / "entrypoint", "users", "list", "--search", "ada lovelace"],
        env={"PATH": f"{tmp_path}:{os.defpath}", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )

    path = str(tmp_path / "x86-64-v3") if native else ""
    assert ran.stdout == f"{path}|users list --search ada lovelace\n"

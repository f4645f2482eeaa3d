"""`gatehouse openapi`: the document without a store and without a setting."""

import json

import pytest

from tests.cli.conftest import Run


def test_it_prints_the_document_without_any_setting(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("openapi") == 0

    document = json.loads(capsys.readouterr().out)
    assert document["openapi"].startswith("3.")
    assert "/api/auth/v2/login" in document["paths"]

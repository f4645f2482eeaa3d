"""What the tests of the trail share."""

import pytest

from app.audit import rollup


@pytest.fixture(autouse=True)
def patient_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks what was counted waits until it is, however slow this machine is."""
    monkeypatch.setattr(rollup, "READER_SECONDS", 20.0)

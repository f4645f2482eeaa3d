"""A database of the test's own, by the role that owns it and by the one that runs the service."""

from collections.abc import AsyncIterator

import pytest

from app.audit import rollup
from app.audit.rollup import RollUp
from app.database import Database
from tests.conftest import by_the_service


@pytest.fixture
async def db(own_database: str) -> AsyncIterator[Database]:
    database = Database(by_the_service(own_database), 5)
    await database.start()
    yield database
    await database.stop()


@pytest.fixture
def roll_up(db: Database) -> RollUp:
    return RollUp(db)


@pytest.fixture(autouse=True)
def patient_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks what was counted waits until it is, however slow this machine is."""
    monkeypatch.setattr(rollup, "READER_SECONDS", 20.0)

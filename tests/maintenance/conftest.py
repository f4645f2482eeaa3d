"""A database that nobody else looks at, and an administrator of two applications."""

from collections.abc import AsyncIterator

import pytest

from app.database import Database
from app.settings import Settings
from tests.conftest import ADMIN, Twins
from tests.kit import SignedIn, log_in
from tests.replica import settings_for


@pytest.fixture
def own_settings(own_database: str, valkey_url: str) -> Settings:
    """The default retention: 30 days for sessions, 400 for the audit; nobody else looks at this database."""
    return settings_for(own_database, valkey_url)


@pytest.fixture
async def db(own_settings: Settings) -> AsyncIterator[Database]:
    database = Database(own_settings.database_url, 2)
    await database.start()
    yield database
    await database.stop()


@pytest.fixture
async def root(twins: Twins) -> SignedIn:
    """The administrator of both."""
    return await log_in(twins.here, ADMIN)

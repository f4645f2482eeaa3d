"""A house of its own: examples name people and delete them, which should be nobody else's."""

from collections.abc import AsyncIterator

import pytest
from httpx import AsyncClient

from app import logs
from app.clients.service import digest
from app.documentation.samples import CLIENT_ID, CLIENT_SECRET
from app.identity.accounts import create_first_admin
from tests.conftest import ADMIN, Apart, with_mail
from tests.mail.kit import Postbox
from tests.replica import serving
from tests.servers import without_limits


@pytest.fixture(scope="session")
async def house(apart: Apart, postbox: Postbox) -> AsyncIterator[AsyncClient]:
    """Speaks to an application without limits and with an administrator."""
    settings = with_mail(without_limits(apart("documented")), postbox)
    logs.configure(settings)
    async with serving(settings) as replica:
        parts = replica.parts
        assert await create_first_admin(parts.db, parts.passwords, ADMIN.username, ADMIN.password)
        await parts.db.execute(  # the client of the examples
            "INSERT INTO clients (id, name, secret_digest) VALUES ($1, 'examples', $2)",
            CLIENT_ID,
            digest(CLIENT_SECRET),
        )
        yield replica.client

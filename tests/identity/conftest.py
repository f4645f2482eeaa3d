"""Who looks after accounts."""

from collections.abc import AsyncIterator

import pytest
from httpx import AsyncClient

from app.cli.embedded import Valkey
from app.identity.accounts import create_first_admin
from app.main import Parts, at_the_edge, create_app
from tests.conftest import http, settings_for
from tests.identity.kit import ROOT, Twins, new_role, person
from tests.kit import SignedIn, log_in


@pytest.fixture
async def twins(own_database: str, own_valkey: Valkey) -> AsyncIterator[Twins]:
    """Two applications on stores of their own, where ROOT is the only administrator."""
    settings = settings_for(own_database, own_valkey.url)
    here, there = create_app(settings), create_app(settings)
    async with here.lifespan(), there.lifespan():
        parts: Parts = here.state.parts
        await create_first_admin(parts.db, parts.passwords, ROOT.username, ROOT.password)
        async with http(at_the_edge(here)) as one, http(at_the_edge(there)) as other:
            yield Twins(one, other, parts)


@pytest.fixture
async def deputy(client: AsyncClient, admin: SignedIn, parts: Parts) -> SignedIn:
    """Somebody who looks after accounts and is no administrator."""
    role = await new_role(parts, "users:read", "users:write")
    return await log_in(client, await person(admin, roles=[role]))

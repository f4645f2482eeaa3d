"""Somebody who looks after accounts, and a hasher whose only thread a test can hold."""

from collections.abc import AsyncIterator

import pytest
from argon2 import PasswordHasher
from httpx import AsyncClient

from app.identity import passwords as module
from app.identity.passwords import Passwords
from app.parts import Parts
from tests.identity.kit import CHEAP, new_role, person
from tests.kit import SignedIn, log_in
from tests.replica import Start


@pytest.fixture
async def deputy(client: AsyncClient, admin: SignedIn, parts: Parts) -> SignedIn:
    """Somebody who looks after accounts and is no administrator."""
    role = await new_role(parts, "users:read", "users:write")
    return await log_in(client, await person(admin, roles=[role]))


@pytest.fixture
async def keeper(client: AsyncClient, admin: SignedIn, parts: Parts) -> SignedIn:
    """Somebody who hands out roles, sees accounts, and is no administrator."""
    role = await new_role(parts, "roles:write", "users:read")
    return await log_in(client, await person(admin, roles=[role]))


@pytest.fixture
async def unlimited(start: Start) -> list[AsyncClient]:
    """Two applications on stores of their own that count no wrong codes: of fifty, each is looked at."""
    return [(await start(rate_limit_mfa=None)).client for _ in range(2)]


@pytest.fixture
async def passwords(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Passwords]:
    """One thread, so that a test can hold it."""
    monkeypatch.setattr(module, "cores", lambda: 1.0)
    passwords = Passwords(CHEAP)
    yield passwords
    await passwords.stop()


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hashes that are run, each verification in full."""
    run: list[str] = []
    verify = PasswordHasher.verify

    def spy(hasher: PasswordHasher, stored: str, secret: bytes) -> bool:
        run.append(stored)
        return verify(hasher, stored, secret)

    monkeypatch.setattr(PasswordHasher, "verify", spy)
    return run

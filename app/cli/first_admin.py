"""The first administrator, made where there is no user at all."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from app.database import Database
from app.identity import accounts
from app.identity.passwords import Passwords
from app.settings import Settings


async def make(settings: Settings, password: str) -> bool:
    """Whether it was made: False where somebody is there already."""
    async with means(settings) as (db, passwords):
        return await accounts.create_first_admin(db, passwords, settings.admin_username, password)


@asynccontextmanager
async def means(settings: Settings) -> AsyncGenerator[tuple[Database, Passwords]]:
    """What it takes to make an account."""
    db, passwords = Database.of(settings, size=1), Passwords(settings, workers=1)
    await db.start()
    try:
        yield db, passwords
    finally:
        await passwords.stop()
        await db.stop()

"""The parts of the service for a command, which changes things as a server does."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from app.parts import Parts, assemble
from app.settings import Settings
from db.incarnation import Unfit


@asynccontextmanager
async def at_work(settings: Settings) -> AsyncGenerator[Parts]:
    """A change is seen by every replica before the command returns, so it takes part in the outbox as a server does."""
    parts = assemble(settings)
    await parts.db.start()
    await parts.lists.start()
    try:
        async with parts.db.connection():
            pass  # it says what is wrong with PostgreSQL; the outbox would only find that something is
        await parts.entries.start()
        if parts.entries.outbox.told_by:
            raise Unfit(parts.entries.outbox.told_by)
        yield parts
    finally:
        await parts.passwords.stop()
        await parts.entries.stop()
        await parts.lists.stop()
        await parts.db.stop()

"""Bringing the schema to head: safe from any number of replicas at once, in one transaction."""

import io
from pathlib import Path

import asyncpg
from advanced_alchemy.alembic.commands import AlembicCommands
from advanced_alchemy.config import AlembicAsyncConfig, SQLAlchemyAsyncConfig
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from db.revisions import applied, known, missing

CONNECT_TIMEOUT = 10  # seconds until a database that does not answer is called unreachable


def engine_for(database_url: str) -> AsyncEngine:
    """An engine on asyncpg's own reading of the URL, so that every part of the house understands the same URLs."""

    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(database_url, timeout=CONNECT_TIMEOUT)

    return create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)


async def upgrade(database_url: str) -> None:
    """Apply every migration that is missing; waits for another start that is at it.

    A schema that is newer than this release is left alone: whoever goes back to it runs its `gatehouse migrate`, too.
    """
    if not await pending(database_url):
        return
    engine = engine_for(database_url)
    commands = AlembicCommands(_config(engine))

    def run(connection: Connection) -> None:
        commands.config.attributes["connection"] = connection
        commands.upgrade()

    try:
        async with engine.connect() as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()


async def pending(database_url: str) -> list[str]:
    """The known migrations that this database lacks, in order."""
    connection = await asyncpg.connect(database_url, timeout=CONNECT_TIMEOUT)
    try:
        return missing(await applied(connection))
    finally:
        await connection.close()


def plan(revisions: list[str]) -> str:
    """The SQL that `upgrade` would run for these revisions, which are the newest."""
    if not revisions:
        return ""
    out = io.StringIO()
    commands = AlembicCommands(_config(create_async_engine("postgresql+asyncpg://")))
    commands.config.output_buffer = out
    before = sorted(known() - set(revisions))
    commands.upgrade(f"{before[-1] if before else 'base'}:{revisions[-1]}", sql=True)
    return out.getvalue()


def _config(engine: AsyncEngine) -> SQLAlchemyAsyncConfig:
    here = Path(__file__).parent
    return SQLAlchemyAsyncConfig(
        engine_instance=engine,
        alembic_config=AlembicAsyncConfig(
            script_config="", script_location=str(here / "migrations"), version_table_name="schema_version"
        ),
    )

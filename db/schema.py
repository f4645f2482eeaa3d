"""Bringing the schema to head: safe from any number of replicas at once, in one transaction."""

import io
import re
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

import asyncpg
from advanced_alchemy.alembic.commands import AlembicCommands
from advanced_alchemy.config import AlembicAsyncConfig, SQLAlchemyAsyncConfig
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from db import locking
from db.connection import CONNECT_TIMEOUT
from db.revisions import applied, known, missing

RUNNING = re.compile(r"^-- Running upgrade (?:\d+)? ?-> (\d+)$", re.MULTILINE)  # Alembic's line above each migration


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
    statements = statements_of(ScriptDirectory.from_config(commands.config))
    return RUNNING.sub(lambda line: f"{line[0]}\n{_locks(line[1], statements)}", out.getvalue())


def statements_of(scripts: ScriptDirectory) -> dict[str, list[str]]:
    """The SQL of each migration."""
    return {script.revision: script.module.STATEMENTS for script in scripts.walk_revisions()}


def _locks(revision: str, statements: Mapping[str, list[str]]) -> str:
    """What it locks, as comments; not of tables that it makes itself."""
    tables = locking.indexes(chain.from_iterable(statements.values()))
    found = locking.locked(statements[revision], tables)
    lines = [f"-- locks {table} ({mode}): {locking.WAITS[mode]}" for table, mode in found.items()]
    return "\n".join(lines or ["-- locks no table that is there before"])


def _config(engine: AsyncEngine) -> SQLAlchemyAsyncConfig:
    here = Path(__file__).parent
    return SQLAlchemyAsyncConfig(
        engine_instance=engine,
        alembic_config=AlembicAsyncConfig(
            script_config="", script_location=str(here / "migrations"), version_table_name="schema_version"
        ),
    )

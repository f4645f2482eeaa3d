"""Alembic's environment: one transaction under an advisory lock, with a bounded wait for any table's lock."""

from alembic import context
from sqlalchemy import Connection, text

from db import locks, tables

LOCK_TIMEOUT = "5s"  # a table that is busy longer fails the migration instead of stopping every request behind it
FIRST = (f"SELECT pg_advisory_xact_lock({locks.MIGRATION})", f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=tables.metadata,
        version_table="schema_version",
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        for statement in FIRST:
            connection.execute(text(statement))
        context.run_migrations()


if context.is_offline_mode():
    context.configure(
        dialect_name="postgresql", target_metadata=tables.metadata, version_table="schema_version", literal_binds=True
    )
    with context.begin_transaction():
        for statement in FIRST:
            context.execute(statement)
        context.run_migrations()
else:
    migrate(context.config.attributes["connection"])

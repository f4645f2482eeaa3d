"""Alembic's environment: one transaction under an advisory lock, with a bounded wait for any table's lock."""

from alembic import context
from sqlalchemy import Connection, text

from db import tables

# Any two starts that find the schema old wait for each other here, whichever host they run on.
MIGRATION_LOCK = 4_849_321_706  # "gatehouse" as a number nobody else is likely to use
LOCK_TIMEOUT = "5s"  # a table that is busy longer fails the migration instead of stopping every request behind it


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=tables.metadata,
        version_table="schema_version",
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
        context.run_migrations()


if context.is_offline_mode():
    context.configure(
        dialect_name="postgresql", target_metadata=tables.metadata, version_table="schema_version", literal_binds=True
    )
    with context.begin_transaction():
        context.run_migrations()
else:
    migrate(context.config.attributes["connection"])

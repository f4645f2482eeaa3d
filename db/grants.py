"""The rights of a role that runs the service and owns nothing: it can add to the audit, and change nothing there.

A role has them until they are revoked; whoever migrates anew gives them anew, for there may be more tables.
"""

import asyncpg

from db import locks
from db.connection import CONNECT_TIMEOUT, Connection

# What an event says; its id and its time are the database's own.
EVENT = "event, user_id, actor_id, session_id, ip_address, user_agent, request_id, details"
ONLY_READ = (
    "audit_events",
    "audit_retention",
    "incarnation",
    "schema_history",
    "schema_version",
    "user_names",
    "user_languages",
)
FUNCTIONS = (
    "audit_blank(bigint, boolean, bigint, integer)",
    "audit_add_month(date)",
    "audit_drop_month(date)",
    "audit_delete_old(integer, integer)",
)
TABLES = """
    SELECT quote_ident(c.relname) AS name, c.relispartition
    FROM pg_class c
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v') AND c.relowner =
          (SELECT relowner FROM pg_class WHERE oid = 'audit_events'::regclass)
    ORDER BY 1
"""
HOLDERS = """
    SELECT DISTINCT r.rolname AS name
    FROM pg_attribute a CROSS JOIN aclexplode(a.attacl) AS x JOIN pg_roles r ON r.oid = x.grantee
    WHERE a.attrelid = 'audit_events'::regclass AND x.privilege_type = 'INSERT' ORDER BY 1
"""
OWNS = """
    SELECT pg_has_role($1::name, relowner, 'USAGE') FROM pg_class WHERE oid = 'audit_events'::regclass
"""
MAY_CHANGE = """
    SELECT pg_has_role(c.relowner, 'USAGE') OR has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE, TRIGGER')
           OR has_any_column_privilege(c.oid, 'UPDATE') OR has_schema_privilege(current_schema(), 'CREATE')
    FROM pg_class c WHERE c.oid = 'audit_events'::regclass
"""


class Unfit(Exception):
    """The role cannot be one that runs the service and owns nothing; says why."""


async def grant(database_url: str, role: str | None, retention_days: int) -> list[str]:
    """Give a role what the service needs, and nothing else, and those anew who have it; who they are.

    From then on none of them can take an event away that is younger than `retention_days`.

    Raises:
        Unfit: there is no such role, or it owns the tables.
    """
    connection = await asyncpg.connect(database_url, timeout=CONNECT_TIMEOUT)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", locks.MIGRATION)
            if role is not None:
                await _require(connection, role)
            elif not await connection.fetchval(OWNS, await connection.fetchval("SELECT current_user")):
                return []
            roles = sorted({row["name"] for row in await connection.fetch(HOLDERS)} | ({role} if role else set()))
            for each in roles:
                await _grant(connection, await connection.fetchval("SELECT quote_ident($1)", each))
            if roles:
                await connection.execute("UPDATE audit_retention SET days = $1", retention_days)
            return roles
    finally:
        await connection.close()


async def held(connection: Connection) -> tuple[str, int] | None:
    """This role, and the days before which it cannot take an event away; None if it can change the audit."""
    if await connection.fetchval("SELECT to_regclass('audit_retention')") is None or await connection.fetchval(
        MAY_CHANGE
    ):
        return None
    return await connection.fetchval("SELECT current_user"), await connection.fetchval(
        "SELECT days FROM audit_retention"
    )


async def _require(connection: "asyncpg.Connection[asyncpg.Record]", role: str) -> None:
    if await connection.fetchval("SELECT to_regrole(quote_ident($1))", role) is None:
        raise Unfit("there is no such role; make it with CREATE ROLE … LOGIN")
    if await connection.fetchval(OWNS, role):
        raise Unfit("it owns the tables, or is a superuser; the service needs another one")


async def _grant(connection: "asyncpg.Connection[asyncpg.Record]", role: str) -> None:
    schema = await connection.fetchval("SELECT quote_ident(current_schema())")
    tables = await connection.fetch(TABLES)
    changed = [row["name"] for row in tables if not row["relispartition"] and row["name"] not in ONLY_READ]
    for statement in (
        f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC, {role}",
        f"GRANT USAGE ON SCHEMA {schema} TO {role}",
        f"REVOKE ALL ON {', '.join(row['name'] for row in tables)} FROM {role}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(changed)} TO {role}",
        f"GRANT SELECT ON {', '.join(ONLY_READ)} TO {role}",
        f"GRANT INSERT ({EVENT}) ON audit_events TO {role}",
        f"GRANT SELECT, USAGE ON SEQUENCE audit_events_id_seq TO {role}",
        *(f"GRANT EXECUTE ON FUNCTION {function} TO {role}" for function in FUNCTIONS),
    ):
        await connection.execute(statement)

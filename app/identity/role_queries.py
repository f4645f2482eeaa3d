"""Statements on roles and what they allow.

Whatever changes a role takes its turn first, so that one change sees what the one before it has left. An application's
permission is one without a description: it is there for as long as a role names it.
"""

from collections.abc import Sequence

import asyncpg

from app.database import Database, Transaction

LONG = 60  # seconds, where a statement has 5 otherwise: to rename a role that a million people hold takes some 20

ROLES = """
    SELECT r.name, r.description, r.built_in,
           CASE WHEN r.name = 'admin' THEN ARRAY(SELECT name FROM permissions ORDER BY name)
           ELSE ARRAY(SELECT permission FROM role_permissions p WHERE p.role = r.name ORDER BY permission) END
           AS permissions
    FROM roles r
"""


async def everything(db: Database) -> list[asyncpg.Record]:
    return await db.fetch(f"{ROLES} ORDER BY r.name")


async def one(db: Database, name: str) -> asyncpg.Record | None:
    return await db.fetchrow(f"{ROLES} WHERE r.name = $1", name)


async def permissions(db: Database) -> list[asyncpg.Record]:
    return await db.fetch("SELECT name, description FROM permissions ORDER BY name")


# ---- changing -----------------------------------------------------------------------------------------------------


async def take_turn(tx: Transaction) -> None:
    """Give the role table its next number; until the transaction ends nobody else changes a role, or hands one out."""
    await tx.execute("UPDATE role_table SET number = number + 1")


async def hold_still(tx: Transaction) -> None:
    """Until the transaction ends nobody changes a role: who has which may be read and then written. Before users."""
    await tx.execute("SELECT FROM role_table FOR SHARE")


async def hold(tx: Transaction, name: str) -> asyncpg.Record | None:
    """A role, after whoever is just being given it has it: nobody can be given it until the transaction ends."""
    await tx.execute("SELECT FROM roles WHERE name = $1 FOR UPDATE", name)
    return await tx.fetchrow(f"{ROLES} WHERE r.name = $1", name)


async def add(tx: Transaction, name: str, description: str, most: int) -> bool:
    """Whether it was added: the index decides about the name."""
    added = await tx.fetchval(
        """
        INSERT INTO roles (name, description, created_at)
        SELECT $1, $2, clock_timestamp() WHERE (SELECT count(*) FROM roles) < $3
        ON CONFLICT DO NOTHING RETURNING name
        """,
        name,
        description,
        most,
    )
    return added is not None


async def is_taken(tx: Transaction, name: str) -> bool:
    taken: bool = await tx.fetchval("SELECT EXISTS (SELECT FROM roles WHERE name = $1)", name)
    return taken


async def rename(tx: Transaction, name: str, new: str) -> None:
    """Whoever has it has it by the new name. Raises asyncpg.UniqueViolationError where that is taken."""
    await _take_long(tx)
    await tx.execute("UPDATE roles SET name = $2 WHERE name = $1", name, new, timeout=LONG)


async def describe(tx: Transaction, name: str, description: str) -> None:
    await tx.execute("UPDATE roles SET description = $2 WHERE name = $1", name, description)


async def misspelt(tx: Transaction, permissions: Sequence[str]) -> bool:
    """Whether one is of a resource of Gatehouse's own, and none of the permissions there."""
    found: bool = await tx.fetchval(
        """
        WITH own AS (SELECT name FROM permissions WHERE description <> '')
        SELECT EXISTS (
            SELECT FROM unnest($1::text[]) AS wanted (name)
            WHERE name NOT IN (SELECT name FROM own)
              AND split_part(name, ':', 1) IN (SELECT split_part(name, ':', 1) FROM own)
        )
        """,
        permissions,
    )
    return found


async def allow(tx: Transaction, role: str, permissions: Sequence[str]) -> int:
    """Make exactly these the permissions of a role; how many permissions there are then in all."""
    await tx.execute(
        "DELETE FROM role_permissions WHERE role = $1 AND permission <> ALL($2::text[])", role, permissions
    )
    await tx.execute("INSERT INTO permissions (name) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING", permissions)
    await tx.execute(
        """
        INSERT INTO role_permissions (role, permission) SELECT $1, unnest($2::text[]) ON CONFLICT DO NOTHING
        """,
        role,
        permissions,
    )
    await sweep(tx)
    count: int = await tx.fetchval("SELECT count(*) FROM permissions")
    return count


async def remove(tx: Transaction, name: str) -> int:
    """Delete a role, and take it from whoever has it; how many had."""
    holders: int = await tx.fetchval("SELECT count(*) FROM user_roles WHERE role = $1", name)
    await _take_long(tx)
    await tx.execute("DELETE FROM roles WHERE name = $1", name, timeout=LONG)
    await sweep(tx)
    return holders


async def sweep(tx: Transaction) -> None:
    """Forget the permissions of applications that no role names any more."""
    await tx.execute(
        """
        DELETE FROM permissions p
        WHERE p.description = '' AND NOT EXISTS (SELECT FROM role_permissions r WHERE r.permission = p.name)
        """
    )


async def _take_long(tx: Transaction) -> None:
    """What of the statements of this transaction waits for nobody may take LONG."""
    await tx.execute("SELECT set_config('statement_timeout', $1, true)", f"{LONG}s")

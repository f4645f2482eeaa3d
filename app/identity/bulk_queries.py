"""Statements on many accounts at once."""

from collections.abc import Iterable, Mapping, Sequence

import asyncpg
from msgspec import Struct

from app.database import Database, Transaction
from app.identity.queries import COLUMNS, entry
from app.identity.structs import UserEntry
from db import locks


class NewAccount(Struct, frozen=True):
    """A row that is to be; its address is not proved."""

    username: str
    email: str | None
    full_name: str | None
    password_hash: str | None
    is_active: bool
    must_change_password: bool


async def take_turn(tx: Transaction) -> None:
    """Let imports come one after the other, batch by batch, so that none waits for another's rows in another order."""
    await tx.execute("SELECT pg_advisory_xact_lock($1)", locks.IMPORT)


async def known(db: Database | Transaction, names: Sequence[str]) -> set[str]:
    """Which of these names, in lower case, local users have."""
    rows = await db.fetch(
        """
        SELECT lower(username) AS name FROM users WHERE provider = 'local' AND lower(username) = ANY($1::text[])
        """,
        names,
    )
    return {row["name"] for row in rows}


async def hold(tx: Transaction, names: Sequence[str]) -> dict[str, UserEntry]:
    """The local users who have these names, in lower case; held until the transaction ends, by ascending ids."""
    held = await tx.fetch(
        """
        SELECT id FROM users WHERE provider = 'local' AND lower(username) = ANY($1::text[])
        ORDER BY id FOR NO KEY UPDATE
        """,
        names,
    )
    rows = await tx.fetch(
        f"SELECT {COLUMNS} FROM users u WHERE u.id = ANY($1::bigint[])",  # noqa: S608 - constants
        [row["id"] for row in held],
    )
    return {row["username"].lower(): entry(row) for row in rows}


async def permissions_of(tx: Transaction, roles: Sequence[str]) -> dict[str, frozenset[str]]:
    """What each of these roles allows, as far as there are such; none of them is deleted until the transaction ends."""
    rows = await tx.fetch(
        """
        SELECT r.name, ARRAY(SELECT p.permission FROM role_permissions p WHERE p.role = r.name) AS permissions
        FROM roles r WHERE r.name = ANY($1::text[]) ORDER BY r.name FOR KEY SHARE OF r
        """,
        roles,
    )
    return {row["name"]: frozenset(row["permissions"]) for row in rows}


async def add(tx: Transaction, accounts: Sequence[NewAccount]) -> dict[str, int]:
    """The new ids by the names in lower case; whose name or address is taken is left out, which the indexes decide."""
    rows = await tx.fetch(
        """
        INSERT INTO users (username, email, full_name, password_hash, is_active, must_change_password)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bool[], $6::bool[])
        ON CONFLICT DO NOTHING RETURNING id, lower(username) AS name
        """,
        [each.username for each in accounts],
        [each.email for each in accounts],
        [each.full_name for each in accounts],
        [each.password_hash for each in accounts],
        [each.is_active for each in accounts],
        [each.must_change_password for each in accounts],
    )
    return {row["name"]: row["id"] for row in rows}


async def holders(tx: Transaction, emails: Iterable[str]) -> dict[str, int]:
    """Who has these addresses."""
    rows = await tx.fetch("SELECT id, email FROM users WHERE email = ANY($1::text[])", list(emails))
    return {row["email"]: row["id"] for row in rows}


async def active_admins(tx: Transaction) -> int:
    found: int = await tx.fetchval(
        "SELECT count(*) FROM user_roles r JOIN users u ON u.id = r.user_id WHERE r.role = 'admin' AND u.is_active"
    )
    return found


async def update(tx: Transaction, people: Sequence[UserEntry]) -> None:
    """Write the profiles of these as they are to be.

    Raises:
        asyncpg.UniqueViolationError: somebody has just taken one of the addresses.
    """
    await tx.execute(
        """
        UPDATE users u SET email = v.email, email_verified = v.email_verified, full_name = v.full_name,
               is_active = v.is_active, updated_at = now()
        FROM unnest($1::bigint[], $2::text[], $3::bool[], $4::text[], $5::bool[])
            AS v (id, email, email_verified, full_name, is_active)
        WHERE u.id = v.id
        """,
        [each.id for each in people],
        [each.email for each in people],
        [each.email_verified for each in people],
        [each.full_name for each in people],
        [each.is_active for each in people],
    )


async def change_roles(tx: Transaction, changes: Mapping[int, tuple[Iterable[str], Iterable[str]]]) -> None:
    """Give users roles that there are, and take some away: by the user, which to add and which to remove."""
    added = [(user_id, role) for user_id, (roles, _) in changes.items() for role in roles]
    removed = [(user_id, role) for user_id, (_, roles) in changes.items() for role in roles]
    if removed:
        await tx.execute(
            """
            DELETE FROM user_roles r USING unnest($1::bigint[], $2::text[]) AS v (user_id, role)
            WHERE r.user_id = v.user_id AND r.role = v.role
            """,
            [user_id for user_id, _ in removed],
            [role for _, role in removed],
        )
    if added:
        await tx.execute(
            "INSERT INTO user_roles (user_id, role) SELECT * FROM unnest($1::bigint[], $2::text[])",
            [user_id for user_id, _ in added],
            [role for _, role in added],
        )


async def after(db: Database, user_id: int, most: int) -> list[asyncpg.Record]:
    """The next users by their ids, with their hashes."""
    return await db.fetch(
        f"SELECT {COLUMNS}, u.password_hash FROM users u WHERE u.id > $1 ORDER BY u.id LIMIT $2",  # noqa: S608 - constants
        user_id,
        most,
    )

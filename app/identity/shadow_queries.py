"""Statements on shadows: the accounts here of GPUStack's users."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
from msgspec import Struct

from app.database import Database, Transaction
from app.identity.queries import COLUMNS
from app.providers import GPUSTACK
from app.sessions.queries import Gate
from app.sessions.structs import ADMIN

FRESH = "up.verified_at > clock_timestamp() - make_interval(hours => $3)"


class Shadow(Struct, frozen=True):
    """As much of a shadow as decides about a sign-in."""

    identity_id: UUID
    subject: str
    user_id: int
    has_email: bool
    verifier: str | None  # of the password that GPUStack last took, while it may stand in for it


async def by_name(db: Database, issuer: str, username: str, hours: int) -> Shadow | None:
    row = await db.fetchrow(
        f"""
        SELECT i.id, i.subject, u.id AS user_id, u.email IS NOT NULL AS has_email,
               CASE WHEN u.is_active AND {FRESH} THEN up.password_hash END AS verifier
        FROM users u JOIN identities i ON i.user_id = u.id AND i.issuer = $1
        LEFT JOIN upstream_users up ON up.identity_id = i.id
        WHERE u.provider = '{GPUSTACK}' AND u.username = $2
        """,  # noqa: S608 - constants
        issuer,
        username,
        hours,
    )
    return None if row is None else Shadow(*row)


def offline_gate(shadow: Shadow, hours: int) -> Gate:
    """Lets in who is still active, by the verifier that was asked while it still may stand in; notes the login."""
    return Gate(
        f"""
        UPDATE users u SET last_login = clock_timestamp()
        FROM identities i JOIN upstream_users up ON up.identity_id = i.id
        WHERE i.id = $1 AND u.id = i.user_id AND u.is_active AND NOT u.mfa_enabled
              AND up.password_hash = $2 AND {FRESH}
        RETURNING {COLUMNS}
        """,  # noqa: S608 - constants
        (shadow.identity_id, shadow.verifier, hours),
    )


# ---- held -----------------------------------------------------------------------------------------------------------


async def hold(tx: Transaction, issuer: str, subject: str, username: str | None = None) -> None:
    """The shadow of a subject, and that of a name, until the transaction ends: everybody by ascending ids."""
    await tx.execute(
        f"""
        SELECT FROM users u
        WHERE u.id = (SELECT user_id FROM identities WHERE issuer = $1 AND subject = $2)
              OR (u.provider = '{GPUSTACK}' AND u.username = $3)
        ORDER BY u.id FOR NO KEY UPDATE
        """,  # noqa: S608 - constants
        issuer,
        subject,
        username,
    )


async def held(tx: Transaction, issuer: str, subject: str) -> asyncpg.Record | None:
    """The shadow of a subject, with its identity and by whom it was deactivated."""
    return await tx.fetchrow(
        f"""
        SELECT {COLUMNS}, i.id AS identity_id, i.created_at AS known_since, clock_timestamp() AS now,
               coalesce(up.deactivated_there, false) AS deactivated_there
        FROM identities i JOIN users u ON u.id = i.user_id LEFT JOIN upstream_users up ON up.identity_id = i.id
        WHERE i.issuer = $1 AND i.subject = $2
        """,  # noqa: S608 - constants
        issuer,
        subject,
    )


async def namesake(tx: Transaction, username: str) -> int | None:
    """Whose shadow has this name."""
    user_id: int | None = await tx.fetchval(
        f"SELECT id FROM users WHERE provider = '{GPUSTACK}' AND username = $1",  # noqa: S608 - constants
        username,
    )
    return user_id


async def retire(tx: Transaction, identity_id: UUID) -> None:
    """Its subject is somebody else by now; GPUStack knows nobody by what takes its place."""
    await tx.execute("UPDATE identities SET subject = subject || '~' || id WHERE id = $1", identity_id)


async def rename(tx: Transaction, user_id: int, username: str) -> None:
    """Raises asyncpg.UniqueViolationError where another shadow has the name."""
    await tx.execute("UPDATE users SET username = $2, updated_at = now() WHERE id = $1", user_id, username)


async def update(tx: Transaction, user_id: int, *, username: str, full_name: str | None, is_active: bool) -> None:
    """Raises asyncpg.UniqueViolationError where another shadow has the name."""
    await tx.execute(
        "UPDATE users SET username = $2, full_name = $3, is_active = $4, updated_at = now() WHERE id = $1",
        user_id,
        username,
        full_name,
        is_active,
    )


async def has_identity(tx: Transaction, user_id: int, identity_id: UUID) -> bool:
    found: bool = await tx.fetchval(
        "SELECT EXISTS (SELECT FROM identities WHERE id = $1 AND user_id = $2)", identity_id, user_id
    )
    return found


# ---- compared with the list -----------------------------------------------------------------------------------------


class Known(Struct, frozen=True):
    """What is compared with the list."""

    identity_id: UUID
    subject: str
    username: str
    full_name: str | None
    is_active: bool
    deactivated_there: bool
    is_admin: bool
    known_since: datetime
    now: datetime


async def known(db: Database, issuer: str, after: UUID, most: int) -> Sequence[Known]:
    """Shadows of an instance, in the order of their identities."""
    rows = await db.fetch(
        f"""
        SELECT i.id, i.subject, u.username, u.full_name, u.is_active, coalesce(up.deactivated_there, false),
               EXISTS (SELECT FROM user_roles r WHERE r.user_id = u.id AND r.role = '{ADMIN}'),
               i.created_at, clock_timestamp()
        FROM identities i JOIN users u ON u.id = i.user_id LEFT JOIN upstream_users up ON up.identity_id = i.id
        WHERE i.issuer = $1 AND i.id > $2 AND i.subject ~ '^[0-9]+$' AND u.provider = '{GPUSTACK}'
        ORDER BY i.id LIMIT $3
        """,  # noqa: S608 - constants
        issuer,
        after,
        most,
    )
    return [Known(*row) for row in rows]

"""Statements on identities and on sign-ins under way."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from app.database import Database, Transaction
from app.federation.structs import Assertion
from app.providers import GPUSTACK
from app.uuid7 import uuid7
from db import locks

CODE_SECONDS = 60  # from the callback to the exchange

# ---- sign-ins -------------------------------------------------------------------------------------------------------


async def spend_state(db: Database, sign_in_id: UUID, code_challenge: str, expires_at: int) -> bool:
    """A browser comes back once, and in time."""
    row = await db.fetchrow(
        """
        INSERT INTO sign_ins (id, code_challenge, expires_at) SELECT $1, $2, to_timestamp($3::int8)
        WHERE to_timestamp($3::int8) > clock_timestamp() ON CONFLICT DO NOTHING RETURNING id
        """,
        sign_in_id,
        code_challenge,
        expires_at,
    )
    return row is not None


async def keep_assertion(db: Database, sign_in_id: UUID, assertion: Assertion) -> None:
    """From now on the code of this sign-in can be exchanged."""
    await db.execute(
        """
        UPDATE sign_ins SET assertion = $2, exchange_until = clock_timestamp() + make_interval(secs => $3) WHERE id = $1
        """,
        sign_in_id,
        msgspec.json.encode(assertion).decode(),
        CODE_SECONDS,
    )


async def redeem(db: Database, sign_in_id: UUID) -> tuple[str, Assertion] | None:
    """The application's challenge and who it is, once: of any number of callers one gets it."""
    row = await db.fetchrow(
        """
        WITH found AS (
            SELECT id, code_challenge, assertion FROM sign_ins
            WHERE id = $1 AND exchange_until > clock_timestamp() FOR UPDATE
        )
        UPDATE sign_ins s SET assertion = NULL, exchange_until = NULL FROM found f WHERE s.id = f.id
        RETURNING f.code_challenge, f.assertion
        """,
        sign_in_id,
    )
    return None if row is None else (row["code_challenge"], msgspec.json.decode(row["assertion"], type=Assertion))


async def delete_expired(tx: Transaction, most: int) -> int:
    done = await tx.execute(
        """
        DELETE FROM sign_ins WHERE id IN (
            SELECT id FROM sign_ins WHERE expires_at <= statement_timestamp() - make_interval(secs => $2)
            ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
        )
        """,
        most,
        CODE_SECONDS,
    )
    return int(done.rpartition(" ")[2])


# ---- identities -----------------------------------------------------------------------------------------------------

IDENTITY = "id, provider, issuer, username, email, created_at, last_used_at"


async def hold_subject(tx: Transaction, issuer: str, subject: str) -> None:
    """Let those who would make or link this identity come one after the other."""
    await tx.execute("SELECT pg_advisory_xact_lock($1, hashtext($2))", locks.IDENTITIES, f"{issuer} {subject}")


async def find(on: Database | Transaction, issuer: str, subject: str) -> asyncpg.Record | None:
    """The identity (`id`, `user_id`) of a subject."""
    return await on.fetchrow("SELECT id, user_id FROM identities WHERE issuer = $1 AND subject = $2", issuer, subject)


async def add(
    tx: Transaction,
    user_id: int,
    provider: str,
    issuer: str,
    subject: str,
    *,
    username: str | None,
    email: str | None,
) -> asyncpg.Record | None:
    """The identity, the user's from now on; None if it is somebody's already, which the index decides."""
    return await tx.fetchrow(
        f"""
        INSERT INTO identities (id, user_id, provider, issuer, subject, username, email)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING {IDENTITY}
        """,  # noqa: S608 - constants
        uuid7(),
        user_id,
        provider,
        issuer,
        subject,
        username,
        email,
    )


async def use(
    on: Database | Transaction, identity_id: UUID, user_id: int, *, username: str | None, email: str | None
) -> bool:
    """Sign in with it, if it is still this user's; and this is what its issuer calls its subject by now."""
    row = await on.fetchrow(
        """
        UPDATE identities SET last_used_at = clock_timestamp(), username = $3, email = $4
        WHERE id = $1 AND user_id = $2 RETURNING id
        """,
        identity_id,
        user_id,
        username,
        email,
    )
    return row is not None


async def of_user(on: Database | Transaction, user_id: int) -> list[asyncpg.Record]:
    """A user's, oldest first."""
    return await on.fetch(
        f"SELECT {IDENTITY} FROM identities WHERE user_id = $1 ORDER BY id",  # noqa: S608 - constants
        user_id,
    )


async def has_usable(on: Database | Transaction, user_id: int, issuers: Sequence[str]) -> bool:
    """Whether a user has an identity of one of these issuers."""
    row = await on.fetchrow(
        "SELECT FROM identities WHERE user_id = $1 AND issuer = ANY($2::text[]) LIMIT 1", user_id, issuers
    )
    return row is not None


async def remove(tx: Transaction, user_id: int, identity_id: UUID) -> str | None:
    """Take an identity from its user; the provider's name, or None if he has no such identity."""
    provider: str | None = await tx.fetchval(
        "DELETE FROM identities WHERE id = $1 AND user_id = $2 RETURNING provider", identity_id, user_id
    )
    return provider


async def take_away(tx: Transaction, user_id: int, since: datetime | None) -> list[str]:
    """All of a user's, or with `since` those that are as young; the providers' names.

    But for GPUStack's, by which an account is known: nobody can have linked it.
    """
    rows = await tx.fetch(
        f"""
        DELETE FROM identities
        WHERE user_id = $1 AND ($2::timestamptz IS NULL OR created_at >= $2) AND provider <> '{GPUSTACK}'
        RETURNING provider
        """,  # noqa: S608 - a constant
        user_id,
        since,
    )
    return [row["provider"] for row in rows]

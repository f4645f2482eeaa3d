"""Statements on factors.

Who changes those of a user holds the user's row, so that two changes come one after the other.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
from msgspec import Struct

from app.database import Database, Transaction

ENROLMENT_SECONDS = 600  # from a new secret to its first code

# ---- TOTP -----------------------------------------------------------------------------------------------------------


class Secret(Struct, frozen=True):
    """A sealed secret, and PostgreSQL's time."""

    sealed: bytes
    confirmed: bool
    now: float  # seconds since 1970


async def keep_secret(tx: Transaction, user_id: int, sealed: bytes) -> bool:
    """A secret that waits for its first code, in the place of another one that waits; False if one is in use."""
    kept = await tx.fetchval(
        """
        INSERT INTO totp_secrets (user_id, sealed_secret) VALUES ($1, $2)
        ON CONFLICT (user_id) DO UPDATE SET sealed_secret = $2, created_at = clock_timestamp()
        WHERE totp_secrets.confirmed_at IS NULL RETURNING user_id
        """,
        user_id,
        sealed,
    )
    return kept is not None


async def secret_of(on: Database | Transaction, user_id: int) -> Secret | None:
    """The secret in use, or the one that waits for its first code and has not waited too long."""
    row = await on.fetchrow(
        """
        SELECT sealed_secret, confirmed_at IS NOT NULL, extract(epoch FROM clock_timestamp())::float8 FROM totp_secrets
        WHERE user_id = $1 AND (confirmed_at IS NOT NULL
                                OR created_at > clock_timestamp() - make_interval(secs => $2))
        """,
        user_id,
        ENROLMENT_SECONDS,
    )
    return None if row is None else Secret(*row)


async def confirm_secret(tx: Transaction, user_id: int, sealed: bytes, step: int) -> bool:
    """Take the secret that waits into use; its first code is used by that."""
    done = await tx.fetchval(
        """
        UPDATE totp_secrets SET confirmed_at = clock_timestamp(), last_step = $3
        WHERE user_id = $1 AND sealed_secret = $2 AND confirmed_at IS NULL RETURNING user_id
        """,
        user_id,
        sealed,
        step,
    )
    return done is not None


async def use_step(tx: Transaction, user_id: int, step: int) -> bool:
    """Use the code of a step: of any number of callers one may, and nobody may go back (RFC 6238 §5.2)."""
    used = await tx.fetchval(
        """
        UPDATE totp_secrets SET last_step = $2
        WHERE user_id = $1 AND confirmed_at IS NOT NULL AND last_step < $2 RETURNING user_id
        """,
        user_id,
        step,
    )
    return used is not None


async def remove_totp(tx: Transaction, user_id: int, since: datetime | None = None) -> bool:
    """Whether there was one in use; recovery codes, and logins that wait for one, go with it.

    With `since`, only what is as young.
    """
    row = await tx.fetchrow(
        """
        DELETE FROM totp_secrets
        WHERE user_id = $1 AND ($2::timestamptz IS NULL OR coalesce(confirmed_at, created_at) >= $2)
        RETURNING confirmed_at
        """,
        user_id,
        since,
    )
    await tx.execute(
        """
        DELETE FROM recovery_codes WHERE user_id = $1 AND ($2::timestamptz IS NULL OR created_at >= $2 OR $3)
        """,
        user_id,
        since,
        row is not None,
    )
    await void_pending(tx, user_id)
    return row is not None and row["confirmed_at"] is not None


async def totp_since(db: Database, user_id: int) -> datetime | None:
    row = await db.fetchrow("SELECT confirmed_at FROM totp_secrets WHERE user_id = $1", user_id)
    return None if row is None else row["confirmed_at"]


async def sealed_otherwise(tx: Transaction, key_id: bytes, after: int, most: int) -> list[asyncpg.Record]:
    """Secrets under another key than this, of users after this one, held."""
    return await tx.fetch(
        """
        SELECT user_id, sealed_secret FROM totp_secrets WHERE substr(sealed_secret, 1, 4) <> $1 AND user_id > $2
        ORDER BY user_id LIMIT $3 FOR UPDATE
        """,
        key_id,
        after,
        most,
    )


async def reseal(tx: Transaction, user_id: int, sealed: bytes) -> None:
    await tx.execute("UPDATE totp_secrets SET sealed_secret = $2 WHERE user_id = $1", user_id, sealed)


# ---- recovery codes -------------------------------------------------------------------------------------------------


async def replace_codes(tx: Transaction, user_id: int, digests: Sequence[bytes]) -> None:
    await tx.execute("DELETE FROM recovery_codes WHERE user_id = $1", user_id)
    await tx.execute(
        "INSERT INTO recovery_codes (user_id, digest) SELECT $1, unnest($2::bytea[])", user_id, list(digests)
    )


async def use_code(tx: Transaction, user_id: int, digest: bytes) -> bool:
    """Use a code; of any number of callers one may."""
    used = await tx.fetchval(
        "DELETE FROM recovery_codes WHERE user_id = $1 AND digest = $2 RETURNING user_id", user_id, digest
    )
    return used is not None


async def codes_left(on: Database | Transaction, user_id: int) -> int:
    row = await on.fetchrow("SELECT count(*) AS codes FROM recovery_codes WHERE user_id = $1", user_id)
    return int(row["codes"]) if row else 0


# ---- logins whose second factor is due ------------------------------------------------------------------------------


class Pending(Struct, frozen=True):
    """A login that waits for its second factor: after a password, or after the sign-in with an identity."""

    user_id: int
    password_digest: bytes | None
    identity_id: UUID | None
    amr: list[str]
    device_name: str | None


async def pending(db: Database, pending_id: UUID) -> Pending | None:
    row = await db.fetchrow(
        """
        SELECT user_id, password_digest, identity_id, amr, device_name FROM pending_logins
        WHERE id = $1 AND expires_at > clock_timestamp()
        """,
        pending_id,
    )
    return None if row is None else Pending(*row)


async def begin_try(db: Database, pending_id: UUID, most: int) -> bool:
    """Count a try before it is known how it ends: of any number of parallel ones `most` are let in."""
    begun = await db.fetchrow(
        "UPDATE pending_logins SET tries = tries + 1 WHERE id = $1 AND tries < $2 RETURNING id", pending_id, most
    )
    return begun is not None


async def end_pending(tx: Transaction, pending_id: UUID) -> bool:
    """It has led to a session: it leads to no other."""
    return await tx.fetchval("DELETE FROM pending_logins WHERE id = $1 RETURNING id", pending_id) is not None


# ---- passkeys -------------------------------------------------------------------------------------------------------

PASSKEY = "id, name, transports, backed_up, created_at, last_used_at"


class Credential(Struct, frozen=True):
    """What an assertion is checked by."""

    id: UUID
    user_id: int
    public_key: bytes


async def spend(tx: Transaction, challenge_id: UUID, made_at: float, expires_at: float) -> bool:
    """A challenge is answered once, and in time; none of before a restore, for it may have been answered since."""
    spent = await tx.fetchval(
        """
        INSERT INTO spent_challenges (id, expires_at) SELECT $1, to_timestamp($2::float8)
        WHERE to_timestamp($2::float8) > clock_timestamp()
          AND to_timestamp($3::float8) > (SELECT since FROM incarnation) ON CONFLICT DO NOTHING RETURNING id
        """,
        challenge_id,
        expires_at,
        made_at,
    )
    return spent is not None


async def add_passkey(
    tx: Transaction,
    passkey_id: UUID,
    user_id: int,
    credential_id: bytes,
    public_key: bytes,
    sign_count: int,
    *,
    name: str,
    transports: Sequence[str],
    backed_up: bool,
) -> asyncpg.Record | None:
    """None if somebody has this credential already."""
    return await tx.fetchrow(
        f"""
        INSERT INTO passkeys (id, user_id, credential_id, public_key, sign_count, name, transports, backed_up)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (credential_id) DO NOTHING RETURNING {PASSKEY}
        """,  # noqa: S608 - constants
        passkey_id,
        user_id,
        credential_id,
        public_key,
        sign_count,
        name,
        list(transports),
        backed_up,
    )


async def passkeys_of(on: Database | Transaction, user_id: int) -> list[asyncpg.Record]:
    """The oldest first."""
    return await on.fetch(
        f"SELECT {PASSKEY}, credential_id FROM passkeys WHERE user_id = $1 ORDER BY id",  # noqa: S608 - constants
        user_id,
    )


async def credential(db: Database, credential_id: bytes) -> Credential | None:
    row = await db.fetchrow("SELECT id, user_id, public_key FROM passkeys WHERE credential_id = $1", credential_id)
    return None if row is None else Credential(*row)


async def use_passkey(tx: Transaction, passkey_id: UUID, sign_count: int, *, backed_up: bool) -> bool:
    """Whether its counter has gone on, or it has none (WebAuthn §7.2 step 22)."""
    used = await tx.fetchval(
        """
        UPDATE passkeys SET sign_count = $2, backed_up = $3, last_used_at = clock_timestamp()
        WHERE id = $1 AND (sign_count < $2 OR (sign_count = 0 AND $2 = 0)) RETURNING id
        """,
        passkey_id,
        sign_count,
        backed_up,
    )
    return used is not None


async def rename_passkey(tx: Transaction, user_id: int, passkey_id: UUID, name: str) -> asyncpg.Record | None:
    return await tx.fetchrow(
        f"UPDATE passkeys SET name = $3 WHERE user_id = $1 AND id = $2 RETURNING {PASSKEY}",  # noqa: S608 - constants
        user_id,
        passkey_id,
        name,
    )


async def remove_passkey(tx: Transaction, user_id: int, passkey_id: UUID) -> str | None:
    """Its name; None if the user has no such."""
    name: str | None = await tx.fetchval(
        "DELETE FROM passkeys WHERE user_id = $1 AND id = $2 RETURNING name", user_id, passkey_id
    )
    return name


async def remove_passkeys(tx: Transaction, user_id: int, since: datetime | None = None) -> int:
    """How many there were; with `since`, of those that are as young."""
    done = await tx.execute(
        "DELETE FROM passkeys WHERE user_id = $1 AND ($2::timestamptz IS NULL OR created_at >= $2)", user_id, since
    )
    return int(done.rpartition(" ")[2])


# ---- the clean-up ---------------------------------------------------------------------------------------------------


async def void_pending(tx: Transaction, user_id: int) -> None:
    """No login of this user that waits leads anywhere."""
    await tx.execute("DELETE FROM pending_logins WHERE user_id = $1", user_id)


async def delete_expired(tx: Transaction, most: int) -> int:
    """Logins and challenges whose time is over, and secrets that nobody has confirmed."""
    deleted = 0
    for table, key, expired in (
        ("pending_logins", "id", "expires_at <= statement_timestamp()"),
        ("spent_challenges", "id", "expires_at <= statement_timestamp()"),
        (
            "totp_secrets",
            "user_id",
            f"confirmed_at IS NULL AND created_at < statement_timestamp() - interval '{ENROLMENT_SECONDS} seconds'",
        ),
    ):
        done = await tx.execute(
            f"""
            DELETE FROM {table} WHERE {key} IN (
                SELECT {key} FROM {table} WHERE {expired} LIMIT $1 FOR UPDATE SKIP LOCKED
            )
            """,  # noqa: S608 - constants
            most,
        )
        deleted += int(done.rpartition(" ")[2])
    return deleted

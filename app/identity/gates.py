"""Who comes in: statements that let in a user as he is at this moment, for a session or for a second step."""

from collections.abc import Sequence
from uuid import UUID

from app.database import Database
from app.factors.queries import Pending
from app.identity.queries import COLUMNS
from app.sessions.queries import Gate

PENDING_SECONDS = 300  # from the password to the code: to find the telephone


def password_gate(user_id: int, password_hash: str, new_hash: str) -> Gate:
    """Lets in who is still active, has still the password that was verified and no second factor; notes the login."""
    return Gate(
        f"""
        UPDATE users u SET last_login = clock_timestamp(), password_hash = $3
        WHERE u.id = $1 AND u.password_hash = $2 AND u.is_active AND NOT u.mfa_enabled
        RETURNING {COLUMNS}
        """,  # noqa: S608 - constants
        (user_id, password_hash, new_hash),
    )


async def begin_second_step(
    db: Database, pending_id: UUID, user_id: int, password_hash: str, new_hash: str, device_name: str | None
) -> bool:
    """A login that waits for the second factor of who is still active and has still the password that was verified.

    One statement with the user, though the table is that of factors: nobody changes him between the two.
    """
    begun = await db.fetchrow(
        """
        WITH person AS (
            UPDATE users SET password_hash = $4
            WHERE id = $2 AND password_hash = $3 AND is_active AND mfa_enabled RETURNING id
        )
        INSERT INTO pending_logins (id, user_id, password_digest, device_name, expires_at)
        SELECT $1, id, sha256(convert_to($4, 'UTF8')), $5, clock_timestamp() + make_interval(secs => $6) FROM person
        RETURNING id
        """,
        pending_id,
        user_id,
        password_hash,
        new_hash,
        device_name,
        PENDING_SECONDS,
    )
    return begun is not None


async def begin_second_step_by_identity(
    db: Database, pending_id: UUID, identity_id: UUID, amr: Sequence[str], device_name: str | None
) -> int | None:
    """A login that waits for the second factor of who is still active and has still this identity; his id."""
    row = await db.fetchrow(
        """
        INSERT INTO pending_logins (id, user_id, identity_id, amr, device_name, expires_at)
        SELECT $1, u.id, i.id, $3, $4, clock_timestamp() + make_interval(secs => $5)
        FROM identities i JOIN users u ON u.id = i.user_id WHERE i.id = $2 AND u.is_active AND u.mfa_enabled
        RETURNING user_id
        """,
        pending_id,
        identity_id,
        amr,
        device_name,
        PENDING_SECONDS,
    )
    return None if row is None else row["user_id"]


def second_factor_gate(pending: Pending) -> Gate:
    """Lets in who is still active and has still the password, or the identity, of the first step; notes the login."""
    return Gate(
        f"""
        UPDATE users u SET last_login = clock_timestamp()
        WHERE u.id = $1 AND u.is_active AND u.mfa_enabled AND (
            sha256(convert_to(u.password_hash, 'UTF8')) = $2
            OR EXISTS (SELECT FROM identities i WHERE i.id = $3 AND i.user_id = u.id)
        )
        RETURNING {COLUMNS}
        """,  # noqa: S608 - constants
        (pending.user_id, pending.password_digest, pending.identity_id),
    )


def identity_gate(identity_id: UUID, *, with_factor: bool) -> Gate:
    """Lets in who is still active and has still this identity; notes the login.

    `with_factor` if the issuer has asked for a second factor that stands for ours; else who has one is not let in.
    """
    return Gate(
        f"""
        UPDATE users u SET last_login = clock_timestamp() FROM identities i
        WHERE i.id = $1 AND u.id = i.user_id AND u.is_active AND (NOT u.mfa_enabled OR $2) RETURNING {COLUMNS}
        """,  # noqa: S608 - constants
        (identity_id, with_factor),
    )


def passkey_gate(user_id: int) -> Gate:
    """Lets in who is still active; notes the login."""
    return Gate(
        f"""
        UPDATE users u SET last_login = clock_timestamp() WHERE u.id = $1 AND u.is_active RETURNING {COLUMNS}
        """,  # noqa: S608 - constants
        (user_id,),
    )

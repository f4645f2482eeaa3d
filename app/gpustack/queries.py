"""Statements on what is known of GPUStack's users beside their identities, and of its list. Time is PostgreSQL's."""

from uuid import UUID

import msgspec

from app.database import Database, Transaction


async def keep_verifier(tx: Transaction, identity_id: UUID, password_hash: str | None) -> None:
    """The instance has just taken the password that this verifies; None: it has taken one, and we keep none."""
    await tx.execute(
        """
        INSERT INTO upstream_users (identity_id, password_hash, verified_at)
        VALUES ($1, $2, CASE WHEN $2::text IS NOT NULL THEN clock_timestamp() END)
        ON CONFLICT (identity_id)
        DO UPDATE SET password_hash = excluded.password_hash, verified_at = excluded.verified_at
        """,
        identity_id,
        password_hash,
    )


async def forget_verifier(db: Database, identity_id: UUID, password_hash: str) -> None:
    """The instance no longer takes the password that this verifies."""
    await db.execute(
        """
        UPDATE upstream_users SET password_hash = NULL, verified_at = NULL WHERE identity_id = $1 AND password_hash = $2
        """,
        identity_id,
        password_hash,
    )


async def note_deactivation(tx: Transaction, identity_id: UUID, *, there: bool) -> None:
    """Whether it was the instance that has deactivated the user."""
    await tx.execute(
        """
        INSERT INTO upstream_users (identity_id, deactivated_there) VALUES ($1, $2)
        ON CONFLICT (identity_id) DO UPDATE SET deactivated_there = excluded.deactivated_there
        """,
        identity_id,
        there,
    )


async def note_own_decision(tx: Transaction, user_id: int) -> bool:
    """Whether the user is active was decided here; whether it was the instance that had deactivated him."""
    row = await tx.fetchrow(
        """
        UPDATE upstream_users SET deactivated_there = false
        WHERE deactivated_there AND identity_id IN (SELECT id FROM identities WHERE user_id = $1) RETURNING true
        """,
        user_id,
    )
    return row is not None


# ---- the list -------------------------------------------------------------------------------------------------------


async def claim_sync(db: Database, issuer: str, seconds: float) -> bool:
    """Whether it is this process's turn to read the list: of any number that ask, one is told so in so many seconds."""
    row = await db.fetchrow(
        """
        INSERT INTO upstream_syncs AS s (issuer, finished_at, report)
        VALUES ($1, to_timestamp(0), jsonb_build_object('begun_at', clock_timestamp()))
        ON CONFLICT (issuer) DO UPDATE SET report = s.report || excluded.report
        WHERE greatest(s.finished_at, (s.report ->> 'begun_at')::timestamptz)
            <= clock_timestamp() - make_interval(secs => $2)
        RETURNING true
        """,
        issuer,
        seconds,
    )
    return row is not None


async def note_sync(db: Database, issuer: str, report: object) -> None:
    await db.execute(
        """
        INSERT INTO upstream_syncs (issuer, finished_at, report) VALUES ($1, clock_timestamp(), $2)
        ON CONFLICT (issuer) DO UPDATE SET finished_at = excluded.finished_at, report = excluded.report
        """,
        issuer,
        msgspec.json.encode(report).decode(),
    )


async def last_sync(db: Database, issuer: str) -> float:
    """When the list was last read to its end, in seconds since 1970; 0 if never."""
    row = await db.fetchrow(
        "SELECT extract(epoch FROM finished_at)::float8 AS at FROM upstream_syncs WHERE issuer = $1", issuer
    )
    return 0.0 if row is None else row["at"]

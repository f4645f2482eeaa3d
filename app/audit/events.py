"""The events of the contract, and how one is written: with the change that it records, or not at all."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from uuid import UUID

import msgspec
from msgspec import Struct

from app.client import Client
from app.database import Transaction


class Event(StrEnum):
    USER_REGISTERED = "user.registered"
    LOGIN_SUCCEEDED = "login.succeeded"
    LOGIN_FAILED = "login.failed"
    RATE_LIMITED = "rate_limited"
    LOGOUT = "logout"
    TOKEN_REFRESHED = "token.refreshed"  # noqa: S105 - an event's name
    TOKEN_REUSE_DETECTED = "token.reuse_detected"  # noqa: S105 - an event's name
    SESSION_REVOKED = "session.revoked"
    PASSWORD_CHANGED = "password.changed"  # noqa: S105 - an event's name
    PASSWORD_RESET_REQUESTED = "password.reset_requested"  # noqa: S105 - an event's name
    PASSWORD_RESET = "password.reset"  # noqa: S105 - an event's name
    EMAIL_VERIFIED = "email.verified"
    MFA_ENABLED = "mfa.enabled"
    MFA_DISABLED = "mfa.disabled"
    PASSKEY_ADDED = "passkey.added"
    PASSKEY_REMOVED = "passkey.removed"
    IDENTITY_LINKED = "identity.linked"
    IDENTITY_UNLINKED = "identity.unlinked"
    USER_CREATED = "user.created"
    USER_UPDATED = "user.updated"
    USER_DELETED = "user.deleted"
    ROLE_CHANGED = "role.changed"
    CLEANUP_RAN = "cleanup.ran"
    AUDIT_EXPORTED = "audit.exported"
    KEYS_ROTATED = "keys.rotated"
    DATABASE_RESTORED = "database.restored"


async def record(
    tx: Transaction,
    event: Event,
    client: Client | None = None,
    *,
    user_id: int | None = None,
    actor_id: int | None = None,
    session_ids: Sequence[UUID | None] = (None,),
    details: Mapping[str, object] | None = None,
    forget_deleted: bool = False,
) -> None:
    """Write a row for each session named (one without a session if none is); `details` hold no secret.

    `user_id` is whom it happened to, `actor_id` who did it; without a client it was the command line or a schedule.
    With `forget_deleted` (for what changes nothing of the user, and so may come after his deletion) the row names
    nobody if he is gone, or is being deleted: it waits for nobody.
    """
    await tx.execute(
        """
        INSERT INTO audit_events (event, user_id, actor_id, session_id, ip_address, user_agent, request_id, details)
        SELECT $1, CASE WHEN $9 THEN (SELECT id FROM users WHERE id = $2 FOR KEY SHARE SKIP LOCKED) ELSE $2 END,
               $3, unnest($4::uuid[]), $5, $6, $7, $8
        """,
        event,
        user_id,
        actor_id,
        session_ids,
        client.ip if client else None,
        client.user_agent if client else None,
        client.request_id if client else None,
        msgspec.json.encode(details or {}).decode(),
        forget_deleted,
    )


class Happened(Struct, frozen=True):
    """One of many events of a moment."""

    event: Event
    user_id: int
    details: Mapping[str, object]


async def record_all(
    tx: Transaction,
    events: Sequence[Happened],
    client: Client | None = None,
    *,
    actor_id: int | None = None,
    session_id: UUID | None = None,
) -> None:
    """Write a row for each of these, which one and the same has done; see `record`."""
    await tx.execute(
        """
        INSERT INTO audit_events (event, user_id, actor_id, session_id, ip_address, user_agent, request_id, details)
        SELECT event, user_id, $4, $5, $6, $7, $8, details::jsonb
        FROM unnest($1::text[], $2::bigint[], $3::text[]) AS happened (event, user_id, details)
        """,
        [each.event for each in events],
        [each.user_id for each in events],
        [msgspec.json.encode(each.details).decode() for each in events],
        actor_id,
        session_id,
        client.ip if client else None,
        client.user_agent if client else None,
        client.request_id if client else None,
    )

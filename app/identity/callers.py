"""Whoever changes an account: his own, as whom he was when the request began; or another one, that is not above him."""

from collections.abc import Mapping

import asyncpg

from app.audit.events import Event, record
from app.client import Client
from app.database import Transaction
from app.errors import NotFound, SessionRevoked
from app.identity import queries
from app.identity.roles import Actor, require_roles
from app.identity.structs import UserEntry
from app.sessions import queries as session_queries
from app.sessions.authenticator import Identified, Subject


async def hold_caller(tx: Transaction, caller: Identified[Subject]) -> UserEntry:
    """The caller, held, whose session has not ended since the request began: its body may take minutes to come.

    Raises:
        NotFound: he is gone.
        SessionRevoked: his session is.
    """
    person = await queries.hold(tx, caller.user_id)
    await require_live(tx, caller, person)
    return person


async def require_live(tx: Transaction, caller: Identified[Subject], person: UserEntry) -> None:
    """Raises SessionRevoked unless the session of the caller, who is held, goes on."""
    if not person.is_active or not await session_queries.is_live(tx, caller.session_id, caller.user_id):
        raise SessionRevoked


async def note(
    tx: Transaction, event: Event, caller: Identified[Subject], client: Client | None, details: Mapping[str, object]
) -> None:
    """The audit row of what the caller does to his own account."""
    own = caller.user_id
    await record(tx, event, client, user_id=own, actor_id=own, session_ids=[caller.session_id], details=details)


async def lock_other(tx: Transaction, caller: Actor | None, user_id: int) -> asyncpg.Record:
    """The row of a user, held, for somebody who looks after accounts; None is the command line.

    Raises:
        NotFound: he is not there.
        Forbidden: he may do more than the caller.
    """
    row = await queries.lock(tx, user_id)
    if row is None:
        raise NotFound
    await require_roles(tx, caller, row["roles"])
    return row


async def hold_other(tx: Transaction, caller: Actor | None, user_id: int) -> UserEntry:
    """The same user, as he is shown."""
    return queries.entry(await lock_other(tx, caller, user_id))


async def note_other(
    tx: Transaction,
    event: Event,
    caller: Actor | None,
    user_id: int,
    client: Client | None,
    details: Mapping[str, object],
) -> None:
    """The audit row of what the caller does to the account of another; None is the command line."""
    await record(
        tx,
        event,
        client,
        user_id=user_id,
        actor_id=caller.user_id if caller else None,
        session_ids=[caller.session_id if caller else None],
        details=details,
    )

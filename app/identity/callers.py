"""Whoever changes his own account: held, and still who he was when the request began."""

from collections.abc import Mapping

from app.audit.events import Event, record
from app.client import Client
from app.database import Transaction
from app.errors import SessionRevoked
from app.identity import queries
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

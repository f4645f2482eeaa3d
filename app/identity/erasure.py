"""How an account goes: with everything that is its user's; the audit keeps the bare id."""

from contextlib import suppress

from app.audit import erasures
from app.cache.outbox import Change, Outbox
from app.database import Database, Transaction
from app.errors import Unavailable
from app.identity import queries
from app.identity.administrators import keep_an_admin
from app.identity.mails import Mails
from app.identity.structs import UserEntry
from app.sessions.structs import user_key

AT_ONCE = 1.0  # seconds that a deletion goes on with blanking: some 100,000 events; the clean-up does the rest


async def erase(tx: Transaction, outbox: Outbox, mails: Mails, person: UserEntry) -> Change:
    """Delete a user who is held, as the administrators are if he is one; after the commit `blank` what is left.

    Raises:
        LastAdmin: there would be no active administrator any more.
    """
    await mails.farewell(tx, person)
    await queries.delete(tx, person.id)
    await keep_an_admin(tx, person)
    change = await outbox.announce(tx, [user_key(person.id)])
    await erasures.announce(tx, person.id)
    return change


async def blank(db: Database, user_id: int) -> None:
    """Blank a deleted person's traces in the audit; what takes too long, or fails, is left to the clean-up."""
    with suppress(Unavailable):
        await erasures.blank(db, user_id, AT_ONCE)

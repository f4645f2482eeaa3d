"""How an account goes: with everything that is its user's; the audit keeps the bare id."""

from app.audit.events import pseudonymise
from app.cache.outbox import Change, Outbox
from app.database import Transaction
from app.identity import queries
from app.identity.administrators import keep_an_admin
from app.identity.mails import Mails
from app.identity.structs import UserEntry
from app.sessions.structs import user_key


async def erase(tx: Transaction, outbox: Outbox, mails: Mails, person: UserEntry) -> Change:
    """Delete a user who is held, as the administrators are.

    Raises:
        LastAdmin: there would be no active administrator any more.
    """
    await mails.farewell(tx, person)
    await queries.delete(tx, person.id)
    await keep_an_admin(tx, person)
    change = await outbox.announce(tx, [user_key(person.id)])
    await pseudonymise(tx, person.id)
    return change

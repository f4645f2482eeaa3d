"""How an account goes: with everything that is its user's; the audit keeps the bare id."""

from app.audit.events import pseudonymise
from app.cache.outbox import Change, Outbox
from app.database import Transaction
from app.errors import LastAdmin
from app.identity import queries
from app.identity.mails import Mails
from app.identity.structs import UserEntry
from app.sessions.structs import ADMIN, USER_KIND


async def erase(tx: Transaction, outbox: Outbox, mails: Mails, person: UserEntry) -> Change:
    """Delete a user who is held, as the administrators are.

    Raises:
        LastAdmin: there would be no active administrator any more.
    """
    await mails.farewell(tx, person)
    await queries.delete(tx, person.id)
    await keep_an_admin(tx, person)
    change = await outbox.announce(tx, [f"{USER_KIND}:{person.id}"])
    await pseudonymise(tx, person.id)
    return change


def is_active_admin(person: UserEntry) -> bool:
    return person.is_active and ADMIN in person.roles


async def keep_an_admin(tx: Transaction, gone: UserEntry) -> None:
    """Raises LastAdmin if whoever is none any more was the last active administrator; they are held."""
    if is_active_admin(gone) and not await queries.has_active_admin(tx):
        raise LastAdmin

"""There is always somebody left who may do everything."""

from app.database import Transaction
from app.errors import LastAdmin
from app.identity import queries
from app.identity.structs import UserEntry
from app.sessions.structs import ADMIN


def is_active_admin(person: UserEntry) -> bool:
    return person.is_active and ADMIN in person.roles


async def keep_an_admin(tx: Transaction, gone: UserEntry) -> None:
    """Raises LastAdmin if whoever is none any more was the last active administrator; they are held."""
    if is_active_admin(gone) and not await queries.has_active_admin(tx):
        raise LastAdmin

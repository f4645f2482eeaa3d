"""There is always somebody left who may do everything."""

from app.database import Transaction
from app.errors import LastAdmin, NotFound, Unavailable
from app.identity import queries
from app.identity.structs import UserEntry
from app.sessions.structs import ADMIN


def is_active_admin(person: UserEntry) -> bool:
    return person.is_active and ADMIN in person.roles


async def hold_to_delete(tx: Transaction, user_id: int) -> UserEntry:
    """A user, held, and before him the administrators if he is one; nobody else's deletion waits for another's.

    Raises:
        NotFound: there is no such user.
        Unavailable: he has become an administrator this very moment.
    """
    row = await queries.by_id(tx, user_id)
    if row is None:
        raise NotFound
    if ADMIN in row["roles"]:
        await queries.hold_admins(tx)
    person = await queries.hold(tx, user_id)
    if ADMIN in person.roles and ADMIN not in row["roles"]:
        raise Unavailable
    return person


async def keep_an_admin(tx: Transaction, gone: UserEntry) -> None:
    """Raises LastAdmin if whoever is none any more was the last active administrator; they are held."""
    if is_active_admin(gone) and not await queries.has_active_admin(tx):
        raise LastAdmin

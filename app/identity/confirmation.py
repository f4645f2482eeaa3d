"""The password once more, from somebody who is signed in."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from app.client import Client
from app.database import Database, Transaction
from app.errors import InvalidCredentials, NotFound
from app.identity import queries
from app.identity.callers import require_live
from app.identity.passwords import Passwords
from app.identity.structs import UserEntry
from app.identity.tries import Tries
from app.sessions.authenticator import Identified, Subject

ROUNDS = 3  # with a password that is right while others upgrade or replace its hash; each of them does so once


class Confirmation:
    """Asks for the present password; a wrong one is a failed login."""

    def __init__(self, db: Database, passwords: Passwords, tries: Tries) -> None:
        self._db = db
        self._passwords = passwords
        self._tries = tries

    async def verified(self, user_id: int, password_hash: str | None, password: str, client: Client) -> str:
        """The hash that this password fits.

        Raises:
            InvalidCredentials: it is another one.
            RateLimited: too many were wrong.
            Overloaded: there is more to hash than can be done soon.
        """
        async with self._tries.password(f"user {user_id}", user_id, client):
            if not await self._passwords.verify(password_hash, password) or password_hash is None:
                raise InvalidCredentials("The present password is another one.")
            return password_hash

    @asynccontextmanager
    async def confirmed(
        self,
        caller: Identified[Subject],
        password: str,
        client: Client,
        hold: Callable[[Transaction, int], Awaitable[UserEntry]] = queries.hold,
    ) -> AsyncGenerator[tuple[Transaction, UserEntry]]:
        """A transaction that holds the caller, whose present password this is.

        Raises:
            NotFound: he is gone.
            SessionRevoked: his session is.
            InvalidCredentials, RateLimited, Overloaded: as above.
        """
        for _ in range(ROUNDS):
            row = await queries.by_id(self._db, caller.user_id)
            if row is None:
                raise NotFound
            was = await self.verified(caller.user_id, row["password_hash"], password, client)
            async with self._db.transaction() as tx:
                person = await hold(tx, caller.user_id)
                await require_live(tx, caller, person)
                if await queries.has_password(tx, person.id, was):  # neither changed nor upgraded meanwhile
                    yield tx, person
                    return
        raise InvalidCredentials

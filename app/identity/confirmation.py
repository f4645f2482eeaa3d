"""The password once more, from somebody who is signed in."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg

from app.client import Client
from app.database import Database, Transaction
from app.errors import InvalidCredentials, NotFound, ValidationFailed
from app.identity import queries, shadow_queries
from app.identity.callers import require_live
from app.identity.passwords import Passwords
from app.identity.structs import UserEntry
from app.identity.tries import Tries
from app.identity.upstream import Upstream
from app.providers import GPUSTACK
from app.sessions.authenticator import Identified, Subject

ROUNDS = 3  # with a password that is right while others upgrade or replace its hash; each of them does so once


class Confirmation:
    """Asks for the present password, or has GPUStack asked for its users'; a wrong one is a failed login."""

    def __init__(self, db: Database, passwords: Passwords, tries: Tries, upstream: Upstream | None) -> None:
        self._db = db
        self._passwords = passwords
        self._tries = tries
        self._upstream = upstream

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

    async def _verified(
        self, row: asyncpg.Record, password: str, client: Client
    ) -> Callable[[Transaction], Awaitable[bool]]:
        """Verifies the password; the answer tells whether it is the one in use still."""
        if row["provider"] == GPUSTACK:
            identity_id = await self._verified_there(row, password, client)
            return lambda tx: shadow_queries.has_identity(tx, row["id"], identity_id)
        was = await self.verified(row["id"], row["password_hash"], password, client)
        return lambda tx: queries.has_password(tx, row["id"], was)

    async def _verified_there(self, row: asyncpg.Record, password: str, client: Client) -> UUID:
        """The identity by which GPUStack knows a user whose password this is.

        Raises:
            InvalidCredentials, RateLimited, Overloaded: as above.
            Unavailable: GPUStack cannot be asked.
        """
        async with self._tries.password(f"user {row['id']}", row["id"], client):
            identity_id = None
            if self._upstream is not None:
                identity_id = await self._upstream.confirm(row["id"], row["username"], password, client)
            if identity_id is None:
                raise InvalidCredentials("The present password is another one.")
            return identity_id

    @asynccontextmanager
    async def confirmed(
        self,
        caller: Identified[Subject],
        password: str | None,
        client: Client,
        hold: Callable[[Transaction, int], Awaitable[UserEntry]] = queries.hold,
    ) -> AsyncGenerator[tuple[Transaction, UserEntry]]:
        """A transaction that holds the caller, whose present password this is; of who has none, one present login.

        Raises:
            NotFound: he is gone.
            SessionRevoked: his session is.
            ValidationFailed: he has a password, and has not said it.
            ReauthenticationRequired: he has none, and his login is too long ago.
            InvalidCredentials, RateLimited, Overloaded, Unavailable: as above.
        """
        for _ in range(ROUNDS):
            row = await queries.by_id(self._db, caller.user_id)
            if row is None:
                raise NotFound
            if password is None:
                is_kept = _present(caller, row)
            else:
                is_kept = await self._verified(row, password, client)
            async with self._db.transaction() as tx:
                person = await hold(tx, caller.user_id)
                await require_live(tx, caller, person)
                if await is_kept(tx):  # neither changed nor upgraded meanwhile
                    yield tx, person
                    return
        raise InvalidCredentials


def _present(caller: Identified[Subject], row: asyncpg.Record) -> Callable[[Transaction], Awaitable[bool]]:
    """In the place of a password, for who has none: he signs in by a passkey, or at a provider."""
    if row["password_hash"] is not None or row["provider"] == GPUSTACK:
        raise ValidationFailed(("password", "is required"))
    caller.require_fresh()
    return lambda tx: queries.lacks_password(tx, caller.user_id)

"""Showing once more who one is, for what a stolen session must not do."""

from app.cache.entries import Entries
from app.cache.outbox import Change
from app.client import Client
from app.database import Database
from app.errors import InvalidMfa
from app.identity.callers import hold_caller
from app.identity.confirmation import Confirmation
from app.identity.entry import People
from app.identity.passkey_login import PasskeyLogin
from app.identity.passkeys import PasskeyAssertion
from app.identity.second_factors import SecondFactors
from app.identity.structs import Reauthentication, TokenResponse, UserEntry
from app.identity.tries import Tries
from app.sessions import amr
from app.sessions.authenticator import Identified, Subject
from app.sessions.service import Sessions
from app.sessions.structs import SessionState


class Reauthenticator:
    """Makes the login of a session a present one."""

    def __init__(
        self,
        db: Database,
        entries: Entries,
        sessions: Sessions,
        people: People,
        confirmation: Confirmation,
        tries: Tries,
        factors: SecondFactors,
        passkey_login: PasskeyLogin,
    ) -> None:
        self._db = db
        self._entries = entries
        self._sessions = sessions
        self._people = people
        self._confirmation = confirmation
        self._tries = tries
        self._factors = factors
        self._passkey_login = passkey_login

    async def reauthenticate(
        self, caller: Identified[Subject], asked: Reauthentication, client: Client
    ) -> tuple[TokenResponse, bool]:
        """Tokens of the same session, whose login is now, and whether it goes by the cookie.

        Raises:
            InvalidCredentials: the password is another one.
            InvalidMfa: the code is none (any more).
            RateLimited: too many were wrong.
            Overloaded: there is more to hash than can be done soon.
            SessionRevoked: the session has ended meanwhile.
        """
        if asked.password is not None:
            return await self._answer(*await self._by_password(caller, asked.password, client))
        return await self._answer(*await self._by_code(caller, asked.code, client))

    async def by_passkey(
        self, caller: Identified[Subject], sent: PasskeyAssertion, client: Client
    ) -> tuple[TokenResponse, bool]:
        """The same by a passkey.

        Raises:
            InvalidCredentials: it is somebody else's or nobody's, it has signed something else, or this once before.
            RateLimited: too many failures from this network.
            SessionRevoked: the session has ended meanwhile.
        """
        async with self._tries.passkey(caller.user_id, client):
            shown = await self._passkey_login.shown_by(caller, sent)
            async with self._db.transaction() as tx:
                person = await hold_caller(tx, caller)
                await self._passkey_login.use(tx, shown)
                change, session = await self._sessions.reauthenticate(
                    tx, caller.session_id, caller.user_id, amr.BY_PASSKEY, client
                )
        return await self._answer(person, change, session)

    async def _answer(self, person: UserEntry, change: Change, session: SessionState) -> tuple[TokenResponse, bool]:
        await self._entries.outbox.settle(change)
        user = await self._people.show(person, session.amr)
        return TokenResponse.of(self._sessions.tokens(session, user.roles), user), session.by_cookie

    async def _by_code(
        self, caller: Identified[Subject], code: str | None, client: Client
    ) -> tuple[UserEntry, Change, SessionState]:
        async with self._tries.code(caller.user_id, client), self._db.transaction() as tx:
            person = await hold_caller(tx, caller)
            if not await self._factors.use(tx, person, client, code):
                raise InvalidMfa
            return person, *await self._sessions.reauthenticate(
                tx, caller.session_id, caller.user_id, amr.BY_CODE, client, beside_others=True
            )

    async def _by_password(
        self, caller: Identified[Subject], password: str, client: Client
    ) -> tuple[UserEntry, Change, SessionState]:
        async with self._confirmation.confirmed(caller, password, client) as (tx, person):
            return person, *await self._sessions.reauthenticate(
                tx, caller.session_id, caller.user_id, amr.BY_PASSWORD, client
            )

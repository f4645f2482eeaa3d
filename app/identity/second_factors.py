"""Codes of an authenticator, and those on paper: set up, asked for, taken away."""

from app.audit.events import Event
from app.cache.entries import Entries
from app.client import Client
from app.database import Database, Transaction
from app.errors import Conflict, InvalidMfa
from app.factors import queries as factors
from app.factors import recovery_codes
from app.factors.totp import SECRET, Enrolment, Totp
from app.identity import queries
from app.identity.callers import hold_caller, note
from app.identity.confirmation import Confirmation
from app.identity.holdings import HeldFactor
from app.identity.mails import Mails
from app.identity.structs import TotpRemoval, UserEntry
from app.identity.tries import Tries
from app.sessions import amr
from app.sessions.authenticator import Identified, Subject
from app.sessions.service import Sessions
from app.sessions.structs import user_key


class SecondFactors:
    """What people do with their second factor. Who changes it holds the user first."""

    def __init__(
        self,
        db: Database,
        entries: Entries,
        sessions: Sessions,
        totp: Totp,
        confirmation: Confirmation,
        tries: Tries,
        mails: Mails,
    ) -> None:
        self._db = db
        self._entries = entries
        self._sessions = sessions
        self._totp = totp
        self._confirmation = confirmation
        self._tries = tries
        self._mails = mails

    # ---- setting up -----------------------------------------------------------------------------------------------

    async def enrol(self, caller: Identified[Subject]) -> Enrolment:
        """A secret for an authenticator; it is asked for once its first code has come (`confirm`).

        Raises:
            ReauthenticationRequired: the login is too long ago.
            SessionRevoked: the session has ended meanwhile.
            Conflict: one is in use, which has to be taken away first.
        """
        caller.require_fresh()
        enrolment = self._totp.enrol(caller.user_id, caller.subject.username)
        async with self._db.transaction() as tx:
            await hold_caller(tx, caller)
            kept = await factors.keep_secret(tx, caller.user_id, enrolment.sealed)
        if not kept:
            raise Conflict("An authenticator is in use: take it away first.")
        return enrolment

    def once_more(self, caller: Identified[Subject], secret: str) -> Enrolment:
        """The same picture for who has the secret before him and has mistyped its code; nothing is kept, or told.

        Raises:
            Conflict: no secret looks like this.
        """
        if SECRET.fullmatch(secret) is None:
            raise Conflict("No authenticator waits to be confirmed.")
        return self._totp.enrolment(caller.user_id, caller.subject.username, secret)

    async def confirm(self, caller: Identified[Subject], code: str, client: Client) -> list[str]:
        """Ask for codes from now on; the recovery codes, which are shown this once.

        Raises:
            ReauthenticationRequired: the login is too long ago.
            SessionRevoked: the session has ended meanwhile.
            Conflict: no secret waits to be confirmed (any more).
            InvalidMfa: not its code.
            RateLimited: too many wrong codes.
        """
        caller.require_fresh()
        secret = await factors.secret_of(self._db, caller.user_id)
        if secret is None or secret.confirmed:
            raise Conflict("No authenticator waits to be confirmed.")
        async with self._tries.code(caller.user_id, client):
            step = _right(self._totp.step(caller.user_id, secret.sealed, code, secret.now))
        codes = recovery_codes.make()
        async with self._db.transaction() as tx:
            person = await hold_caller(tx, caller)
            await self._mails.notice(tx, "mfa.enabled", person, client)  # first: its link takes away what is younger
            if not await factors.confirm_secret(tx, person.id, secret.sealed, step):
                raise Conflict("No authenticator waits to be confirmed.")
            await self._keep_codes(tx, person.id, codes)
            await queries.set_mfa(tx, person.id, enabled=True)
            change = await self._entries.outbox.announce(tx, [user_key(person.id)])
            await note(tx, Event.MFA_ENABLED, caller, client, {"method": "totp"})
            shown = await self._sessions.add_ways(tx, caller.session_id, amr.BY_CODE)
        await self._entries.outbox.settle(change, shown)
        self._mails.wake()
        return codes

    async def new_codes(self, caller: Identified[Subject], password: str | None, client: Client) -> list[str]:
        """Ten recovery codes; those before them are good for nothing any more.

        Raises:
            ReauthenticationRequired: the login is too long ago, or was without the second factor.
            SessionRevoked: the session has ended meanwhile.
            Conflict: no second factor is in use.
            InvalidCredentials: the password is another one.
            RateLimited: too many were wrong.
            Overloaded: there is more to hash than can be done soon.
        """
        caller.require_fresh()
        codes = recovery_codes.make()
        async with self._confirmation.confirmed(caller, password, client) as (tx, person):
            if not person.mfa_enabled:
                raise Conflict("No second factor is in use.")
            await self._mails.notice(tx, "recovery_codes.replaced", person, client)  # first, as above
            await self._keep_codes(tx, person.id, codes)
            await note(tx, Event.MFA_ENABLED, caller, client, {"method": "recovery_codes"})
        self._mails.wake()
        return codes

    async def _keep_codes(self, tx: Transaction, user_id: int, codes: list[str]) -> None:
        await factors.replace_codes(tx, user_id, [recovery_codes.digest(user_id, code) for code in codes])

    # ---- asking ---------------------------------------------------------------------------------------------------

    async def methods(self, user_id: int) -> list[str]:
        """What a login that waits takes."""
        return ["totp", "recovery_code"] if await factors.codes_left(self._db, user_id) else ["totp"]

    async def use(
        self, tx: Transaction, person: UserEntry, client: Client, code: str | None, recovery_code: str | None = None
    ) -> bool:
        """Use a code of a user who is held; of any number of callers one may, and nobody a second time."""
        if recovery_code is not None:
            if not await factors.use_code(tx, person.id, recovery_codes.digest(person.id, recovery_code)):
                return False
            left = await factors.codes_left(tx, person.id)
            await self._mails.notice(tx, "recovery_code.used", person, client, left=left)
            return True
        secret = await factors.secret_of(tx, person.id)
        if code is None or secret is None or not secret.confirmed:
            return False
        step = self._totp.step(person.id, secret.sealed, code, secret.now)
        return step is not None and await factors.use_step(tx, person.id, step)

    async def held_of(self, user_id: int) -> HeldFactor:
        return HeldFactor(
            totp_since=await factors.totp_since(self._db, user_id),
            recovery_codes=await factors.codes_left(self._db, user_id),
        )

    # ---- taking away ----------------------------------------------------------------------------------------------

    async def remove(self, caller: Identified[Subject], asked: TotpRemoval, client: Client) -> None:
        """Ask for no code any more; the recovery codes go as well.

        Raises:
            ReauthenticationRequired: the login is too long ago.
            SessionRevoked: the session has ended meanwhile.
            Conflict: no second factor is in use.
            InvalidCredentials: the password is another one.
            InvalidMfa: not a code that is good.
            RateLimited: too many were wrong.
            Overloaded: there is more to hash than can be done soon.
        """
        caller.require_fresh()
        async with (
            self._tries.code(caller.user_id, client),
            self._confirmation.confirmed(caller, asked.password, client) as (tx, person),
        ):
            if not person.mfa_enabled:
                raise Conflict("No second factor is in use.")
            if not await self.use(tx, person, client, asked.code, asked.recovery_code):
                raise InvalidMfa
            await factors.remove_totp(tx, person.id)
            await queries.set_mfa(tx, person.id, enabled=False)
            await self._mails.notice(tx, "mfa.disabled", person, client)
            change = await self._entries.outbox.announce(tx, [user_key(person.id)])
            await note(tx, Event.MFA_DISABLED, caller, client, {"method": "totp"})
        await self._entries.outbox.settle(change)
        self._mails.wake()


def _right(step: int | None) -> int:
    if step is None:
        raise InvalidMfa
    return step

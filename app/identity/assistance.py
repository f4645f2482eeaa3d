"""Helping somebody back into his account, and whoever should not be in it out of it."""

from uuid import UUID

from app.audit.events import Event
from app.cache.entries import Entries
from app.client import Client
from app.database import Database
from app.errors import Conflict, Forbidden, NotFound
from app.factors import queries as factors
from app.federation import queries as federation
from app.federation.sign_ins import SignIns
from app.identity import queries
from app.identity.callers import hold_other, lock_other, note_other
from app.identity.mails import Mails
from app.identity.recovery import Recovery
from app.identity.roles import Actor
from app.providers import GPUSTACK
from app.sessions.service import Sessions
from app.sessions.structs import user_key


class Assistance:
    """What whoever holds `users:write` does about the ways in which others sign in; locks as in `Administration`."""

    def __init__(
        self,
        db: Database,
        entries: Entries,
        sessions: Sessions,
        mails: Mails,
        recovery: Recovery,
        sign_ins: SignIns,
    ) -> None:
        self._db = db
        self._entries = entries
        self._sessions = sessions
        self._mails = mails
        self._recovery = recovery
        self._sign_ins = sign_ins

    async def send_reset(self, caller: Actor, user_id: int, client: Client) -> None:
        """Mail the user a link for a new password.

        Raises:
            NotFound: there is no such user.
            Forbidden: the user may do more than the caller.
            Conflict: he cannot be sent one.
            Unavailable: this installation sends no mail.
        """
        async with self._db.transaction() as tx:
            row = await lock_other(tx, caller, user_id)
            self._mails.require()
            await self._recovery.send(tx, row, caller.user_id, client)
        self._mails.wake()

    async def reset_factors(self, caller: Actor, user_id: int, client: Client) -> None:
        """Take away a user's second factors and passkeys, for somebody who has lost them, and end his sessions.

        One of them may have shown an intruder's factor, and would pass for a present login with the next one.

        Raises:
            NotFound: there is no such user.
            Forbidden: the user may do more than the caller, or is the caller himself.
            ReauthenticationRequired: the caller's login is too long ago.
        """
        caller.require_fresh()
        if user_id == caller.user_id:
            raise Forbidden("Take away your own at /me/mfa/totp and /me/passkeys.")
        async with self._db.transaction() as tx:
            person = await hold_other(tx, caller, user_id)
            changes = [await self._entries.outbox.announce(tx, [user_key(user_id)])]
            had_totp, passkeys = await factors.remove_totp(tx, user_id), await factors.remove_passkeys(tx, user_id)
            if had_totp or passkeys:
                ended, _ = await self._sessions.revoke_in(tx, user_id, "factors_reset", caller.user_id, client)
                changes.append(ended)
            if had_totp:
                await queries.set_mfa(tx, user_id, enabled=False)
                await note_other(tx, Event.MFA_DISABLED, caller, user_id, client, {"method": "totp"})
                await self._mails.notice(tx, "mfa.disabled", person, None, by_administrator=True)
            if passkeys:
                await note_other(tx, Event.PASSKEY_REMOVED, caller, user_id, client, {"passkeys": passkeys})
                await self._mails.notice(tx, "passkey.removed", person, None, name=None)
        await self._entries.outbox.settle(*changes)
        self._mails.wake()

    async def unlink_identity(self, caller: Actor, user_id: int, identity_id: UUID, client: Client) -> None:
        """Let a user sign in with an identity of his no more, and end his sessions: one may have been opened by it.

        Raises:
            NotFound: there is no such user, or he has no such identity.
            Forbidden: the user may do more than the caller, or is the caller himself.
            Conflict: GPUStack keeps the account.
            ReauthenticationRequired: the caller's login is too long ago.
        """
        caller.require_fresh()
        if user_id == caller.user_id:
            raise Forbidden("Unlink your own at /me/identities.")
        async with self._db.transaction() as tx:
            person = await hold_other(tx, caller, user_id)
            provider = await federation.remove(tx, user_id, identity_id)
            if provider is None:
                raise NotFound
            if provider == GPUSTACK:
                raise Conflict("The account is known by this identity.")
            ended, _ = await self._sessions.revoke_in(tx, user_id, "identity_unlinked", caller.user_id, client)
            await note_other(tx, Event.IDENTITY_UNLINKED, caller, user_id, client, {"provider": provider})
            label = self._sign_ins.label(provider)
            await self._mails.notice(tx, "identity.unlinked", person, None, provider=label)
        await self._entries.outbox.settle(ended)
        self._mails.wake()

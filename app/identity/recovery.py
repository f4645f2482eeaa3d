"""The ways back in: a link for a new password, and the link that says that it was somebody else."""

from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from app.audit.events import Event, record
from app.cache.entries import Entries
from app.client import Client
from app.database import Database, Transaction
from app.errors import Conflict, InvalidOneTimeToken, Unavailable
from app.factors import queries as factors
from app.federation import queries as federation
from app.identity import names, queries
from app.identity.emails import displace
from app.identity.mails import Mails
from app.identity.passwords import Passwords
from app.identity.structs import UserEntry
from app.identity.ways_in import WaysIn
from app.limits.quota import Quota
from app.mail.sender import Errand
from app.proofs import queries as proofs
from app.proofs.tokens import OneTimeTokens, Purpose
from app.providers import LOCAL
from app.sessions.service import Sessions
from app.sessions.structs import user_key

# An errand: who asks is told the same, in the same time, whether there is such a user or not.
FORGOT = "password.forgot"


class Recovery:
    """What somebody can do who reads the mail of an account."""

    def __init__(
        self,
        db: Database,
        entries: Entries,
        sessions: Sessions,
        passwords: Passwords,
        ways_in: WaysIn,
        mails: Mails,
        mailings: Quota,
        askings: Quota,
        tokens: OneTimeTokens,
    ) -> None:
        self._db = db
        self._entries = entries
        self._sessions = sessions
        self._passwords = passwords
        self._ways_in = ways_in
        self._mails = mails
        self._mailings = mailings
        self._askings = askings
        self._tokens = tokens

    # ---- asking for a link ------------------------------------------------------------------------------------------

    async def forgot(self, email: str, client: Client) -> None:
        """Have a link sent, if there is such an account; the request does not find out.

        Raises:
            ValidationFailed: it is not an address.
            RateLimited: too many mails to this address, or asked for from this network.
            Unavailable: this installation sends no mail.
        """
        email = names.email(email)
        self._mails.require()
        await self._askings.hit(client.network, client, None)
        await self._mailings.hit(email, client, None)
        async with self._db.transaction() as tx:
            await self._mails.leave_errand(tx, FORGOT, email, client)
        self._mails.wake()

    async def remind(self, tx: Transaction, errand: Errand) -> None:
        """The errand that `forgot` leaves: a link for whoever has this address and can sign in by a password."""
        user_id = await queries.id_by_email(tx, errand.recipient)
        row = await queries.lock(tx, user_id) if user_id is not None else None
        if row is None or row["email"] != errand.recipient or not await self._may_reset(tx, row):
            return
        client = msgspec.convert(errand.context, Client)
        await self._mails.reset(tx, queries.entry(row))
        await record(tx, Event.PASSWORD_RESET_REQUESTED, client, user_id=row["id"])

    async def send(self, tx: Transaction, row: asyncpg.Record, actor_id: int, client: Client) -> None:
        """Send a link at an administrator's wish, who holds the user's row.

        Raises:
            Conflict: the user has no address, is not active, or is known to another service.
        """
        if row["email"] is None or not await self._may_reset(tx, row):
            raise Conflict("This user cannot be sent a link: no address, not active, or signing in elsewhere.")
        kind = "password.reset" if row["password_hash"] else "invitation"
        await self._mails.reset(tx, queries.entry(row), kind)
        await record(tx, Event.PASSWORD_RESET_REQUESTED, client, user_id=row["id"], actor_id=actor_id)

    # ---- using one --------------------------------------------------------------------------------------------------

    async def reset(self, token: str, new_password: str, client: Client) -> None:
        """A new password for whoever reads the account's mail; every session ends, and none begins.

        Where that is the first proof of the address, passkeys and identities go as well: whoever has made the account
        with the address of somebody else would come back by them.

        Raises:
            InvalidOneTimeToken: it is good for nothing (any more).
            WeakPassword: the password may not be used; the token stays good.
            Overloaded: more than the cores can hash.
        """
        token_id = self._tokens.read(Purpose.RESET_PASSWORD, token)
        proof = await proofs.look(self._db, Purpose.RESET_PASSWORD, token_id)
        row = await queries.by_id(self._db, proof.user_id) if proof else None
        if row is None or not await self._may_reset(self._db, row):
            raise InvalidOneTimeToken
        await self._passwords.check_strength(
            new_password, username=row["username"], email=row["email"], full_name=row["full_name"], field="new_password"
        )
        password_hash = await self._passwords.hash(new_password)
        async with self._db.transaction() as tx:
            person = await self._use(tx, Purpose.RESET_PASSWORD, token_id, row["id"])
            await queries.set_password(tx, person.id, password_hash)
            await self._mails.void(tx, person.id, Purpose.RESET_PASSWORD)
            await self._mails.cancel_move(tx, person)
            proved = msgspec.structs.replace(person, email_verified=True)
            if not person.email_verified:  # the link was read there
                await queries.set_email(tx, person.id, person.email, verified=True)
                await record(tx, Event.EMAIL_VERIFIED, client, user_id=person.id, actor_id=person.id)
                await self._take_away(tx, person.id, None, "password_reset", client)
            ended, _ = await self._sessions.revoke_in(tx, person.id, "password_reset", person.id, client)
            change = await self._entries.outbox.announce(tx, [user_key(person.id)])
            await record(tx, Event.PASSWORD_RESET, client, user_id=person.id, actor_id=person.id)
            if row["password_hash"]:  # else it is the first, or follows "this wasn't me"
                await self._mails.notice(tx, "password.changed", proved, client)
        await self._entries.outbox.settle(ended, change)
        self._mails.wake()

    async def not_me(self, token: str, client: Client) -> None:
        """Somebody else did what this token's letter told of: shut him out.

        Every session ends, the password is void and so are links that the intruder may have, the address to which the
        letter was sent is the user's again, and a link for a new password goes there. A second factor or an identity
        that is younger than the oldest such letter to this address that is still good is taken away, for it may be the
        intruder's; an older one stays, for it keeps out who reads the mail and no more.

        Raises:
            InvalidOneTimeToken: it is good for nothing (any more).
            Unavailable: somebody else takes the address at this moment; the token stays good.
        """
        token_id = self._tokens.read(Purpose.NOT_ME, token)
        proof = await proofs.look(self._db, Purpose.NOT_ME, token_id)
        if proof is None:
            raise InvalidOneTimeToken
        async with self._db.transaction() as tx:
            person = await self._use(tx, Purpose.NOT_ME, token_id, proof.user_id, proof.email)
            displaced = await displace(tx, self._mails, proof.email, person.id)
            taken = await queries.id_by_email(tx, proof.email) not in (None, person.id)
            email = None if taken else proof.email  # proved by somebody else by now: the intruder's goes all the same
            try:
                await queries.set_email(tx, person.id, email, verified=email is not None)
            except asyncpg.UniqueViolationError:  # taken this very moment: the next try finds that out
                raise Unavailable from None
            await queries.set_password(tx, person.id, None)
            # what is younger than any letter to this address may be the intruder's: who knows which one is read?
            since = min(filter(None, (proof.made_at, await proofs.oldest(tx, person.id, Purpose.NOT_ME, proof.email))))
            had_totp = await factors.remove_totp(tx, person.id, since=since)
            await self._take_away(tx, person.id, since, "not_me", client)
            needs_password = person.provider == LOCAL or await self._ways_in.none_left(tx, person.id)
            if had_totp:
                await queries.set_mfa(tx, person.id, enabled=False)
            await self._mails.void(tx, person.id, Purpose.VERIFY_EMAIL, Purpose.RESET_PASSWORD)
            await proofs.void_not_me(tx, person.id, token_id, proof.email)
            ended, _ = await self._sessions.revoke_in(tx, person.id, "not_me", person.id, client)
            change = await self._entries.outbox.announce(tx, [user_key(person.id), *displaced])
            for event, details in (
                (Event.USER_UPDATED, {"changed": ["email"]} if person.email != email else None),
                (Event.EMAIL_VERIFIED, None if taken or (person.email_verified and person.email == email) else {}),
                (Event.MFA_DISABLED, {"reason": "not_me"} if had_totp else None),
                (Event.PASSWORD_RESET_REQUESTED, {"reason": "not_me"} if needs_password else None),
            ):
                if details is not None:
                    await record(tx, event, client, user_id=person.id, actor_id=person.id, details=details)
            if needs_password:  # else he signs in elsewhere
                await self._mails.reset(tx, msgspec.structs.replace(person, email=email), "password.forced")
        await self._entries.outbox.settle(ended, change)
        self._mails.wake()

    async def _take_away(
        self, tx: Transaction, user_id: int, since: datetime | None, reason: str, client: Client
    ) -> None:
        """Passkeys and identities; with `since` those that are as young."""
        gone: list[tuple[Event, dict[str, object]]] = [
            (Event.IDENTITY_UNLINKED, {"provider": each}) for each in await federation.take_away(tx, user_id, since)
        ]
        if passkeys := await factors.remove_passkeys(tx, user_id, since=since):
            gone.append((Event.PASSKEY_REMOVED, {"passkeys": passkeys}))
        for event, details in gone:
            said = {"reason": reason, **details}
            await record(tx, event, client, user_id=user_id, actor_id=user_id, details=said)

    async def _use(
        self, tx: Transaction, purpose: Purpose, token_id: UUID, user_id: int, email: str | None = None
    ) -> UserEntry:
        """The user, held with whoever has this address, for whom the token was good until now."""
        row = await queries.lock(tx, user_id, email=email)
        if row is None or not row["is_active"] or not await proofs.use(tx, purpose, token_id):
            raise InvalidOneTimeToken
        return queries.entry(row)

    async def _may_reset(self, on: Database | Transaction, row: asyncpg.Record) -> bool:
        """Whether a password is a way in for this user, or may become one: who is known elsewhere signs in there.

        But for whom no way is left: his provider is asked no more, or an intruder has taken his identity away.
        """
        return bool(row["is_active"]) and (row["provider"] == LOCAL or await self._ways_in.none_left(on, row["id"]))

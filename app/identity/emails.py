"""Addresses: proved by a link, changed by one, and the link asked for again."""

import asyncpg

from app.audit.events import Event, record
from app.cache.entries import Entries
from app.cache.outbox import Change
from app.client import Client
from app.database import Database, Transaction
from app.errors import EmailTaken, InvalidOneTimeToken, NotFound
from app.identity import names, queries
from app.identity.callers import hold_caller, note
from app.identity.mails import Mails
from app.identity.structs import UserEntry
from app.limits.quota import Quota
from app.proofs import queries as proofs
from app.proofs.tokens import OneTimeTokens, Purpose
from app.sessions.authenticator import Identified, Subject
from app.sessions.structs import user_key


class Emails:
    """What people do with their addresses."""

    def __init__(self, db: Database, entries: Entries, mails: Mails, mailings: Quota, tokens: OneTimeTokens) -> None:
        self._db = db
        self._entries = entries
        self._mails = mails
        self._mailings = mailings
        self._tokens = tokens

    async def change(self, caller: Identified[Subject], email: str | None, client: Client) -> None:
        """Take an address, once whoever reads it has said so; or have none from now on.

        Raises:
            ReauthenticationRequired: the login is too long ago.
            ValidationFailed: it is none, or written to be taken for another.
            EmailTaken: somebody else has it.
            RateLimited: too many mails to this address.
            Unavailable: this installation sends no mail.
        """
        caller.require_fresh()
        if email is None:
            await self._remove(caller, client)
            return
        email = names.email(email)
        self._mails.require()
        person = queries.entry(await self._row(caller.user_id))
        if email != person.email:
            await self._mailings.hit(
                f"user {caller.user_id}", client, caller.user_id
            )  # or any address could be tried out
            await self._mailings.hit(email, client, caller.user_id)
            if await queries.email_taken(self._db, email):
                raise EmailTaken
        async with self._db.transaction() as tx:
            person = await hold_caller(tx, caller)
            if email == person.email:
                await self._mails.cancel_move(tx, person)
            else:
                await self._mails.verify(tx, person, email)
        self._mails.wake()

    async def _remove(self, caller: Identified[Subject], client: Client) -> None:
        async with self._db.transaction() as tx:
            person = await hold_caller(tx, caller)
            await self._mails.void(tx, person.id, Purpose.VERIFY_EMAIL, Purpose.RESET_PASSWORD)
            change = Change({})
            if person.email is not None:
                change = await self._entries.outbox.announce(tx, [user_key(person.id)])
                await queries.set_email(tx, person.id, None, verified=False)
                await self._mails.notice(tx, "email.changed", person, client, to=person.email, new_email=None)
                details = {"changed": ["email"]}
                await note(tx, Event.USER_UPDATED, caller, client, details)
        await self._entries.outbox.settle(change)
        self._mails.wake()

    async def waiting(self, person: UserEntry) -> str | None:
        """The address that waits for its proof, if one does: a new one, or the present one that has none."""
        return await proofs.newest_email(self._db, person.id) or (None if person.email_verified else person.email)

    async def resend(self, caller: Identified[Subject], client: Client) -> None:
        """Send the link again, to the address that waits for it; if none does, nothing.

        Raises:
            RateLimited: too many mails to this address.
            Unavailable: this installation sends no mail.
        """
        self._mails.require()
        person = queries.entry(await self._row(caller.user_id))
        email = await self.waiting(person)
        if email is None:
            return
        await self._mailings.hit(email, client, caller.user_id)
        async with self._db.transaction() as tx:
            person = await hold_caller(tx, caller)
            if email in (await proofs.newest_email(tx, person.id), person.email):  # still
                await self._mails.verify(tx, person, email)
        self._mails.wake()

    async def verify(self, token: str, client: Client) -> None:
        """The address to which this token was sent is the user's from now on, and proved.

        Raises:
            InvalidOneTimeToken: it proves nothing (any more).
            EmailTaken: somebody else was faster.
        """
        token_id = self._tokens.read(Purpose.VERIFY_EMAIL, token)
        proof = await proofs.look(self._db, Purpose.VERIFY_EMAIL, token_id)
        if proof is None:
            raise InvalidOneTimeToken
        async with self._db.transaction() as tx:
            row = await queries.lock(tx, proof.user_id, email=proof.email)
            if row is None or not row["is_active"] or not await proofs.use(tx, Purpose.VERIFY_EMAIL, token_id):
                raise InvalidOneTimeToken
            person = queries.entry(row)
            moved = person.email != proof.email
            displaced = await displace(tx, self._mails, proof.email, person.id)
            try:
                await queries.set_email(tx, person.id, proof.email, verified=True)
            except asyncpg.UniqueViolationError:
                raise EmailTaken from None
            if moved:
                await self._mails.void(tx, person.id, Purpose.RESET_PASSWORD)
                if person.email is not None:
                    await self._mails.notice(
                        tx, "email.changed", person, client, to=person.email, new_email=proof.email
                    )
                details = {"changed": ["email"]}
                await record(tx, Event.USER_UPDATED, client, user_id=person.id, actor_id=person.id, details=details)
            await record(tx, Event.EMAIL_VERIFIED, client, user_id=person.id, actor_id=person.id)
            change = await self._entries.outbox.announce(tx, [user_key(person.id), *displaced])
        await self._entries.outbox.settle(change)
        self._mails.wake()

    async def _row(self, user_id: int) -> asyncpg.Record:
        row = await queries.by_id(self._db, user_id)
        if row is None:
            raise NotFound
        return row


async def displace(tx: Transaction, mails: Mails, email: str, user_id: int) -> list[str]:
    """Take an address from whoever has it without a proof, for one who has; the keys of the entries that this changes.

    The links that were mailed there for his account are void.
    """
    displaced = await queries.displace(tx, email, user_id)
    for each in displaced:
        await mails.void(tx, each, Purpose.VERIFY_EMAIL, Purpose.RESET_PASSWORD)
        await record(tx, Event.USER_UPDATED, user_id=each, details={"changed": ["email"]})
    return [user_key(each) for each in displaced]

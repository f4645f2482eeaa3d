"""Shadows: what GPUStack says of its users, brought over to their accounts here.

A shadow is known by the instance and the id there, never by a name: a name that is made again there is another person.
"""

import secrets
from typing import Literal
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct

from app.audit.events import Event, record
from app.cache.entries import Entries
from app.cache.outbox import Change
from app.client import Client
from app.database import Database, Transaction
from app.errors import Unavailable, ValidationFailed
from app.factors import queries as factors
from app.federation import queries as federation
from app.gpustack import queries as gpustack
from app.gpustack.answers import Account
from app.identity import names, queries, shadow_queries
from app.identity.mails import Mails
from app.identity.structs import UserEntry
from app.proofs.tokens import Purpose
from app.providers import GPUSTACK
from app.sessions.service import Sessions
from app.sessions.structs import ADMIN, user_key

Outcome = Literal["created", "updated", "deactivated", "reactivated", "unchanged"]


class Origin(Struct, frozen=True):
    """Who has brought it about that GPUStack was heard: somebody who signs in or asks for the list, or the schedule."""

    client: Client | None = None
    actor_id: int | None = None
    session_id: UUID | None = None


class Taken(Struct, frozen=True):
    """A shadow as GPUStack has it now, and what was changed for that."""

    user_id: int
    identity_id: UUID
    has_email: bool
    outcome: Outcome


class SaysMore(Exception):
    """GPUStack lets in whom it had shut out, or gives `admin` to who lacks it: perhaps as it was until a moment ago.

    An answer is brought over some time after it was given, and what took the same away may have come between the two.
    Whoever asks once more now knows.
    """


class Shadows:
    """Keeps the accounts of one instance's users. The subject is held first, then the users, then their sessions.

    What GPUStack has decided is not asked whether it leaves an administrator here: somebody who is shut out there is
    shut out here as well, and `gatehouse users create-admin` is the way back in.
    """

    def __init__(self, db: Database, entries: Entries, sessions: Sessions, mails: Mails, issuer: str) -> None:
        self.issuer = issuer
        self._db = db
        self._entries = entries
        self._sessions = sessions
        self._mails = mails

    async def take_over(self, account: Account, origin: Origin, *, asked_again: bool = False) -> Taken:
        """What the list says of a user; `asked_again` if that was asked for after SaysMore.

        Raises:
            SaysMore: it has to be asked again before that is done; nothing was changed.
            Unavailable: somebody else takes the name at this moment.
        """
        return await self._bring_over(account, origin, asked_again=asked_again)

    async def sign_in(
        self, account: Account, password_hash: str | None, client: Client, *, asked_again: bool = False
    ) -> Taken:
        """What a login says of its user, and the hash of the password that was good there, if one is kept.

        Raises:
            SaysMore, Unavailable: as above.
        """
        return await self._bring_over(account, Origin(client), (password_hash,), asked_again=asked_again)

    async def _bring_over(
        self, account: Account, origin: Origin, shown: tuple[str | None] | None = None, *, asked_again: bool
    ) -> Taken:
        changes: list[Change] = []
        try:
            async with self._db.transaction() as tx:
                taken = await self._in(tx, account, origin, changes, asked_again=asked_again)
                if shown is not None:
                    await gpustack.keep_verifier(tx, taken.identity_id, *shown)
                    await federation.use(tx, taken.identity_id, taken.user_id, username=account.username, email=None)
        except asyncpg.UniqueViolationError:
            raise Unavailable from None
        await self._entries.outbox.settle(*changes)
        self._mails.wake()
        return taken

    async def _in(
        self, tx: Transaction, account: Account, origin: Origin, changes: list[Change], *, asked_again: bool
    ) -> Taken:
        subject = str(account.id)
        await federation.hold_subject(tx, self.issuer, subject)
        await shadow_queries.hold(tx, self.issuer, subject, account.username)
        row = await shadow_queries.held(tx, self.issuer, subject)
        if row is not None and account.made_since(row["known_since"], row["now"]):
            await self._retire(tx, row, origin, changes)
            row = None
        namesake = await shadow_queries.namesake(tx, account.username)
        if namesake is not None and (row is None or row["id"] != namesake):
            changes.append(await self._give_stand_in(tx, namesake, account.username, origin))
        if row is None:
            return await self._create(tx, account, origin)
        before, identity_id = queries.entry(row), row["identity_id"]
        after = brought_over(before, account, deactivated_there=row["deactivated_there"])
        if not asked_again and gains(before, after):
            raise SaysMore
        outcome: Outcome = "unchanged"
        if after != before:
            outcome = await self._change(tx, before, after, origin, changes)
        if before.is_active != after.is_active:
            await gpustack.note_deactivation(tx, identity_id, there=not after.is_active)
        return Taken(before.id, identity_id, before.email is not None, outcome)

    async def deactivate(self, subject: str, origin: Origin) -> bool:
        """GPUStack has no such user any more, or has deactivated him; whether he was active here."""
        changes: list[Change] = []
        async with self._db.transaction() as tx:
            await federation.hold_subject(tx, self.issuer, subject)
            await shadow_queries.hold(tx, self.issuer, subject)
            row = await shadow_queries.held(tx, self.issuer, subject)
            if row is None or not row["is_active"]:
                return False
            before = queries.entry(row)
            await self._change(tx, before, msgspec.structs.replace(before, is_active=False), origin, changes)
            await gpustack.note_deactivation(tx, row["identity_id"], there=True)
        await self._entries.outbox.settle(*changes)
        self._mails.wake()
        return True

    async def _retire(self, tx: Transaction, row: asyncpg.Record, origin: Origin, changes: list[Change]) -> None:
        """Somebody else has got his id there: he is shut out for good, and what he has here is not handed on."""
        before = queries.entry(row)
        await shadow_queries.retire(tx, row["identity_id"])
        after = msgspec.structs.replace(before, username=_stand_in(before.username), is_active=False)
        await self._change(tx, before, after, origin, changes)
        await gpustack.note_deactivation(tx, row["identity_id"], there=True)

    async def _give_stand_in(self, tx: Transaction, user_id: int, username: str, origin: Origin) -> Change:
        """A name for a shadow whose own is somebody else's there by now; the list brings him his new one, if any."""
        await shadow_queries.rename(tx, user_id, _stand_in(username))
        await _note(tx, Event.USER_UPDATED, user_id, origin, {"changed": ["username"]})
        return await self._entries.outbox.announce(tx, [user_key(user_id)])

    async def _create(self, tx: Transaction, account: Account, origin: Origin) -> Taken:
        user_id = await queries.add(
            tx,
            username=account.username,
            email=None,
            full_name=kept_full_name(account.full_name),
            password_hash=None,
            is_active=account.is_active,
            provider=GPUSTACK,
        )
        if user_id is None:  # somebody else has taken the name since it was looked for
            raise Unavailable
        roles = [ADMIN] if account.is_admin else []
        await queries.set_roles(tx, user_id, roles)
        added = await federation.add(
            tx, user_id, GPUSTACK, self.issuer, str(account.id), username=account.username, email=None
        )
        assert added is not None  # noqa: S101 - the subject is held
        if not account.is_active:
            await gpustack.note_deactivation(tx, added["id"], there=True)
        await _note(tx, Event.USER_CREATED, user_id, origin, {"roles": roles})
        return Taken(user_id, added["id"], False, "created")  # noqa: FBT003 - a struct's field

    async def _change(
        self, tx: Transaction, before: UserEntry, after: UserEntry, origin: Origin, changes: list[Change]
    ) -> Outcome:
        changed = [
            name for name in ("username", "full_name", "is_active") if getattr(before, name) != getattr(after, name)
        ]
        if changed:
            await shadow_queries.update(
                tx, after.id, username=after.username, full_name=after.full_name, is_active=after.is_active
            )
            details: dict[str, object] = {"changed": changed}
            if "is_active" in changed:
                details["is_active"] = after.is_active
            await _note(tx, Event.USER_UPDATED, after.id, origin, details)
        changes.append(await self._entries.outbox.announce(tx, [user_key(after.id)]))
        if before.roles != after.roles:
            added, removed = sorted(set(after.roles) - set(before.roles)), sorted(set(before.roles) - set(after.roles))
            await queries.set_admin(tx, after.id, is_admin=ADMIN in after.roles)
            await _note(tx, Event.ROLE_CHANGED, after.id, origin, {"added": added, "removed": removed})
            await self._mails.notice(tx, "roles.changed", after, None, added=added, removed=removed)
        if before.is_active == after.is_active:
            return "updated"
        if after.is_active:
            return "reactivated"
        changes.append(await self._shut_out(tx, before, origin))
        return "deactivated"

    async def _shut_out(self, tx: Transaction, person: UserEntry, origin: Origin) -> Change:
        await factors.void_pending(tx, person.id)
        await self._mails.void(tx, person.id, *Purpose)
        await self._mails.tell(tx, "account.deactivated", person)
        ended, _ = await self._sessions.revoke_in(tx, person.id, "deactivated", origin.actor_id, origin.client)
        return ended


def brought_over(before: UserEntry, account: Account, *, deactivated_there: bool) -> UserEntry:
    """A shadow as it is to be. Whom an administrator here has deactivated, GPUStack does not activate."""
    roles = {*before.roles, ADMIN} if account.is_admin else {*before.roles} - {ADMIN}
    return msgspec.structs.replace(
        before,
        username=account.username,
        full_name=kept_full_name(account.full_name),
        roles=before.roles if roles == {*before.roles} else sorted(roles),
        is_active=account.is_active and (before.is_active or deactivated_there),
    )


def gains(before: UserEntry, after: UserEntry) -> bool:
    """Whether a shadow is to have more than he has."""
    return (after.is_active and not before.is_active) or (ADMIN in after.roles and ADMIN not in before.roles)


def kept_full_name(text: str | None) -> str | None:
    """As everybody's is kept; what cannot be is left out, for nobody here has typed it."""
    try:
        return names.full_name(text)
    except ValidationFailed:
        return None


def _stand_in(username: str) -> str:
    return f"{username}~{secrets.token_hex(4)}"


async def _note(tx: Transaction, event: Event, user_id: int, origin: Origin, details: dict[str, object]) -> None:
    await record(
        tx,
        event,
        origin.client,
        user_id=user_id,
        actor_id=origin.actor_id,
        session_ids=[origin.session_id],
        details={**details, "by": GPUSTACK},
    )

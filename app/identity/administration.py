"""Looking after the accounts of others. Nobody hands out, changes or takes away what is above the own rights."""

from collections.abc import Collection, Mapping

import asyncpg
import msgspec
from msgspec import UNSET

from app.audit.events import Event
from app.cache.entries import Entries
from app.cache.outbox import Change
from app.client import Client
from app.database import Database, Transaction
from app.errors import Conflict, EmailTaken, Forbidden, NotFound
from app.factors import queries as factors
from app.gpustack import queries as gpustack
from app.identity import names, queries, role_queries
from app.identity.accounts import id_of, taken
from app.identity.administrators import hold_to_delete, is_active_admin, keep_an_admin
from app.identity.callers import hold_other, note_other
from app.identity.entry import People
from app.identity.erasure import blank, erase
from app.identity.import_lines import ImportLine
from app.identity.mails import Mails
from app.identity.passwords import Passwords
from app.identity.roles import Actor, about_roles, give, require_roles, roles_after
from app.identity.structs import NewUser, User, UserChange, UserEntry
from app.proofs import queries as proofs
from app.proofs.tokens import Purpose
from app.providers import GPUSTACK, LOCAL
from app.sessions.service import Sessions
from app.sessions.structs import ADMIN, user_key

PROFILE = ("email", "full_name", "is_active", "must_change_password")


class Administration:
    """What administrators, and whoever else holds `users:write`, do with accounts. No caller is the command line.

    Locks are taken in one order: the role table, where roles are given or taken; the administrators together, where
    one may go; then the user; then the user's sessions. A login takes the last two.
    """

    def __init__(
        self,
        db: Database,
        entries: Entries,
        people: People,
        sessions: Sessions,
        passwords: Passwords,
        mails: Mails,
    ) -> None:
        self._db = db
        self._entries = entries
        self._people = people
        self._sessions = sessions
        self._passwords = passwords
        self._mails = mails

    async def read_user(self, user_id: int) -> User:
        """A user, as PostgreSQL has him now.

        Raises:
            NotFound: there is none.
        """
        row = await queries.by_id(self._db, user_id)
        if row is None:
            raise NotFound
        return await self._people.show(queries.entry(row))

    async def id_of(self, name_or_id: str) -> int:
        """Raises NotFound: it names nobody."""
        return await id_of(self._db, name_or_id)

    async def usernames(self, user_ids: Collection[int]) -> Mapping[int, str]:
        """What these people are called; who is gone is not among them."""
        return await queries.usernames(self._db, list(user_ids)) if user_ids else {}

    # ---- making ---------------------------------------------------------------------------------------------------

    async def create_user(self, caller: Actor | None, new: NewUser, client: Client | None) -> User:
        """A local user. Without a password he is mailed an invitation to set one, if he has an address.

        Raises:
            Forbidden: a role allows more than the caller may do.
            UsernameTaken, EmailTaken, WeakPassword, ValidationFailed: as they say.
            Unavailable: he should be invited, and this installation sends no mail.
        """
        username = names.local_username(new.username)
        email = names.email(new.email) if new.email is not None else None
        full_name = names.full_name(new.full_name)
        roles = roles_after(new, [])
        password_hash = None
        invited = new.password is None and email is not None and new.is_active
        if invited:
            self._mails.require()
        if new.password is not None:
            await self._passwords.check_strength(new.password, username=username, email=email, full_name=full_name)
            password_hash = await self._passwords.hash(new.password)
        must_change = new.password is not None if new.must_change_password is UNSET else new.must_change_password
        async with self._db.transaction() as tx:
            if roles:
                await role_queries.hold_still(tx)
            await require_roles(tx, caller, roles)
            user_id = await queries.add(
                tx,
                username=username,
                email=email,
                full_name=full_name,
                password_hash=password_hash,
                is_active=new.is_active,
                must_change_password=must_change,
            )
            if user_id is None:
                raise await taken(tx, username, email)
            await give(tx, user_id, roles)
            await note_other(tx, Event.USER_CREATED, caller, user_id, client, {"roles": roles})
            person = await queries.person(tx, user_id)
            if invited:
                await self._mails.reset(tx, person, "invitation")
            elif email is not None:
                await self._mails.ask_to_verify(tx, person)
        self._mails.wake()
        return await self._people.show(person)

    # ---- changing -------------------------------------------------------------------------------------------------

    async def change_user(self, caller: Actor | None, user_id: int, asked: UserChange, client: Client | None) -> User:
        """Change what is named. Who is deactivated, or is given a password, is signed out everywhere.

        Raises:
            NotFound: there is no such user.
            Forbidden: the user, or a new role of his, may do more than the caller.
            LastAdmin: there would be no active administrator any more.
            EmailTaken, WeakPassword, ValidationFailed: as they say.
            Conflict: a password is to be set that GPUStack keeps, or to be changed where there is none.
        """
        if asked.email is not UNSET and caller is not None and user_id == caller.user_id:
            raise Forbidden("Change your own address at /me: it has to be proved.")
        password_hash = await self._hash(caller, user_id, asked)
        reason = names.label(asked.reason, "reason")
        changes: list[Change] = []
        async with self._db.transaction() as tx:
            if about_roles(asked):
                await role_queries.hold_still(tx)
            if may_take_an_admin(asked):
                await queries.hold_admins(tx)
            before = await hold_other(tx, caller, user_id)
            after = _changed(before, asked)
            calls_in = asked.password is UNSET and after.must_change_password and not before.must_change_password
            if calls_in and await queries.lacks_password(tx, user_id):
                raise Conflict("This user has no password that could be changed.")  # and would be locked out for good
            if asked.is_active is False and not before.is_active and await gpustack.note_own_decision(tx, user_id):
                said = {"changed": ["is_active"], "is_active": False}  # by GPUStack until now, which takes it back
                await note_other(tx, Event.USER_UPDATED, caller, user_id, client, _because(reason, said))
            if after != before or password_hash is not None:
                await require_roles(tx, caller, after.roles)
                await _write(tx, before, after, password_hash)
                await _note_change(tx, caller, before, after, client, reason, with_password=password_hash is not None)
                changes = await self._end(tx, caller, before, after, client, with_password=password_hash is not None)
                await self.tell(tx, before, after, with_password=password_hash is not None)
            else:  # as somebody else has just made it, perhaps: the answer vouches for that
                changes = [await self._entries.outbox.unsettled(tx)]
            person = await queries.person(tx, user_id)
        await self._entries.outbox.settle(*changes)
        self._mails.wake()
        return await self._people.show(person)

    async def tell(
        self,
        tx: Transaction,
        before: UserEntry,
        after: UserEntry,
        *,
        with_password: bool = False,
        at_new_address: bool = True,
    ) -> None:
        """Void the links that the change leaves behind, and tell the user of it.

        Where the address has changed, the one before is told of all there is to tell: the new one is not proved, and is
        asked to be unless nobody shall write there yet.
        """
        moved, deactivated = before.email != after.email, before.is_active and not after.is_active
        added, removed = sorted(set(after.roles) - set(before.roles)), sorted(set(before.roles) - set(after.roles))
        if deactivated:
            await self._mails.void(tx, after.id, *Purpose)
            await self._mails.tell(tx, "account.deactivated", before)
        if moved:
            await self._mails.void(tx, after.id, Purpose.VERIFY_EMAIL, Purpose.RESET_PASSWORD)
            await proofs.void_elsewhere(tx, after.id, Purpose.NOT_ME, after.email)
            also = [*(["password"] if with_password else []), *(["roles"] if added or removed else [])]
            await self._mails.tell(tx, "email.moved", before, also=also)
            if at_new_address:
                await self._write_to_new_address(tx, after)
        if with_password:
            await self._mails.void(tx, after.id, Purpose.RESET_PASSWORD)
            await self._mails.cancel_move(tx, after)
            await self._mails.notice(tx, "password.changed", after, None, by_administrator=True)
        if added or removed:
            await self._mails.notice(tx, "roles.changed", after, None, added=added, removed=removed)

    async def _write_to_new_address(self, tx: Transaction, person: UserEntry) -> None:
        if person.is_active and person.provider == LOCAL and await queries.lacks_password(tx, person.id):
            await self._mails.reset(tx, person, "invitation")  # the first one went to a wrong address
        else:
            await self._mails.ask_to_verify(tx, person)

    async def _end(
        self,
        tx: Transaction,
        caller: Actor | None,
        before: UserEntry,
        after: UserEntry,
        client: Client | None,
        *,
        with_password: bool,
    ) -> list[Change]:
        """Announce the change, and end the sessions that it leaves no room for."""
        changes = [await self._entries.outbox.announce(tx, [user_key(after.id)])]
        deactivated = before.is_active and not after.is_active
        if deactivated or with_password:
            reason = "deactivated" if deactivated else "password_changed"
            await factors.void_pending(tx, after.id)
            ended, _ = await self._sessions.revoke_in(tx, after.id, reason, caller.user_id if caller else None, client)
            changes.append(ended)
        return changes

    async def _hash(self, caller: Actor | None, user_id: int, asked: UserChange) -> str | None:
        """The hash of a new password; whether it may be set is judged again once the user is held."""
        if asked.password is UNSET:
            return None
        if caller is not None and user_id == caller.user_id:
            raise Forbidden("Change your own password at /me/password: it asks for the present one.")
        row = await queries.by_id(self._db, user_id)
        if row is None:
            raise NotFound
        after = _changed(queries.entry(row), asked)
        await require_roles(self._db, caller, row["roles"])
        await self._passwords.check_strength(
            asked.password, username=after.username, email=after.email, full_name=after.full_name
        )
        return await self._passwords.hash(asked.password)

    # ---- deleting -------------------------------------------------------------------------------------------------

    async def delete_user(self, caller: Actor, user_id: int, client: Client) -> None:
        """Delete a user with everything that is his; the audit keeps his bare id.

        Raises:
            NotFound: there is no such user.
            Forbidden: the user may do more than the caller.
            LastAdmin: there would be no active administrator any more.
            ReauthenticationRequired: it is the caller himself, and his login is too long ago.
        """
        if user_id == caller.user_id:
            caller.require_fresh()
        outbox, key = self._entries.outbox, user_key(user_id)
        try:
            async with self._db.transaction() as tx:
                person = await hold_to_delete(tx, user_id)
                await require_roles(tx, caller, person.roles)
                change = await erase(tx, outbox, self._mails, person)
                await note_other(
                    tx, Event.USER_DELETED, caller, user_id, None if caller.user_id == user_id else client, {}
                )
        except NotFound:  # somebody else has just deleted him, perhaps: the answer vouches for that
            await outbox.settle(await outbox.unsettled(self._db, [key]))
            raise
        await outbox.settle(change)
        self._mails.wake()
        await blank(self._db, user_id)


# ---- what is asked ----------------------------------------------------------------------------------------------


def _changed(before: UserEntry, asked: UserChange) -> UserEntry:
    """The user as he is to be.

    Raises:
        ValidationFailed: a value cannot be kept.
        Conflict: the password is GPUStack's, and nobody could change it here.
    """
    if before.provider == GPUSTACK and (asked.password is not UNSET or asked.must_change_password is True):
        raise Conflict("GPUStack keeps this user's password: change it there.")
    email = before.email
    if asked.email is not UNSET:
        email = names.email(asked.email) if asked.email is not None else None
    must_change = before.must_change_password if asked.password is UNSET else True
    return msgspec.structs.replace(
        before,
        email=email,
        email_verified=before.email_verified and email == before.email,
        full_name=before.full_name if asked.full_name is UNSET else names.full_name(asked.full_name),
        is_active=before.is_active if asked.is_active is UNSET else asked.is_active,
        roles=roles_after(asked, before.roles),
        must_change_password=must_change if asked.must_change_password is UNSET else asked.must_change_password,
    )


def may_take_an_admin(asked: UserChange | ImportLine) -> bool:
    """Whether this can make an administrator less of whomever it is about."""
    return (
        asked.is_active is False or asked.is_admin is False or (asked.roles is not UNSET and ADMIN not in asked.roles)
    )


# ---- in the transaction -----------------------------------------------------------------------------------------


async def _write(tx: Transaction, before: UserEntry, after: UserEntry, password_hash: str | None) -> None:
    """Raises EmailTaken, LastAdmin, or ValidationFailed for a role that there is not."""
    try:
        await queries.update(
            tx,
            after.id,
            email=after.email,
            email_verified=after.email_verified,
            full_name=after.full_name,
            is_active=after.is_active,
            must_change_password=after.must_change_password,
        )
    except asyncpg.UniqueViolationError:
        raise EmailTaken from None
    if password_hash is not None:
        await queries.set_password(tx, after.id, password_hash, must_change=after.must_change_password)
    if after.is_active != before.is_active:
        await gpustack.note_own_decision(tx, after.id)
    if after.roles != before.roles:
        await give(tx, after.id, after.roles)
    if not is_active_admin(after):
        await keep_an_admin(tx, before)


async def _note_change(
    tx: Transaction,
    caller: Actor | None,
    before: UserEntry,
    after: UserEntry,
    client: Client | None,
    reason: str | None,
    *,
    with_password: bool,
) -> None:
    """An event for each kind of change, with the names of what has changed and the values of what is no secret."""
    details: dict[str, object]
    changed = [name for name in PROFILE if getattr(before, name) != getattr(after, name)]
    if with_password:
        details = {"must_change_password": after.must_change_password}
        await note_other(tx, Event.PASSWORD_CHANGED, caller, after.id, client, _because(reason, details))
        changed = [name for name in changed if name != "must_change_password"]
    if changed:
        details = {"changed": changed}
        if "is_active" in changed:
            details["is_active"] = after.is_active
        await note_other(tx, Event.USER_UPDATED, caller, after.id, client, _because(reason, details))
    added, removed = set(after.roles) - set(before.roles), set(before.roles) - set(after.roles)
    if added or removed:
        details = {"added": sorted(added), "removed": sorted(removed)}
        await note_other(tx, Event.ROLE_CHANGED, caller, after.id, client, _because(reason, details))


def _because(reason: str | None, details: dict[str, object]) -> dict[str, object]:
    return details if reason is None else {**details, "reason": reason}

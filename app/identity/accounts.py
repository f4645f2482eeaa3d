"""The life of an account: registered, changed, given a password, and the first one of all."""

import re
from collections.abc import Sequence

from msgspec import UNSET

from app.audit.events import Event, record
from app.cache.entries import Entries
from app.client import Client
from app.database import Database, Transaction
from app.errors import Conflict, EmailTaken, Forbidden, InvalidCredentials, NotFound, UsernameTaken, WeakPassword
from app.identity import names, queries
from app.identity.administrators import hold_to_delete
from app.identity.callers import hold_caller, note
from app.identity.confirmation import ROUNDS, Confirmation
from app.identity.emails import Emails
from app.identity.entry import People
from app.identity.erasure import blank, erase
from app.identity.mails import Mails
from app.identity.passwords import Passwords
from app.identity.structs import PasswordChange, ProfileChange, Registration, User
from app.limits.quota import Quota
from app.proofs.tokens import Purpose
from app.providers import GPUSTACK
from app.sessions.authenticator import Identified, Subject
from app.sessions.service import Sessions
from app.sessions.structs import ADMIN, user_key
from app.settings import Settings


class Accounts:
    """What people do with their own accounts."""

    def __init__(
        self,
        db: Database,
        entries: Entries,
        people: People,
        sessions: Sessions,
        passwords: Passwords,
        confirmation: Confirmation,
        registrations: Quota,
        judgements: Quota,
        welcomes: Quota,
        mails: Mails,
        emails: Emails,
        settings: Settings,
    ) -> None:
        self._db = db
        self._entries = entries
        self._people = people
        self._sessions = sessions
        self._passwords = passwords
        self._confirmation = confirmation
        self._registrations = registrations
        self._judgements = judgements
        self._welcomes = welcomes
        self._mails = mails
        self._emails = emails
        self._settings = settings

    async def register(self, new: Registration, client: Client) -> User:
        """A new account.

        Raises:
            Forbidden: registration is closed.
            RateLimited: too many registrations from this network; each well-formed one counts, also one that finds the
                name taken, or names could be tried out without end.
            UsernameTaken, EmailTaken, WeakPassword, ValidationFailed: as they say.
        """
        if self._settings.registration == "closed":
            raise Forbidden("Registration is closed.")
        username = names.local_username(new.username)
        email = names.email(new.email) if new.email is not None else None
        full_name = names.full_name(new.full_name)
        await self._judgements.hit(client.network, client, None)
        await self._passwords.check_strength(new.password, username=username, email=email, full_name=full_name)
        await self._registrations.hit(client.network, client, None)
        may_be_mailed = email is not None and await self._welcomes.has_room(email, client)
        # before the transaction: no connection is held meanwhile
        password_hash = await self._passwords.hash(new.password)
        async with self._db.transaction() as tx:
            user_id = await queries.add(
                tx, username=username, email=email, full_name=full_name, password_hash=password_hash
            )
            if user_id is None:
                raise await taken(tx, username, email)
            await record(tx, Event.USER_REGISTERED, client, user_id=user_id, actor_id=user_id)
            if may_be_mailed:  # else he asks for the letter himself, once he is signed in
                await self._mails.ask_to_verify(tx, await queries.person(tx, user_id))
        self._mails.wake()
        return await self._shown(user_id)

    async def change(self, caller: Identified[Subject], asked: ProfileChange, client: Client) -> User:
        """Change what is named of the caller's profile; a new address once it is proved (see `Emails.change`).

        Raises:
            ValidationFailed: the name is no label or would deceive, or the address is none.
            ReauthenticationRequired: an address is named, and the login is too long ago.
            EmailTaken: somebody else has the address.
            RateLimited: too many mails to it.
            Unavailable: this installation sends no mail.
            SessionRevoked: the session has ended meanwhile.
            NotFound: the caller is gone.
        """
        full_name = None if asked.full_name is UNSET else names.full_name(asked.full_name)
        if asked.email is not UNSET:
            await self._emails.change(caller, asked.email, client)
        if asked.full_name is not UNSET:
            await self._rename(caller, full_name, client)
        return await self._shown(caller.user_id, caller.amr)

    async def _rename(self, caller: Identified[Subject], full_name: str | None, client: Client) -> None:
        async with self._db.transaction() as tx:
            await hold_caller(tx, caller)
            await queries.set_full_name(tx, caller.user_id, full_name)
            change = await self._entries.outbox.announce(tx, [user_key(caller.user_id)])
            await note(tx, Event.USER_UPDATED, caller, client, {"changed": ["full_name"]})
        await self._entries.outbox.settle(change)

    async def change_password(self, caller: Identified[Subject], asked: PasswordChange, client: Client) -> None:
        """A new password for who knows the present one; every other session of the account ends.

        Raises:
            InvalidCredentials: the present password is another one; it counts as a failed login.
            WeakPassword: the new one may not be used.
            Conflict: it is GPUStack that keeps it, or there is none.
        """
        for _ in range(ROUNDS):
            row = await queries.by_id(self._db, caller.user_id)
            if row is None:
                raise NotFound
            if row["provider"] == GPUSTACK:
                raise Conflict("GPUStack keeps this password: change it there.")
            if row["password_hash"] is None:
                raise Conflict("This account has no password.")
            was = await self._confirmation.verified(
                caller.user_id, row["password_hash"], asked.current_password, client
            )
            if asked.new_password == asked.current_password:
                raise WeakPassword("The new password has to differ from the present one.", "new_password")
            await self._passwords.check_strength(
                asked.new_password,
                username=row["username"],
                email=row["email"],
                full_name=row["full_name"],
                field="new_password",
            )
            if await self._replace_password(caller, was, await self._passwords.hash(asked.new_password), client):
                return
        raise InvalidCredentials

    async def _replace_password(
        self, caller: Identified[Subject], was: str, password_hash: str, client: Client
    ) -> bool:
        """Whether it was still this one."""
        async with self._db.transaction() as tx:
            await hold_caller(tx, caller)
            if not await queries.set_password(tx, caller.user_id, password_hash, was=was):
                return False
            ended, _ = await self._sessions.revoke_in(
                tx, caller.user_id, "password_changed", caller.user_id, client, except_id=caller.session_id
            )
            change = await self._entries.outbox.announce(tx, [user_key(caller.user_id)])
            await note(tx, Event.PASSWORD_CHANGED, caller, client, {})
            person = await queries.person(tx, caller.user_id)
            await self._mails.void(tx, person.id, Purpose.RESET_PASSWORD)
            await self._mails.cancel_move(tx, person)
            await self._mails.notice(tx, "password.changed", person, client)
        await self._entries.outbox.settle(ended, change)
        self._mails.wake()
        return True

    async def delete(self, caller: Identified[Subject], password: str | None, client: Client) -> None:
        """Delete the caller's account with everything that is his.

        Raises:
            InvalidCredentials: the password is another one; it counts as a failed login.
            ValidationFailed: there is a password, and it was not said.
            ReauthenticationRequired: there is none, and the login is too long ago.
            LastAdmin: there would be no active administrator any more.
        """
        async with self._confirmation.confirmed(caller, password, client, hold_to_delete) as (tx, person):
            change = await erase(tx, self._entries.outbox, self._mails, person)
            await note(tx, Event.USER_DELETED, caller, None, {})
        await self._entries.outbox.settle(change)
        self._mails.wake()
        await blank(self._db, caller.user_id)

    async def _shown(self, user_id: int, ways: Sequence[str] = ()) -> User:
        user = await self._people.get(user_id, ways)
        if user is None:
            raise NotFound
        return user


async def taken(tx: Transaction, username: str, email: str | None) -> UsernameTaken | EmailTaken:
    """Which of the two an INSERT has run into; the name if it was both, or gone again since."""
    name_taken, email_taken = await queries.taken(tx, username, email)
    return EmailTaken() if email_taken and not name_taken else UsernameTaken()


async def id_of(db: Database, name_or_id: str) -> int:
    """Whom an operator means: by a local user's name, by an id, or by `id:7`, which is nobody's name.

    Raises:
        NotFound: nobody.
        Conflict: it is one's name and another's id: whoever registers may call himself by a number.
    """
    number = re.fullmatch(r"(id:)?([0-9]{1,19})", name_or_id)
    user_id = int(number[2]) if number else 0
    has_id = 0 < user_id < 1 << 63 and await queries.by_id(db, user_id) is not None
    account = None if number and number[1] else await queries.by_name(db, name_or_id, None)
    if account is not None and has_id and account.id != user_id:
        raise Conflict(f"{user_id} is the id of one and the name of another: say id:{user_id} or id:{account.id}.")
    if account is None and not has_id:
        raise NotFound(f"There is no local user {name_or_id!r}, and nobody with this id.")
    return user_id if account is None else account.id


async def create_first_admin(db: Database, passwords: Passwords, username: str, password: str) -> bool:
    """The first administrator, made once and only where there is no user at all; whether it was made now."""
    names.local_username(username)
    password_hash = await passwords.hash(password)
    async with db.transaction() as tx:
        if not await queries.take_first(tx):
            return False
        await _add_admin(tx, username, None, password_hash)
    return True


async def create_admin(
    db: Database, passwords: Passwords, username: str, password: str, email: str | None = None
) -> int:
    """Another administrator, by whoever may run commands on the server; the new id.

    Raises:
        UsernameTaken, EmailTaken, WeakPassword, ValidationFailed: as they say.
    """
    names.local_username(username)
    email = names.email(email) if email else None
    await passwords.check_strength(password, username=username, email=email, full_name=None)
    password_hash = await passwords.hash(password)
    async with db.transaction() as tx:
        return await _add_admin(tx, username, email, password_hash)


async def _add_admin(tx: Transaction, username: str, email: str | None, password_hash: str) -> int:
    user_id = await queries.add(tx, username=username, email=email, full_name=None, password_hash=password_hash)
    if user_id is None:
        raise await taken(tx, username, email)
    await queries.set_roles(tx, user_id, [ADMIN])
    await record(tx, Event.USER_CREATED, user_id=user_id, details={"roles": [ADMIN], "by": "command line"})
    return user_id


async def set_password(
    db: Database, entries: Entries, sessions: Sessions, passwords: Passwords, mails: Mails, username: str, password: str
) -> int:
    """The way back in: a new password by the command line; every session of the account ends. The user's id.

    Raises:
        NotFound: there is no local user of this name.
        WeakPassword: the password may not be used.
    """
    account = await queries.by_name(db, username, None)
    found = await queries.by_id(db, account.id) if account else None
    if found is None:
        raise NotFound(f"There is no local user {username!r}.")
    await passwords.check_strength(
        password, username=found["username"], email=found["email"], full_name=found["full_name"]
    )
    password_hash = await passwords.hash(password)
    async with db.transaction() as tx:
        person = await queries.hold(tx, found["id"])
        await queries.set_password(tx, person.id, password_hash)
        ended, _ = await sessions.revoke_in(tx, person.id, "password_changed", None, None)
        change = await entries.outbox.announce(tx, [user_key(person.id)])
        await record(tx, Event.PASSWORD_CHANGED, user_id=person.id, details={"by": "command line"})
        await mails.void(tx, person.id, Purpose.RESET_PASSWORD)
        await mails.cancel_move(tx, person)
        await mails.notice(tx, "password.changed", person, None, by_administrator=True)
    await entries.outbox.settle(ended, change)
    return person.id

"""One's own identities elsewhere: linked, shown, unlinked."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from app.audit.events import Event
from app.client import Client
from app.database import Database
from app.errors import Conflict, NotFound
from app.federation import queries as federation
from app.federation.sign_ins import SignIns
from app.identity.callers import hold_caller, note
from app.identity.mails import Mails
from app.identity.structs import CodeText, VerifierText
from app.identity.ways_in import WaysIn
from app.providers import GPUSTACK
from app.sessions.authenticator import Identified, Subject
from app.sessions.structs import Time

MOST = 20  # of a user: more than anybody has accounts to sign in with


class IdentityCode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a sign-in at the provider whose identity is to be linked."""

    code: CodeText
    code_verifier: VerifierText

    def __repr__(self) -> str:
        return "IdentityCode(...)"


class Identity(Struct, frozen=True, kw_only=True):
    id: UUID
    provider: str
    issuer: str
    username: Annotated[str | None, Meta(description="What the provider last called its user.")]
    email: Annotated[str | None, Meta(description="The address that the provider last named.")]
    created_at: Time
    last_used_at: Time | None


class IdentityList(Struct, frozen=True):
    items: list[Identity]


class Identities:
    """What people do with their identities. An identity's subject is held first, then the user."""

    def __init__(self, db: Database, sign_ins: SignIns, ways_in: WaysIn, mails: Mails) -> None:
        self._db = db
        self._sign_ins = sign_ins
        self._ways_in = ways_in
        self._mails = mails

    async def all_of(self, user_id: int) -> list[Identity]:
        return [Identity(**row) for row in await federation.of_user(self._db, user_id)]

    async def link(self, caller: Identified[Subject], asked: IdentityCode, client: Client) -> Identity:
        """Sign in with this identity as well from now on.

        Raises:
            ReauthenticationRequired: the login is too long ago; the code stays good.
            InvalidGrant: the code is unknown, used or too old, or the verifier is another one.
            SessionRevoked: the session has ended meanwhile.
            Conflict: it is somebody else's, or there are too many.
        """
        caller.require_fresh()
        said = await self._sign_ins.redeem(asked.code, asked.code_verifier)
        async with self._db.transaction() as tx:
            await federation.hold_subject(tx, said.issuer, said.subject)
            person = await hold_caller(tx, caller)
            own = await federation.of_user(tx, person.id)
            known = await federation.find(tx, said.issuer, said.subject)
            if known is not None and known["user_id"] != person.id:
                raise Conflict("This identity is somebody else's.")
            if known is not None:
                return next(Identity(**row) for row in own if row["id"] == known["id"])
            if len(own) >= MOST:
                raise Conflict(f"There are {MOST} identities already.")
            label = self._sign_ins.label(said.provider)
            await self._mails.notice(tx, "identity.linked", person, client, provider=label)  # first: see `not_me`
            row = await federation.add(
                tx, person.id, said.provider, said.issuer, said.subject, username=said.username, email=said.email
            )
            await note(tx, Event.IDENTITY_LINKED, caller, client, {"provider": said.provider})
        self._mails.wake()
        assert row is not None  # noqa: S101 - the subject was held
        return Identity(**row)

    async def unlink(self, caller: Identified[Subject], identity_id: UUID, client: Client) -> None:
        """Sign in with this identity no more; sessions go on.

        Raises:
            ReauthenticationRequired: the login is too long ago.
            SessionRevoked: the session has ended meanwhile.
            NotFound: the user has no such identity.
            Conflict: it is the last way to sign in, or the account is kept there.
        """
        caller.require_fresh()
        async with self._db.transaction() as tx:
            person = await hold_caller(tx, caller)
            provider = await federation.remove(tx, person.id, identity_id)
            if provider is None:
                raise NotFound
            if provider == GPUSTACK or await self._ways_in.none_left(tx, person.id):
                raise Conflict("This is the last way to sign in, or the one that the account is known by.")
            label = self._sign_ins.label(provider)
            await self._mails.notice(tx, "identity.unlinked", person, client, provider=label)
            await note(tx, Event.IDENTITY_UNLINKED, caller, client, {"provider": provider})
        self._mails.wake()

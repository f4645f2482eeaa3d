"""Passkeys: made, named, taken away."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta, Struct, field

from app.audit.events import Event
from app.client import Client
from app.database import Database
from app.devices import device_name
from app.errors import Conflict, NotFound, ValidationFailed
from app.factors import queries as factors
from app.factors.relying_party import TRANSPORTS, NotAccepted, RelyingParty
from app.identity import names, queries
from app.identity.callers import hold_caller, note
from app.identity.mails import Mails
from app.identity.structs import Transport
from app.identity.ways_in import WaysIn
from app.sessions.authenticator import Identified, Subject
from app.sessions.structs import Time
from app.uuid7 import uuid7

MOST = 20  # of a user: more than anybody has devices
MAX_CHARACTERS = 65_536  # of a part of an answer: attestations with a chain of certificates have a few thousand

Base64Url = Annotated[str, Meta(min_length=1, max_length=MAX_CHARACTERS, description="base64url")]
PasskeyName = Annotated[str, Meta(min_length=1, max_length=100)]


class AttestationResponse(Struct, frozen=True, kw_only=True):
    client_data_json: Base64Url = field(name="clientDataJSON")
    attestation_object: Base64Url = field(name="attestationObject")
    transports: Annotated[list[Annotated[str, Meta(max_length=32)]], Meta(max_length=10)] = []


class PasskeyRegistration(Struct, frozen=True, kw_only=True):
    """`PublicKeyCredential.toJSON()` of what `navigator.credentials.create()` gave; `name` may be added."""

    id: Base64Url
    raw_id: Base64Url = field(name="rawId")
    type: Annotated[str, Meta(max_length=32)]
    response: AttestationResponse
    name: PasskeyName | None = None


class AssertionResponse(Struct, frozen=True, kw_only=True):
    client_data_json: Base64Url = field(name="clientDataJSON")
    authenticator_data: Base64Url = field(name="authenticatorData")
    signature: Base64Url
    user_handle: Annotated[str, Meta(max_length=128)] | None = field(name="userHandle", default=None)


class PasskeyAssertion(Struct, frozen=True, kw_only=True):
    """`PublicKeyCredential.toJSON()` of what `navigator.credentials.get()` gave; the last two may be added."""

    id: Base64Url
    raw_id: Base64Url = field(name="rawId")
    type: Annotated[str, Meta(max_length=32)]
    response: AssertionResponse
    device_name: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    transport: Transport = "body"

    def plain(self) -> dict[str, Any]:
        """As the browser wrote it."""
        return _plain(self)


class PasskeyRenaming(Struct, frozen=True, forbid_unknown_fields=True):
    name: PasskeyName


class PasskeyLoginOptions(Struct, frozen=True, forbid_unknown_fields=True):
    username: Annotated[str, Meta(min_length=1, max_length=255)] | None = None


class Passkey(Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    transports: list[str]
    backed_up: Annotated[bool, Meta(description="Whether it outlives its device: a provider keeps it.")]
    created_at: Time
    last_used_at: Time | None


class PasskeyList(Struct, frozen=True):
    items: list[Passkey]


class Passkeys:
    """What people do with their passkeys. Who adds or takes one away holds the user first."""

    def __init__(self, db: Database, party: RelyingParty, ways_in: WaysIn, mails: Mails) -> None:
        self._db = db
        self._ways_in = ways_in
        self._party = party
        self._mails = mails

    async def options(self, caller: Identified[Subject]) -> dict[str, Any]:
        """What the browser needs to make one.

        Raises:
            ReauthenticationRequired: the login is too long ago.
        """
        caller.require_fresh()
        row = await queries.by_id(self._db, caller.user_id)
        if row is None:
            raise NotFound
        known = [each["credential_id"] for each in await factors.passkeys_of(self._db, caller.user_id)]
        return self._party.registration(caller.user_id, row["username"], row["full_name"], known)

    async def add(self, caller: Identified[Subject], made: PasskeyRegistration, client: Client) -> Passkey:
        """Keep what the browser has made.

        Raises:
            ReauthenticationRequired: the login is too long ago.
            SessionRevoked: the session has ended meanwhile.
            ValidationFailed: it was not made for this user and site, without asking who is there, or too late.
            Conflict: it is somebody's already, or there are too many.
        """
        caller.require_fresh()
        name = names.label(made.name, "name") or device_name(client.user_agent) or "Passkey"
        try:
            registered = self._party.registered(caller.user_id, _plain(made))
        except NotAccepted:
            raise ValidationFailed(("response", "was not made for this user and site, or too late")) from None
        async with self._db.transaction() as tx:
            person = await hold_caller(tx, caller)
            challenge = registered.challenge
            if not await factors.spend(tx, challenge.id, challenge.made_at, challenge.expires_at):
                raise ValidationFailed(("response", "was not made for this user and site, or too late"))
            if len(await factors.passkeys_of(tx, person.id)) >= MOST:
                raise Conflict(f"There are {MOST} passkeys already.")
            await self._mails.notice(tx, "passkey.added", person, client, name=name)  # first: see `not_me`
            row = await factors.add_passkey(
                tx,
                uuid7(),
                person.id,
                registered.credential_id,
                registered.public_key,
                registered.sign_count,
                name=name,
                transports=[each for each in made.response.transports if each in TRANSPORTS],
                backed_up=registered.backed_up,
            )
            if row is None:
                raise Conflict("This passkey is somebody's already.")
            await note(tx, Event.PASSKEY_ADDED, caller, client, {"name": name})
        self._mails.wake()
        return Passkey(**row)

    async def all_of(self, user_id: int) -> list[Passkey]:
        rows = await factors.passkeys_of(self._db, user_id)
        return [Passkey(**{key: row[key] for key in Passkey.__struct_fields__}) for row in rows]

    async def rename(self, caller: Identified[Subject], passkey_id: UUID, name: str) -> Passkey:
        """Give one another name.

        Raises:
            SessionRevoked: the session has ended meanwhile.
            NotFound: the user has no such passkey.
            ValidationFailed: the name cannot be one.
        """
        label = names.label(name, "name")
        if label is None:
            raise ValidationFailed(("name", "is blank"))
        async with self._db.transaction() as tx:
            await hold_caller(tx, caller)
            row = await factors.rename_passkey(tx, caller.user_id, passkey_id, label)
        if row is None:
            raise NotFound
        return Passkey(**row)

    async def remove(self, caller: Identified[Subject], passkey_id: UUID, client: Client) -> None:
        """Take one away.

        Raises:
            ReauthenticationRequired: the login is too long ago.
            SessionRevoked: the session has ended meanwhile.
            NotFound: the user has no such passkey.
            Conflict: it is the last way to sign in.
        """
        caller.require_fresh()
        async with self._db.transaction() as tx:
            person = await hold_caller(tx, caller)
            name = await factors.remove_passkey(tx, person.id, passkey_id)
            if name is None:
                raise NotFound
            if await self._ways_in.none_left(tx, person.id):
                raise Conflict("This is the last way to sign in.")
            await self._mails.notice(tx, "passkey.removed", person, client, name=name)
            await note(tx, Event.PASSKEY_REMOVED, caller, client, {"name": name})
        self._mails.wake()


def _plain(sent: PasskeyRegistration | PasskeyAssertion) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(sent)
    return plain

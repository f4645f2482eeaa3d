"""Signing in by a passkey that has asked who is there: two factors in one."""

from typing import Any
from uuid import UUID

from msgspec import Struct

from app import base64url
from app.client import Client
from app.database import Database, Transaction
from app.errors import InvalidCredentials
from app.factors import queries as factors
from app.factors.queries import Credential
from app.factors.relying_party import ANYBODY, Asserted, NotAccepted, RelyingParty, bound_to
from app.identity import gates, names, queries
from app.identity.login import Login
from app.identity.passkeys import PasskeyAssertion
from app.identity.structs import TokenResponse
from app.identity.tries import Tries
from app.metrics import Metrics
from app.sessions import amr
from app.sessions.authenticator import Identified, Subject

REFUSED = "This passkey is not accepted."


class Shown(Struct, frozen=True):
    """An assertion that fits its credential."""

    passkey_id: UUID
    user_id: int
    asserted: Asserted


class PasskeyLogin:
    """The way in without a password. An account's limit of wrong passwords does not close it."""

    def __init__(self, db: Database, party: RelyingParty, login: Login, tries: Tries, metrics: Metrics) -> None:
        self._db = db
        self._party = party
        self._login = login
        self._tries = tries
        self._metrics = metrics

    def options(self, username: str | None) -> dict[str, Any]:
        """What the browser needs; nothing is looked up, so that it tells nothing."""
        return self._party.assertion(None if username is None else _comparable(username))

    async def login(self, sent: PasskeyAssertion, client: Client) -> TokenResponse:
        """Open a session.

        Raises:
            ValidationFailed: the device's name is no label.
            InvalidCredentials: nobody's passkey, or not what it was asked for; all alike.
            RateLimited: too many failures from this network.
        """
        device_name = names.label(sent.device_name, "device_name")
        with self._metrics.login() as outcome:
            found = await factors.credential(self._db, _bytes(sent.raw_id))
            try:
                async with self._tries.passkey(found.user_id if found else None, client):
                    response = await self._open(await self.shown(found, sent), device_name, client, sent.transport)
            except InvalidCredentials:
                outcome.ended("invalid_passkey")
                raise
            outcome.ended("success")
            return response

    async def _open(self, shown: Shown, device_name: str | None, client: Client, transport: str) -> TokenResponse:
        async def first(tx: Transaction) -> None:
            await queries.lock(tx, shown.user_id)  # who is gone has no passkey to use
            await self.use(tx, shown)

        gate = gates.passkey_gate(shown.user_id)
        response = await self._login.enter(gate, client, device_name, amr.BY_PASSKEY, first=first, transport=transport)
        if response is None:
            raise InvalidCredentials(REFUSED)
        return response

    async def shown_by(self, caller: Identified[Subject], sent: PasskeyAssertion) -> Shown:
        """What the caller's own passkey has signed.

        Raises:
            InvalidCredentials: it is somebody else's or nobody's, or that is not what it was asked for.
        """
        found = await factors.credential(self._db, _bytes(sent.raw_id))
        return await self.shown(found if found and found.user_id == caller.user_id else None, sent)

    async def shown(self, found: Credential | None, sent: PasskeyAssertion) -> Shown:
        """What this passkey has signed.

        Raises:
            InvalidCredentials: it is nobody's, or that is not what it was asked for.
        """
        if found is None:
            raise InvalidCredentials(REFUSED)
        try:
            asserted = self._party.asserted(found.user_id, found.public_key, sent.plain())
        except NotAccepted:
            raise InvalidCredentials(REFUSED) from None
        if asserted.challenge.bound not in await self._names(found.user_id):
            raise InvalidCredentials(REFUSED)
        return Shown(found.id, found.user_id, asserted)

    async def _names(self, user_id: int) -> list[bytes]:
        """What a challenge may be for that this user answers."""
        row = await queries.by_id(self._db, user_id)
        return [] if row is None else [ANYBODY, *(bound_to(each) for each in (row["username"], row["email"]) if each)]

    async def use(self, tx: Transaction, shown: Shown) -> None:
        """Once: neither its challenge nor its counter comes a second time. The user is held.

        Raises:
            InvalidCredentials: it has come before, too late, or from a copy.
        """
        challenge, asserted = shown.asserted.challenge, shown.asserted
        if not await factors.spend(
            tx, challenge.id, challenge.made_at, challenge.expires_at
        ) or not await factors.use_passkey(tx, shown.passkey_id, asserted.sign_count, backed_up=asserted.backed_up):
            raise InvalidCredentials(REFUSED)


def _bytes(text: str) -> bytes:
    """What base64url says; nothing where it is none, which is nobody's credential."""
    try:
        return base64url.decode(text)
    except ValueError:
        return b""


def _comparable(username: str) -> str:
    return (names.comparable_email(username) if "@" in username else None) or username

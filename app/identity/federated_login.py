"""Signing in with an identity of somebody else: found by issuer and subject, or welcomed for the first time."""

import hashlib
import secrets
from collections.abc import Callable
from uuid import UUID

import asyncpg
from msgspec import Struct

from app.audit.events import Event, record
from app.client import Client
from app.database import Database, Transaction
from app.errors import Conflict, EmailTaken, Forbidden, InvalidCredentials, InvalidGrant, ValidationFailed
from app.federation import queries as federation
from app.federation.sign_ins import SignIns
from app.federation.structs import Assertion, Flow
from app.identity import gates, names, queries
from app.identity.identities import MOST
from app.identity.login import Login
from app.identity.mails import Mails
from app.identity.structs import Exchange, TokenResponse
from app.identity.tries import Tries
from app.limits.quota import Quota
from app.metrics import Metrics
from app.providers import Provider
from app.sessions import amr
from app.settings import Settings

SUFFIX = 8  # characters behind a name that somebody else of the same provider has


class Newcomer(Struct, frozen=True, kw_only=True):
    """What is taken over of somebody who comes for the first time, in the form that it is kept in."""

    usernames: list[str]  # the first of them that is free
    email: str | None
    email_verified: bool
    full_name: str | None


class FederatedLogin:
    """The last step of a sign-in that began at a provider's."""

    def __init__(
        self,
        db: Database,
        sign_ins: SignIns,
        login: Login,
        tries: Tries,
        metrics: Metrics,
        mails: Mails,
        welcomes: Quota,
        returns: Quota,
        settings: Settings,
    ) -> None:
        self._db = db
        self._sign_ins = sign_ins
        self._login = login
        self._tries = tries
        self._metrics = metrics
        self._mails = mails
        self._welcomes = welcomes
        self._returns = returns
        self._settings = settings
        self._providers = {each.name: each for each in settings.oidc_providers}

    async def finish(self, flow: Flow, code: str | None, error: str | None, iss: str | None, client: Client) -> str:
        """Where the browser that came back goes on to; see `SignIns.finish`. An answer that is forged counts.

        Raises:
            InvalidState, IdentityNotAccepted, Unavailable: as they say.
            RateLimited: too many failed sign-ins from this network, or too many of any kind: each leaves a row.
        """
        await self._returns.hit(client.network, client, None)
        async with self._tries.provider(client):
            return await self._sign_ins.finish(flow, code, error, iss)

    async def exchange(self, asked: Exchange, client: Client) -> TokenResponse:
        """Open a session for whoever a provider has named; who comes for the first time gets an account.

        Raises:
            InvalidGrant: the code is unknown, used or too old, or the verifier is another one.
            Forbidden: no account is made for this identity.
            EmailTaken: somebody here has the address; he signs in as he does, and links the identity.
            Conflict: he has as many identities as he may, or somebody else was faster.
            MfaRequired: a second factor is due.
            InvalidCredentials: the user is not active.
        """
        device_name = names.label(asked.device_name, "device_name")
        with self._metrics.login() as outcome:
            assertion = await self._sign_ins.redeem(asked.code, asked.code_verifier)
            provider = self._providers.get(assertion.provider)
            if provider is None or provider.issuer != assertion.issuer:  # not any more
                raise InvalidGrant
            identity = await self._identity(assertion, provider, client)
            trusted = provider.trust_mfa and assertion.several_factors
            ways = amr.together(amr.BY_IDENTITY, [amr.SEVERAL] if trusted else [])
            identity_id, user_id = identity["id"], identity["user_id"]

            async def first(tx: Transaction) -> None:
                await queries.lock(tx, user_id)  # whoever takes the identity away comes before, or ends the session
                await self._use(tx, identity_id, user_id, assertion)

            gate = gates.identity_gate(identity_id, with_factor=trusted)
            response = await self._login.enter(
                gate,
                client,
                device_name,
                ways,
                first=first,
                auth_time=assertion.auth_time,
                transport=asked.transport,
            )
            if response is None:
                await self._use(self._db, identity_id, user_id, assertion)
                await self._login.wait_for_factor(identity_id, ways, device_name)
                outcome.ended("inactive")
                await self._tries.failed(user_id, "inactive", client)
                raise InvalidCredentials
            outcome.ended("success")
            return response

    async def _identity(self, said: Assertion, provider: Provider, client: Client) -> asyncpg.Record:
        """Whose it is; who is welcomed here for the first time, or is not, is in the trail."""
        identity = await federation.find(self._db, said.issuer, said.subject)
        if identity is not None:
            return identity
        try:
            return await self._welcome(said, provider, client)
        except (Forbidden, EmailTaken, Conflict) as refused:
            await self._tries.failed(None, refused.code, client)
            raise

    async def _use(self, on: Database | Transaction, identity_id: UUID, user_id: int, said: Assertion) -> None:
        """Raises InvalidGrant where the identity was taken away a moment ago."""
        if not await federation.use(on, identity_id, user_id, username=said.username, email=said.email):
            raise InvalidGrant

    async def _welcome(self, assertion: Assertion, provider: Provider, client: Client) -> asyncpg.Record:
        """The identity of somebody who comes for the first time, and whose it is now."""
        newcomer = _newcomer(assertion)
        unproved = None if newcomer.email_verified else newcomer.email
        mailed = unproved is not None and await self._welcomes.has_room(unproved, client)
        async with self._db.transaction() as tx:
            await federation.hold_subject(tx, assertion.issuer, assertion.subject)
            found = await federation.find(tx, assertion.issuer, assertion.subject)
            identity = found or await self._begun(tx, assertion, newcomer, provider, client, mailed=mailed)
        self._mails.wake()
        return identity

    async def _begun(
        self, tx: Transaction, said: Assertion, newcomer: Newcomer, provider: Provider, client: Client, *, mailed: bool
    ) -> asyncpg.Record:
        user_id = await self._owner(tx, newcomer, provider, client)
        if user_id is None:
            user_id = await self._made(tx, newcomer, provider, client)
            if mailed:
                await self._mails.ask_to_verify(tx, await queries.person(tx, user_id))
        return await self._link(tx, user_id, said, client)

    async def _owner(self, tx: Transaction, newcomer: Newcomer, provider: Provider, client: Client) -> int | None:
        """Who has the address already, where that settles who he is; None if nobody has it."""
        user_id = None if newcomer.email is None else await queries.id_by_email(tx, newcomer.email)
        row = None if user_id is None else await queries.lock(tx, user_id)
        if row is None or row["email"] != newcomer.email:
            return None
        proved = newcomer.email_verified and row["email_verified"]
        if not (provider.link_by_email and proved and provider.vouches_for(newcomer.email)):
            raise EmailTaken("Somebody here has this address: sign in as you do, and link this identity there.")
        if len(await federation.of_user(tx, row["id"])) >= MOST:
            raise Conflict(f"The user of this address has {MOST} identities already.")
        await self._mails.notice(tx, "identity.linked", queries.entry(row), client, provider=provider.label)
        return int(row["id"])

    async def _made(self, tx: Transaction, newcomer: Newcomer, provider: Provider, client: Client) -> int:
        closed = self._settings.registration == "closed"
        if not provider.admits(newcomer.email, verified=newcomer.email_verified, closed=closed):
            raise Forbidden("No account is made for this identity: ask an administrator.")
        for username in newcomer.usernames:
            user_id = await queries.add(
                tx,
                username=username,
                email=newcomer.email,
                full_name=newcomer.full_name,
                password_hash=None,
                email_verified=newcomer.email_verified,
                provider=provider.name,
            )
            if user_id is not None:
                await record(
                    tx,
                    Event.USER_REGISTERED,
                    client,
                    user_id=user_id,
                    actor_id=user_id,
                    details={"provider": provider.name},
                )
                return user_id
        raise Conflict("The name or the address of this identity was taken at this moment: begin again.")

    async def _link(self, tx: Transaction, user_id: int, said: Assertion, client: Client) -> asyncpg.Record:
        await federation.add(
            tx, user_id, said.provider, said.issuer, said.subject, username=said.username, email=said.email
        )
        details = {"provider": said.provider}
        await record(tx, Event.IDENTITY_LINKED, client, user_id=user_id, actor_id=user_id, details=details)
        identity = await federation.find(tx, said.issuer, said.subject)
        assert identity is not None  # noqa: S101 - nobody else makes it meanwhile
        return identity


def _newcomer(said: Assertion) -> Newcomer:
    email = None if said.email is None else _kept(names.email, said.email)
    own = hashlib.sha256(f"{said.issuer} {said.subject}".encode()).hexdigest()[:SUFFIX]
    called = (_kept(names.username_elsewhere, said.username), email, _kept(names.username_elsewhere, said.subject))
    username = next(filter(None, called), said.provider)
    # the second is the same at every try, and could be taken by somebody who knows the subject; the third not
    behind = (own, secrets.token_hex(SUFFIX // 2))
    return Newcomer(
        usernames=[username, *(f"{username}~{each}" for each in behind)],
        email=email,
        email_verified=email is not None and said.email_verified and _names_the_same(email, said.email or ""),
        full_name=_kept(names.full_name, said.full_name),
    )


def _names_the_same(email: str, said: str) -> bool:
    """Whether the kept address has the mailbox that was proved, but for the case of ASCII letters.

    A sign like U+212A, which is kept as a k, may be another mailbox where it was proved.
    """
    mailbox = said.rpartition("@")[0]
    return email.rpartition("@")[0] == (mailbox.lower() if mailbox.isascii() else mailbox)


def _kept(form: Callable[[str], str | None], text: str | None) -> str | None:
    """In the form that it is kept in; what cannot be kept is left out, for nobody here has typed it."""
    try:
        return None if text is None else form(text)
    except ValidationFailed:
        return None

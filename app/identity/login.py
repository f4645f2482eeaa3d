"""Signing in and refreshing: whatever answers a token response."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg
from msgspec.structs import replace

from app.cache.entries import Entries
from app.client import Client
from app.database import Database, Transaction
from app.errors import (
    InvalidCredentials,
    InvalidMfa,
    InvalidRefreshToken,
    MfaRequired,
    RefreshTokenReused,
    Unavailable,
)
from app.factors import queries as factor_queries
from app.identity import gates, names, queries
from app.identity.confirmation import ROUNDS
from app.identity.entry import People
from app.identity.mails import Mails
from app.identity.passwords import Passwords
from app.identity.queries import Account
from app.identity.second_factors import SecondFactors
from app.identity.structs import Credentials, SecondStep, TokenResponse
from app.identity.tries import Tries
from app.identity.upstream import NotShown, Shown, Upstream
from app.keys.opaque import OpaqueTokens
from app.metrics import Metrics, Operation
from app.providers import GPUSTACK
from app.sessions import amr
from app.sessions.queries import Gate
from app.sessions.service import First, Sessions
from app.sessions.structs import user_key
from app.settings import Settings
from app.uuid7 import uuid7


class NotLetIn(InvalidCredentials):
    """A try that has failed, and what is said of it: not that the password is wrong, where it may have been changed."""

    def __init__(self, away: Unavailable | None) -> None:
        super().__init__()
        self.answer = away or InvalidCredentials()


class Login:
    """The use cases that end in a token response."""

    def __init__(
        self,
        db: Database,
        entries: Entries,
        sessions: Sessions,
        people: People,
        passwords: Passwords,
        factors: SecondFactors,
        tries: Tries,
        metrics: Metrics,
        mails: Mails,
        upstream: Upstream | None,
        settings: Settings,
    ) -> None:
        self._db = db
        self._entries = entries
        self._sessions = sessions
        self._people = people
        self._passwords = passwords
        self._factors = factors
        self._tries = tries
        self._metrics = metrics
        self._mails = mails
        self._upstream = upstream
        self._settings = settings
        self._pending = OpaqueTokens("ghm1_", "pending logins", 16, settings.secret_key, settings.secret_key_previous)

    async def login(self, credentials: Credentials, client: Client) -> TokenResponse:
        """Open a session for whoever knows the password.

        Raises:
            InvalidCredentials: unknown, inactive, password-less, or the wrong password; all alike, also in time.
            MfaRequired: the password is right, and a second factor is due.
            RateLimited: too many failures from this network or on this account.
            Overloaded: more sign-ins than the cores can hash.
            Unavailable: it is nobody's name here, and GPUStack cannot say whether it is one there.
        """
        credentials = replace(credentials, device_name=names.label(credentials.device_name, "device_name"))
        email = names.comparable_email(credentials.username) if "@" in credentials.username else None
        with self._metrics.login() as outcome:
            found = await queries.by_name(self._db, credentials.username, email)
            if self._upstream is not None and (found is None or found.provider == GPUSTACK):
                name = credentials.username if found is None else found.username
                try:
                    return await self._by_upstream(self._upstream, name, credentials, client, outcome)
                except NotLetIn as failed:
                    raise failed.answer from None
            account = f"user {found.id}" if found else f"name {(email or credentials.username).casefold()}"
            async with self._tries.password(account, found.id if found else None, client) as this:
                for _ in range(ROUNDS):
                    usable = found.usable_hash if found else None
                    verified = await self._passwords.verify(usable, credentials.password)
                    if not (verified and found and usable):
                        break
                    response = await self._open(found, usable, credentials, client)
                    if response is not None:
                        outcome.ended("success")
                        return response
                    found = await queries.by_name(self._db, credentials.username, email)
                this.reason = _reason(found)
                outcome.ended(this.reason)
                raise InvalidCredentials

    async def _by_upstream(
        self, upstream: Upstream, username: str, credentials: Credentials, client: Client, outcome: Operation
    ) -> TokenResponse:
        """As `login`, for whom GPUStack knows: by the name there, to the letter."""
        known = await upstream.find(username)
        account = f"gpustack {username}" if known is None else f"user {known.user_id}"
        async with self._tries.password(account, known.user_id if known else None, client, upstream=True) as this:
            shown = await upstream.show(username, known, credentials.password, client)
            response = None if isinstance(shown, NotShown) else await self._enter_by(shown, credentials, client)
            if response is not None:
                outcome.ended("success")
                return response
            this.reason = shown.reason if isinstance(shown, NotShown) else "inactive"
            outcome.ended(this.reason)
            raise NotLetIn(shown.away if isinstance(shown, NotShown) else None)

    async def _enter_by(self, shown: Shown, credentials: Credentials, client: Client) -> TokenResponse | None:
        device_name, transport = credentials.device_name, credentials.transport
        response = await self.enter(
            shown.gate, client, device_name, shown.ways, with_notice=shown.has_email, transport=transport
        )
        if response is None:
            await self.wait_for_factor(shown.identity_id, shown.ways, device_name)
        return response

    async def _open(
        self, account: Account, verified_hash: str, credentials: Credentials, client: Client
    ) -> TokenResponse | None:
        """The session, unless the account was deactivated or got another hash while this one was verified."""
        new_hash = verified_hash
        if self._passwords.needs_rehash(verified_hash):  # imported, or made by older settings
            new_hash = await self._passwords.hash(credentials.password)
        if account.mfa_enabled:
            pending_id = uuid7()
            begun = await gates.begin_second_step(
                self._db, pending_id, account.id, verified_hash, new_hash, credentials.device_name
            )
            if not begun:
                return None
            raise MfaRequired(self._pending.issue(pending_id.bytes), await self._factors.methods(account.id))
        gate = gates.password_gate(account.id, verified_hash, new_hash)
        return await self.enter(
            gate,
            client,
            credentials.device_name,
            amr.BY_PASSWORD,
            with_notice=account.has_email,
            transport=credentials.transport,
        )

    async def enter(
        self,
        gate: Gate,
        client: Client,
        device_name: str | None,
        ways: list[str],
        *,
        with_notice: bool = True,
        first: First | None = None,
        auth_time: int | None = None,
        transport: str = "body",
    ) -> TokenResponse | None:
        """The session of whom the gate lets in; he is told if the device is new.

        `auth_time` (seconds since 1970) is when he showed who he is, where that was before.
        """
        greeted = False

        async def greet(tx: Transaction, row: asyncpg.Record) -> None:
            nonlocal greeted
            await self._mails.notice(tx, "login.new_device", queries.entry(row), client)
            greeted = True

        told = greet if with_notice and self._settings.new_device_mail else None
        opened = await self._sessions.open(
            gate,
            client,
            device_name=device_name,
            amr=ways,
            greet=told,
            first=first,
            auth_time=auth_time,
            by_cookie=transport == "cookie",
        )
        if opened is None:
            return None
        session, row = opened
        if greeted or first is not None:
            self._mails.wake()
        await self._entries.forget(user_key(session.user_id))  # last_login is shown, but gives and takes no right
        user = await self._people.show(queries.entry(row), session.amr)
        return TokenResponse.of(self._sessions.tokens(session, user.roles), user)

    async def wait_for_factor(self, identity_id: UUID, ways: list[str], device_name: str | None) -> None:
        """Raises MfaRequired where the user of this identity has a second factor, and may sign in."""
        pending_id = uuid7()
        user_id = await gates.begin_second_step_by_identity(self._db, pending_id, identity_id, ways, device_name)
        if user_id is not None:
            raise MfaRequired(self._pending.issue(pending_id.bytes), await self._factors.methods(user_id))

    async def second_step(self, asked: SecondStep, client: Client) -> TokenResponse:
        """Open the session that a right password has left to a second factor.

        Each try counts before it is known how it ends, so that no more than MFA_CODES_PER_LOGIN get in beside each
        other; the code, the login that waits, and the session are one transaction.

        Raises:
            InvalidMfa: not this code, or not this login (any more).
            RateLimited: too many wrong codes of this account.
        """
        said = self._pending.read(asked.mfa_token)
        if said is None:
            raise InvalidMfa
        pending_id = UUID(bytes=said)
        with self._metrics.login() as outcome:
            pending = await factor_queries.pending(self._db, pending_id)
            if pending is None:
                raise InvalidMfa

            async def first(tx: Transaction) -> None:
                row = await queries.lock(tx, pending.user_id)
                if (
                    row is None
                    or not await self._factors.use(tx, queries.entry(row), client, asked.code, asked.recovery_code)
                    or not await factor_queries.end_pending(tx, pending_id)
                ):
                    raise InvalidMfa

            async with self._tries.code(pending.user_id, client):
                if not await factor_queries.begin_try(self._db, pending_id, self._settings.mfa_codes_per_login):
                    raise InvalidMfa
                gate, ways = gates.second_factor_gate(pending), amr.together(pending.amr, amr.BY_CODE)
                response = _let_in(
                    await self.enter(gate, client, pending.device_name, ways, first=first, transport=asked.transport)
                )
            outcome.ended("success")
            return response

    async def refresh(self, refresh_token: str, client: Client) -> TokenResponse:
        """The successor of a refresh token, with the user as he is now.

        Raises:
            InvalidRefreshToken: not one of ours, or its session or its user is no more.
            RefreshTokenReused: an old one came back; the session has been ended.
        """

        async def reused(tx: Transaction, user_id: int, end: Callable[[], Awaitable[bool]]) -> None:
            row = await queries.lock(tx, user_id)
            if await end() and row is not None:
                await self._mails.notice(tx, "session.reused", queries.entry(row), client)

        with self._metrics.refresh() as outcome:
            try:
                session, result = await self._sessions.rotate(refresh_token, client, reused)
            except RefreshTokenReused:
                self._mails.wake()
                raise
            person = await self._people.get(session.user_id, session.amr)
            if person is None or not person.is_active:
                raise InvalidRefreshToken
            outcome.ended(result)
            return TokenResponse.of(self._sessions.tokens(session, person.roles), person)


def _let_in(response: TokenResponse | None) -> TokenResponse:
    if response is None:
        raise InvalidMfa
    return response


def _reason(found: Account | None) -> str:
    if found is None:
        return "unknown_user"
    if not found.is_active:
        return "inactive"
    return "wrong_password" if found.password_hash else "no_password"

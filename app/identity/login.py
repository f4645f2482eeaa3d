"""Signing in and refreshing: whatever answers a token response."""

from collections.abc import Awaitable, Callable

import asyncpg

from app.audit.events import Event, record
from app.cache.entries import Entries
from app.client import Client
from app.database import Database, Transaction
from app.errors import InvalidCredentials, InvalidRefreshToken, Overloaded, RateLimited, RefreshTokenReused
from app.identity import names, queries
from app.identity.entry import People
from app.identity.mails import Mails
from app.identity.passwords import Passwords
from app.identity.queries import Account
from app.identity.structs import Credentials, TokenResponse
from app.limits.attempts import Attempts, Counter
from app.limits.violations import Violations
from app.metrics import Metrics
from app.sessions.service import Sessions
from app.sessions.structs import user_key
from app.settings import Settings

TRIES = 3  # of a password that is right while others upgrade or replace its hash; each of them does so once


class Login:
    """The use cases that end in a token response."""

    def __init__(
        self,
        db: Database,
        entries: Entries,
        sessions: Sessions,
        people: People,
        passwords: Passwords,
        attempts: Attempts,
        violations: Violations,
        metrics: Metrics,
        mails: Mails,
        settings: Settings,
    ) -> None:
        self._db = db
        self._entries = entries
        self._sessions = sessions
        self._people = people
        self._passwords = passwords
        self._attempts = attempts
        self._violations = violations
        self._metrics = metrics
        self._mails = mails
        self._settings = settings

    async def login(self, credentials: Credentials, client: Client) -> TokenResponse:
        """Open a session for whoever knows the password.

        Raises:
            InvalidCredentials: unknown, inactive, password-less, or the wrong password; all alike, also in time.
            RateLimited: too many failures from this network or on this account.
            Overloaded: more sign-ins than the cores can hash.
        """
        names.label(credentials.device_name, "device_name")
        email = names.comparable_email(credentials.username) if "@" in credentials.username else None
        with self._metrics.login() as outcome:
            found = await queries.by_name(self._db, credentials.username, email)
            account = f"user {found.id}" if found else f"name {(email or credentials.username).casefold()}"
            counters = self.counters(account, client)
            try:
                async with self._attempts.attempt(*counters) as attempt:
                    for _ in range(TRIES):
                        usable = found.usable_hash if found else None
                        verified = await self._passwords.verify(usable, credentials.password)
                        if not (verified and found and usable):
                            break
                        response = await self._open(found, usable, credentials, client)
                        if response is not None:
                            outcome.ended("success")
                            return response
                        found = await queries.by_name(self._db, credentials.username, email)
                    attempt.failed()
            except Overloaded:
                outcome.ended("overloaded")
                raise
            except RateLimited as limited:
                outcome.ended("rate_limited")
                await self._violations.note(limited, counters, client, found.id if found else None)
                raise
            reason = _reason(found)
            outcome.ended(reason)
            await self._record_failure(found.id if found else None, reason, client)
            raise InvalidCredentials

    def counters(self, account: str, client: Client) -> tuple[Counter, Counter]:
        """What a wrong password counts against: where it came from, and whose it should have been."""
        return (
            Counter("login", client.network, self._settings.rate_limit_login),
            Counter("account", account, self._settings.rate_limit_account),
        )

    async def _open(
        self, account: Account, verified_hash: str, credentials: Credentials, client: Client
    ) -> TokenResponse | None:
        """The session, unless the account was deactivated or got another hash while this one was verified."""
        new_hash = verified_hash
        if self._passwords.needs_rehash(verified_hash):  # imported, or made by older settings
            new_hash = await self._passwords.hash(credentials.password)
        gate = queries.password_gate(account.id, verified_hash, new_hash)
        greeted = False

        async def greet(tx: Transaction, row: asyncpg.Record) -> None:
            nonlocal greeted
            await self._mails.notice(tx, "login.new_device", queries.entry(row), client)
            greeted = True

        told = greet if account.has_email and self._settings.new_device_mail else None
        opened = await self._sessions.open(gate, client, device_name=credentials.device_name, amr=["pwd"], greet=told)
        if opened is None:
            return None
        session, row = opened
        if greeted:
            self._mails.wake()
        await self._entries.forget(user_key(account.id))  # last_login is shown, but gives and takes no right
        user = await self._people.show(queries.entry(row))
        return TokenResponse.of(self._sessions.tokens(session, user.roles), user)

    async def _record_failure(self, user_id: int | None, reason: str, client: Client) -> None:
        async with self._db.transaction() as tx:
            details = {"reason": reason}
            await record(tx, Event.LOGIN_FAILED, client, user_id=user_id, details=details, forget_deleted=True)

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
                outcome.ended("reused")
                self._mails.wake()
                raise
            except InvalidRefreshToken:
                outcome.ended("invalid")
                raise
            person = await self._people.get(session.user_id)
            if person is None or not person.is_active:
                outcome.ended("invalid")
                raise InvalidRefreshToken
            outcome.ended(result)
            return TokenResponse.of(self._sessions.tokens(session, person.roles), person)


def _reason(found: Account | None) -> str:
    if found is None:
        return "unknown_user"
    if not found.is_active:
        return "inactive"
    return "wrong_password" if found.password_hash else "no_password"

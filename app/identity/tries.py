"""Tries of a password, a code, a passkey: as many as the limits let in, and one that fails leaves its row."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from app.audit.events import Event, record
from app.client import Client
from app.database import Database
from app.errors import AppError, IdentityNotAccepted, InvalidCredentials, InvalidMfa, RateLimited
from app.limits.attempts import Attempts, Counter
from app.limits.violations import Violations
from app.settings import Settings


class Try:
    """A try under way, and what its row says if it fails."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Tries:
    """Lets tries in, all with RateLimited if too many have failed. Whoever leaves one by its error has failed."""

    def __init__(self, db: Database, attempts: Attempts, violations: Violations, settings: Settings) -> None:
        self._db = db
        self._attempts = attempts
        self._violations = violations
        self._settings = settings

    def password(
        self, account: str, user_id: int | None, client: Client, *, upstream: bool = False
    ) -> AbstractAsyncContextManager[Try]:
        """Fails by InvalidCredentials, and counts against where it came from and whose it should have been.

        Those that GPUStack is asked about have a count of their own: while it takes its time they hold the places of
        their network, which local users of that network shall not wait for.
        """
        came_from = f"{client.network} at GPUStack" if upstream else client.network
        network = Counter("login", came_from, self._settings.rate_limit_login)
        of_account = Counter("account", account, self._settings.rate_limit_account)
        return self._one((network, of_account), user_id, client, InvalidCredentials, "wrong_password")

    def passkey(self, user_id: int | None, client: Client) -> AbstractAsyncContextManager[Try]:
        """Fails by InvalidCredentials, and counts against where it came from: nobody else closes a passkey's way."""
        network = Counter("login", client.network, self._settings.rate_limit_login)
        return self._one((network,), user_id, client, InvalidCredentials, "invalid_passkey")

    @asynccontextmanager
    async def provider(self, client: Client) -> AsyncGenerator[None]:
        """Fails by IdentityNotAccepted, and counts against where it came from: who it should have been is not known.

        No place is held meanwhile: a provider takes its time, nothing is guessed there, and as many as are under way
        from one network shall keep nobody else of it from signing in.
        """
        network = (Counter("login", client.network, self._settings.rate_limit_login),)
        async with self._one(network, None, client, IdentityNotAccepted, "identity_not_accepted"):
            pass  # too many have failed before
        try:
            yield
        except IdentityNotAccepted:
            async with self._one(network, None, client, IdentityNotAccepted, "identity_not_accepted"):
                raise

    def code(self, user_id: int, client: Client) -> AbstractAsyncContextManager[Try]:
        """Fails by InvalidMfa, and counts against the account: a code has six digits."""
        of_account = Counter("mfa", f"user {user_id}", self._settings.rate_limit_mfa)
        return self._one((of_account,), user_id, client, InvalidMfa, "invalid_mfa")

    @asynccontextmanager
    async def _one(
        self, counters: tuple[Counter, ...], user_id: int | None, client: Client, failure: type[AppError], reason: str
    ) -> AsyncGenerator[Try]:
        a_try = Try(reason)
        try:
            async with self._attempts.attempt(*counters) as attempt:
                try:
                    yield a_try
                except failure:
                    attempt.failed()
                    raise
        except failure:
            await self.failed(user_id, a_try.reason, client)
            raise
        except RateLimited as limited:
            if limited.limit in (counter.name for counter in counters):  # else another try's within this one
                await self._violations.note(limited, counters, client, user_id)
            raise

    async def failed(self, user_id: int | None, reason: str, client: Client) -> None:
        """The row of a login that came to nothing."""
        async with self._db.transaction() as tx:
            details = {"reason": reason}
            await record(tx, Event.LOGIN_FAILED, client, user_id=user_id, details=details, forget_deleted=True)

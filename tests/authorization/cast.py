"""Callers of every kind, and people whom they are about."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import jwt
from httpx import AsyncClient

from app.parts import Parts
from tests.clients.kit import registered
from tests.federation.kit import Browser
from tests.federation.provider import OpenIdProvider
from tests.identity.factorkit import Authenticator, enrolled, first_step, long_ago, with_factor
from tests.identity.kit import change, create, new_role, person
from tests.identity.webauthnkit import Key, added
from tests.kit import Person, SignedIn, log_in, new_name, new_password


@dataclass
class Caller:
    """Who asks, and by what; who has no session has none that he could speak of."""

    token: str | None
    person: Person | None = None
    session: SignedIn | None = None

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}


@dataclass
class Cast:
    """Standing callers, one of a kind, for whatever leaves them as they are; and new ones for whatever does not."""

    client: AsyncClient
    parts: Parts
    admin: SignedIn
    browser: Browser
    op: OpenIdProvider
    _standing: dict[str, Caller] = field(default_factory=dict)
    _roles: dict[str, str] = field(default_factory=dict)
    _others: dict[str, SignedIn] = field(default_factory=dict)
    _with_factor: tuple[Person, Authenticator] | None = None
    _key: Key | None = None
    _service: dict[str, str] | None = None

    async def caller(self, kind: str) -> Caller:
        if kind not in self._standing:
            self._standing[kind] = await self.new(kind)
        return self._standing[kind]

    async def new(self, kind: str) -> Caller:
        if ":" in kind:
            return await self._signed_in(roles=[await self._role(kind)])
        make: Callable[[], Awaitable[Caller]] = getattr(self, f"_{kind.replace(' ', '_')}")
        return await make()

    async def other(self, kind: str, *, new: bool) -> SignedIn:
        """Whom a request is about, an `admin` or not: one that stays or, for what he does not outlive, a new one."""
        if new:
            return await self._session(is_admin=kind == "admin", email=f"{new_name()}@example.org")
        if kind not in self._others:
            self._others[kind] = await self.other(kind, new=True)
        return self._others[kind]

    async def with_factor(self) -> tuple[Person, Authenticator]:
        """Somebody else, who has an authenticator."""
        if self._with_factor is None:
            ada = await person(self.admin)
            _, authenticator = await with_factor(self.client, ada)
            self._with_factor = ada, authenticator
        return self._with_factor

    async def key(self) -> Key:
        """Somebody else's passkey."""
        if self._key is None:
            self._key = await added(await self.other("user", new=True))
        return self._key

    async def service(self) -> dict[str, str]:
        """What another service of the operator's shows of itself in a form."""
        if self._service is None:
            self._service = (await registered(self.client, self.parts)).form
        return self._service

    async def back(self) -> tuple[str, str, Browser]:
        """Where a browser comes back to from the provider, the application's verifier, and the browser."""
        browser = replace(self.browser, cookies={})
        flow = await browser.start(self.op)
        return await browser.at_provider(flow, self.op.register()), flow.verifier, browser

    # ---- the kinds ------------------------------------------------------------------------------------------------

    async def _nobody(self) -> Caller:
        return Caller(None)

    async def _garbage_token(self) -> Caller:
        """Another user's id in a token that was good."""
        caller = await self._user()
        header, _, signature = str(caller.token).split(".")
        _, claims, _ = self.admin.access.split(".")
        return Caller(f"{header}.{claims}.{signature}", caller.person)

    async def _expired_token(self) -> Caller:
        caller = await self._user()
        claims = jwt.decode(str(caller.token), options={"verify_signature": False})
        for claim in ("iat", "nbf", "exp", "auth_time"):
            claims[claim] -= 901
        key = self.parts.ring.signing()
        assert key.private is not None
        caller.token = jwt.encode(claims, key.private, key.algorithm, {"typ": "at+jwt", "kid": key.kid})
        return caller

    async def _refresh_token(self) -> Caller:
        caller = await self._user()
        assert caller.session is not None
        caller.token = caller.session.refresh_token
        return caller

    async def _mfa_token(self) -> Caller:
        """Whose password was right, and whose second factor is due."""
        ada, _ = await self.with_factor()
        return Caller(await first_step(self.client, ada), ada)

    async def _metrics_token(self) -> Caller:
        return Caller(self.parts.settings.metrics_token)

    async def _signed_out(self) -> Caller:
        caller = await self._user()
        assert caller.session is not None
        assert (await caller.session.ask("POST", "/logout")).status_code == 204
        return caller

    async def _inactive(self) -> Caller:
        return await self._changed(await self._user(), is_active=False)

    async def _old_password(self) -> Caller:
        """Who has to change the password that an administrator has given him."""
        username, password = new_name(), new_password()
        made = await create(self.admin, username=username, password=password)
        ada = Person(made.json()["id"], username, password)
        session = await log_in(self.client, ada)
        assert session.body["user"]["must_change_password"]
        return Caller(session.access, ada, session)

    async def _user(self) -> Caller:
        return await self._signed_in()

    async def _stale_user(self) -> Caller:
        return await self._stale(await self._user())

    async def _unshown_user(self) -> Caller:
        return await self._unshown(await self._user())

    async def _demoted(self) -> Caller:
        """No administrator any more; the token says that he is one."""
        caller = await self._changed(await self._admin(), is_admin=False)
        assert jwt.decode(str(caller.token), options={"verify_signature": False})["roles"] == ["admin"]
        return caller

    async def _admin(self) -> Caller:
        return await self._signed_in(is_admin=True)

    async def _stale_admin(self) -> Caller:
        return await self._stale(await self._admin())

    async def _unshown_admin(self) -> Caller:
        return await self._unshown(await self._admin())

    # ---- how they are made ----------------------------------------------------------------------------------------

    async def _signed_in(self, **fields: object) -> Caller:
        ada = await person(self.admin, **fields)
        session = await log_in(self.client, ada)
        return Caller(session.access, ada, session)

    async def _session(self, **fields: object) -> SignedIn:
        return await log_in(self.client, await person(self.admin, **fields))

    async def _changed(self, caller: Caller, **fields: object) -> Caller:
        assert caller.person is not None
        assert (await change(self.admin, caller.person.id, **fields)).status_code == 200
        return caller

    async def _stale(self, caller: Caller) -> Caller:
        """The login was eleven minutes ago."""
        assert caller.session is not None
        await long_ago(self.parts, caller.session)
        return caller

    async def _unshown(self, caller: Caller) -> Caller:
        """An authenticator came in another session; this one is of the password alone, and present."""
        assert caller.person is not None
        await enrolled(await log_in(self.client, caller.person))
        return caller

    async def _role(self, permission: str) -> str:
        if permission not in self._roles:
            self._roles[permission] = await new_role(self.parts, permission)
        return self._roles[permission]

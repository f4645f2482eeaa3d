"""Sending a browser to a provider, and taking it back: once, in time, and the same one."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol
from urllib.parse import urlencode, urlsplit, urlunsplit
from uuid import UUID

import msgspec
import structlog
from msgspec import Struct

from app import base64url
from app.database import Database
from app.errors import InvalidGrant, InvalidState, NotFound, ValidationFailed
from app.federation import answers, pkce, queries
from app.federation.answers import ProviderUnusable
from app.federation.structs import FLOW_SECONDS, Assertion, Flow, ProviderItem
from app.keys.opaque import OpaqueTokens
from app.keys.secrets import Box, NotOurs
from app.providers import GPUSTACK, Provider
from app.settings import Settings
from app.uuid7 import uuid7

log = structlog.get_logger(__name__)

STATE_BYTES = 24  # 192 bits: more than anybody guesses, and than two browsers choose alike
# Of what a provider may answer instead of a code, what the application hears in the same word (RFC 6749 §4.1.2.1).
REFUSALS = ("access_denied", "temporarily_unavailable")


class IdentityProvider(Protocol):
    """Where somebody signs in, and how it is asked who that was."""

    provider: Provider

    async def check(self) -> None: ...
    async def location(self, flow: Flow) -> str: ...
    async def recognize(self, iss: str | None) -> None: ...
    async def assertion(self, flow: Flow, code: str) -> Assertion: ...


class Started(Struct, frozen=True):
    """Where the browser goes, and what it has to bring back."""

    location: str
    state: str
    sealed: str


class SignIns:
    """Sign-ins with the identities of others, up to the code that an application exchanges."""

    def __init__(self, db: Database, providers: Mapping[str, IdentityProvider], settings: Settings) -> None:
        self._db = db
        self._providers = providers
        self._settings = settings
        self._box = Box("sign-ins", settings.secret_key, settings.secret_key_previous)
        self._codes = OpaqueTokens("gha1_", "sign-in codes", 16, settings.secret_key, settings.secret_key_previous)

    def offered(self) -> list[ProviderItem]:
        """What somebody can sign in with besides an account of this service."""
        found = [
            ProviderItem(name=each.name, kind=each.kind, label=each.label) for each in self._settings.oidc_providers
        ]
        if self._settings.gpustack_url:
            found.append(ProviderItem(name=GPUSTACK, kind="gpustack", label="GPUStack"))
        return found

    def label(self, name: str) -> str:
        """What people call a provider; its name, where it is none of the settings any more."""
        return self._providers[name].provider.label if name in self._providers else name

    async def start(self, name: str, redirect_to: str, code_challenge: str, *, fresh: bool) -> Started:
        """Send a browser to a provider; `fresh` if that shall ask who is there, whatever it knows.

        Raises:
            NotFound: there is no such provider.
            ValidationFailed: the application's address is none of REDIRECT_URIS, or `fresh` is not for this provider.
            ProviderUnusable: the provider does not say where to.
        """
        self._provider(name)
        if redirect_to not in self._settings.redirect_uris:
            raise ValidationFailed(("redirect_to", "is none of REDIRECT_URIS"))
        return await self._start(name, redirect_to, code_challenge, fresh=fresh)

    async def start_here(self, name: str, page: str, code_challenge: str, *, fresh: bool) -> Started:
        """The same for a page of our own, by its path; no application can have anybody sent there.

        Raises:
            NotFound, ValidationFailed, ProviderUnusable: as above.
        """
        return await self._start(name, f"{self._settings.public_url}{page}", code_challenge, fresh=fresh)

    async def _start(self, name: str, redirect_to: str, code_challenge: str, *, fresh: bool) -> Started:
        provider = self._provider(name)
        flow = Flow(
            id=uuid7(),
            provider=name,
            state=secrets.token_urlsafe(STATE_BYTES),
            nonce=secrets.token_urlsafe(STATE_BYTES),
            verifier=pkce.new_verifier(),
            redirect_to=redirect_to,
            code_challenge=code_challenge,
            fresh=fresh,
            began_at=int(time.time()),
        )
        async with _asking(name):
            location = await provider.location(flow)
        return Started(location, flow.state, base64url.encode(self._box.seal(msgspec.json.encode(flow), flow.state)))

    def flow(self, name: str, state: str | None, sealed: str | None) -> Flow:
        """The sign-in that this browser began.

        Raises:
            NotFound: there is no such provider.
            InvalidState: it did not begin one, or another one.
        """
        self._provider(name)
        if state is None or sealed is None:
            raise InvalidState
        try:
            flow = msgspec.json.decode(self._box.open(base64url.decode(sealed), state), type=Flow)
        except (NotOurs, ValueError, msgspec.MsgspecError):
            raise InvalidState from None
        if flow.provider != name:  # mixed up: the answer of one provider to a question to another
            raise InvalidState
        return flow

    async def finish(self, flow: Flow, code: str | None, error: str | None, iss: str | None) -> str:
        """Where the browser goes on to, with a code for the application, or with what the provider had against it.

        Raises:
            InvalidState: it has come back before, or too late.
            IdentityNotAccepted: what it brings proves nothing.
            ProviderUnusable: the provider cannot be asked.
        """
        if not await queries.spend_state(self._db, flow.id, flow.code_challenge, flow.began_at + FLOW_SECONDS):
            raise InvalidState
        provider = self._provider(flow.provider)
        async with _asking(flow.provider):
            await provider.recognize(iss)
            if code is None or error is not None:
                return with_query(flow.redirect_to, error=error if error in REFUSALS else "server_error")
            assertion = await provider.assertion(flow, code)
        await queries.keep_assertion(self._db, flow.id, assertion)
        return with_query(flow.redirect_to, code=self._codes.issue(flow.id.bytes))

    async def redeem(self, code: str, code_verifier: str) -> Assertion:
        """Who has signed in, for the application that began it; its code is used up in any case.

        Raises:
            InvalidGrant: the code is unknown, used or too old, or the verifier is another one.
        """
        said = self._codes.read(code)
        found = await queries.redeem(self._db, UUID(bytes=said)) if said is not None else None
        if found is None or not pkce.fits(code_verifier, found[0]):
            raise InvalidGrant
        return found[1]

    def _provider(self, name: str) -> IdentityProvider:
        if name not in self._providers:
            raise NotFound
        return self._providers[name]


@asynccontextmanager
async def _asking(name: str) -> AsyncGenerator[None]:
    """All that one request of ours may ask of a provider takes no longer than this; what is wrong with it is logged."""
    try:
        async with asyncio.timeout(answers.SECONDS):
            yield
    except (TimeoutError, ProviderUnusable) as error:
        unusable = error if isinstance(error, ProviderUnusable) else ProviderUnusable("no answer in time")
        log.warning("federation.provider_unusable", provider=name, reason=unusable.reason)
        raise unusable from None


def with_query(url: str, **parameters: str) -> str:
    """The URL, asked for these as well."""
    parts = urlsplit(url)
    query = "&".join(filter(None, (parts.query, urlencode(parameters))))
    return urlunsplit(parts._replace(query=query))

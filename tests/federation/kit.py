"""What a browser and an application do in a sign-in; cookies are kept by hand, so that a test can mix browsers up."""

import hashlib
import secrets
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from http.cookies import SimpleCookie
from typing import Any, Protocol
from urllib.parse import parse_qs, quote, urlsplit

from httpx import AsyncClient, Response

from app import base64url
from app.parts import Parts
from tests.federation.github import GitHub
from tests.federation.provider import OpenIdProvider
from tests.federation.realm import APP
from tests.kit import BASE, SignedIn, from_ip

PREFIX = "__Host-gatehouse-oauth-"
HTML = "text/html,application/xhtml+xml,*/*;q=0.8"


class Named(Protocol):
    """A provider, as a browser has to know it."""

    @property
    def name(self) -> str: ...


AnyProvider = OpenIdProvider | GitHub


def s256(verifier: str) -> str:
    return base64url.encode(hashlib.sha256(verifier.encode()).digest())


def without_a_jar(client: AsyncClient) -> AsyncClient:
    """A client that keeps no cookie of itself."""
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
    return client


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query, keep_blank_values=True).items()}


@dataclass
class Flow:
    """A sign-in under way, as its application and its browser know it."""

    provider: Named
    verifier: str
    location: str  # where the browser was sent

    @property
    def state(self) -> str:
        return query_of(self.location)["state"]

    @property
    def cookie(self) -> str:
        return f"{PREFIX}{self.state[:8]}"


@dataclass
class Browser:
    """Somebody's: asks the service by `app`, and the rest of the world by `web`."""

    app: AsyncClient
    web: AsyncClient
    cookies: dict[str, str] = field(default_factory=dict)
    accept: str = "application/json"
    ip: str | None = None  # a new one each time

    async def get(self, url: str) -> Response:
        """What the service answers; the browser keeps what it is told to."""
        headers = {**from_ip(self.ip), "Accept": self.accept}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        _, found, path = url.partition(BASE)
        answer = await self.app.get(
            path if found else url, headers=[(name.encode(), value.encode()) for name, value in headers.items()]
        )
        for line in answer.headers.get_list("set-cookie"):
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
        return answer

    async def begin(self, provider: Named, redirect_to: str = APP, **query: str) -> tuple[Response, str]:
        """The answer to the first step, and the application's verifier."""
        verifier = secrets.token_urlsafe(32)
        asked = {"redirect_to": redirect_to, "code_challenge": s256(verifier), **query}
        url = str(self.app.build_request("GET", f"/oauth/{provider.name}/start", params=asked).url)
        return await self.get(url), verifier

    async def start(self, provider: Named, redirect_to: str = APP, **query: str) -> Flow:
        answer, verifier = await self.begin(provider, redirect_to, **query)
        assert answer.status_code == 302, answer.text
        return Flow(provider, verifier, answer.headers["location"])

    async def at_provider(self, flow: Flow, person: str) -> str:
        """The URL that the provider sends back to, once this person has said yes."""
        answer = await self.web.get(flow.location, headers={"Cookie": f"person={quote(person)}"})
        assert answer.status_code == 302, answer.text
        return str(answer.headers["location"])

    async def back(self, flow: Flow, person: str) -> Response:
        """From the provider to the service."""
        return await self.get(await self.at_provider(flow, person))

    async def code(self, provider: AnyProvider, person: str) -> tuple[str, str]:
        """What the application has in the end: a code, and its verifier."""
        flow = await self.start(provider)
        return code_of(await self.back(flow, person)), flow.verifier

    async def sign_in(self, provider: AnyProvider, person: str, **fields: Any) -> Response:
        """All of it, up to the answer to the exchange."""
        code, verifier = await self.code(provider, person)
        return await exchange(self.app, code, verifier, **fields)

    async def signed_in(self, provider: AnyProvider, person: str, **fields: Any) -> SignedIn:
        answer = await self.sign_in(provider, person, **fields)
        assert answer.status_code == 200, answer.text
        return SignedIn(self.app, answer.json())


def code_of(answer: Response, redirect_to: str = APP) -> str:
    """The application's, out of the way back to it."""
    assert answer.status_code == 302, answer.text
    location = answer.headers["location"]
    assert location.startswith(redirect_to), location
    said = query_of(location)
    assert set(said) - set(query_of(redirect_to)) == {"code"}, said
    return said["code"]


async def exchange(app: AsyncClient, code: str, verifier: str, **fields: Any) -> Response:
    return await app.post(
        "/oauth/exchange", json={"code": code, "code_verifier": verifier, **fields}, headers=from_ip()
    )


async def link(session: SignedIn, code: str, verifier: str) -> Response:
    return await session.ask("POST", "/me/identities", json={"code": code, "code_verifier": verifier})


async def traces(parts: Parts) -> list[int]:
    """How much there is of what a sign-in leaves behind."""
    row = await parts.db.fetchrow(
        """
        SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM identities), (SELECT count(*) FROM sessions),
               (SELECT count(*) FROM sign_ins WHERE assertion IS NOT NULL OR exchange_until IS NOT NULL)
        """
    )
    assert row is not None
    return list(row)

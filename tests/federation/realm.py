"""Many providers behind one server, so that a test has one that nobody has asked anything yet."""

import ssl
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import trustme

from app import providers
from app.settings import BASE, Settings
from tests.federation.github import GitHub
from tests.federation.provider import CLIENT_ID, CLIENT_SECRET, OpenIdProvider
from tests.federation.server import Asked, Reply, Server

APP = "https://app.example.test/signed-in?lang=en"
OWN_SCHEME = "com.example.app:/signed-in"
REDIRECT_URIS = (APP, OWN_SCHEME, "http://127.0.0.1:4711/signed-in")

# How many of each kind there are, and what the settings say of each.
KINDS: dict[str, tuple[int, dict[str, Any]]] = {
    "plain": (1500, {}),
    "shut": (4, {"sign_up": False}),
    "open": (4, {"sign_up": True}),
    "own": (20, {"domains": ["Example.org", "sub.example.net"]}),
    "linking": (16, {"link_by_email": True}),
    "narrow": (4, {"link_by_email": True, "domains": ["example.org"]}),
    "trusting": (8, {"trust_mfa": True}),
    "public": (4, {"client_secret": ""}),
    "raced": (3, {}),
    "github": (60, {"preset": "github", "link_by_email": True}),
}


class Authority:
    """Whom OUTBOUND_CA_FILE names."""

    def __init__(self, directory: Path) -> None:
        self._ca = trustme.CA()
        self.file = directory / "authority.pem"
        self._ca.cert_pem.write_to_path(self.file)

    def serving(self) -> ssl.SSLContext:
        """Of a server at 127.0.0.1."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert("127.0.0.1").configure_cert(context)
        return context

    def trusting(self) -> ssl.SSLContext:
        """Of a browser."""
        return ssl.create_default_context(cafile=str(self.file))


class Realm:
    """The providers, each below the path of its name, and the settings by which the service knows them."""

    def __init__(self, authority: Authority, public_url: str) -> None:
        self.server = Server(self._answer, authority.serving())
        self._authority = authority
        self._public_url = public_url
        self._free = {kind: [f"{kind}-{number}" for number in range(most)] for kind, (most, _) in KINDS.items()}
        self.providers: dict[str, OpenIdProvider | GitHub] = {}

    def take(self, kind: str = "plain") -> OpenIdProvider:
        """A provider that is the test's alone."""
        name = self._next(kind)
        provider = OpenIdProvider(self._issuer(name), self._redirect_uri(name), name)
        provider.client_secret = "" if kind == "public" else CLIENT_SECRET
        provider.auth_methods = ("none",) if kind == "public" else provider.auth_methods
        self.providers[name] = provider
        return provider

    def take_github(self) -> GitHub:
        name = self._next("github")
        self.providers[name] = github = GitHub(self._issuer(name), self._redirect_uri(name), name)
        return github

    def _next(self, kind: str) -> str:
        assert self._free[kind], f"all of kind {kind} are taken: KINDS says how many there are"
        return self._free[kind].pop()

    def known_to(self, settings: Settings, names: Collection[str] = ()) -> Settings:
        """The settings of a service where people sign in with all of these, or with those that are named."""
        said = [
            {"name": name, "issuer": self._issuer(name), "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET} | more
            for kind, (most, more) in KINDS.items()
            for name in (f"{kind}-{number}" for number in range(most))
            if not names or name in names
        ]
        return replace(
            settings,
            oidc_providers=providers.parse(msgspec.json.encode(said).decode()),
            redirect_uris=REDIRECT_URIS,
            outbound_ca_file=self._authority.file,
        )

    def _issuer(self, name: str) -> str:
        return f"{self.server.origin}/{name}"

    def _redirect_uri(self, name: str) -> str:
        return f"{self._public_url}{BASE}/oauth/{name}/callback"

    async def _answer(self, asked: Asked) -> Reply:
        return await self.providers[asked.path.split("/")[1]].answer(asked)

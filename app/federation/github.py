"""GitHub, which speaks OAuth 2 alone: whom a token is of is asked of its API."""

from urllib.parse import urlencode

from msgspec import Struct

from app.errors import IdentityNotAccepted, ValidationFailed
from app.federation.answers import Asking, ProviderUnusable, bearer, form
from app.federation.pkce import s256
from app.federation.structs import Assertion, Flow, said
from app.outbound import Outbound
from app.providers import Provider

VERSION = "2022-11-28"  # of the API
MOST_A_PAGE = 100  # addresses: as many as GitHub gives; of its own it gives 30, and the first of them is no rule


class TokenAnswer(Struct, frozen=True):
    """A refusal has status 200 as well, and no token."""

    access_token: str = ""
    error: str = ""


class Account(Struct, frozen=True):
    id: int
    login: str
    name: str | None = None


class Address(Struct, frozen=True):
    email: str
    primary: bool
    verified: bool


class GitHub:
    """github.com, or a GitHub of one's own."""

    def __init__(self, provider: Provider, outbound: Outbound, redirect_uri: str) -> None:
        self.provider = provider
        self._asking = Asking(outbound)
        self._redirect_uri = redirect_uri
        self._oauth = f"{provider.issuer}/login/oauth"  # of its endpoints, and whom it says it is (RFC 9207)

    async def check(self) -> None:
        """Raises ProviderUnusable where GitHub cannot be reached; what it says does not matter."""
        await self._asking.ask("GET", self.provider.api)

    async def location(self, flow: Flow) -> str:
        """Where the browser is sent.

        Raises:
            ValidationFailed: GitHub cannot be told to ask who is there, and does not say when it did.
        """
        if flow.fresh:
            raise ValidationFailed(("prompt", "is not for this provider, which cannot be told to ask"))
        asked = {
            "client_id": self.provider.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": " ".join(self.provider.scopes),
            "state": flow.state,
            "code_challenge": s256(flow.verifier),
            "code_challenge_method": "S256",
        }
        return f"{self._oauth}/authorize?{urlencode(asked)}"

    async def recognize(self, iss: str | None) -> None:
        """Raises IdentityNotAccepted where it is another issuer that answers (RFC 9207 §2.4)."""
        if iss not in (None, self._oauth):
            raise IdentityNotAccepted

    async def assertion(self, flow: Flow, code: str) -> Assertion:
        """Who has signed in.

        Raises:
            IdentityNotAccepted: what came back proves nothing.
            ProviderUnusable: GitHub cannot be asked, or answers what cannot be read.
        """
        headers = {
            **bearer(await self._token(flow, code)),
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": VERSION,
        }
        api = self.provider.api
        account = self._asking.read(await self._asking.ask("GET", f"{api}/user", headers=headers), Account, "user")
        answer = await self._asking.ask("GET", f"{api}/user/emails?per_page={MOST_A_PAGE}", headers=headers)
        addresses = self._asking.read(answer, list[Address], "emails")
        email = next((said(each.email) for each in addresses if each.primary and each.verified), None)
        return Assertion(
            provider=self.provider.name,
            issuer=self.provider.issuer,
            subject=str(account.id),
            username=said(account.login),
            full_name=said(account.name),
            email=email,
            email_verified=email is not None,
            several_factors=False,
            auth_time=None,
        )

    async def _token(self, flow: Flow, code: str) -> str:
        provider = self.provider
        headers, content = form(
            {
                "client_id": provider.client_id,
                "client_secret": provider.client_secret,
                "code": code,
                "redirect_uri": self._redirect_uri,
                "code_verifier": flow.verifier,
            }
        )
        answer = await self._asking.ask("POST", f"{self._oauth}/access_token", headers=headers, content=content)
        found = self._asking.read(answer, TokenAnswer, "tokens")
        if found.error == "bad_verification_code":
            raise IdentityNotAccepted
        if not found.access_token:
            raise ProviderUnusable(f"tokens: {self._asking.refusal(answer)}")
        return found.access_token

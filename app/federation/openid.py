"""An OpenID Connect provider: what it says of itself, and whom it says has signed in (authorization code, PKCE)."""

from typing import Any
from urllib.parse import urlencode

from joserfc.jwk import Key
from msgspec import Struct

from app.errors import IdentityNotAccepted
from app.federation import id_tokens
from app.federation.answers import Asking, ProviderUnusable, basic, bearer, form
from app.federation.id_tokens import NoSuchKey
from app.federation.pkce import s256
from app.federation.published import Published
from app.federation.structs import Assertion, Flow, said
from app.outbound import Outbound, can_be_asked
from app.providers import Provider
from app.setting_values import origin_of

PAUSE_SECONDS = 10.0  # between two looks for a key: anybody can name one that there is not
BAD_REQUEST = 400
SEVERAL_FACTORS = "mfa"  # RFC 8176 §2
AUTHENTICATED_SKEW = 60  # seconds: of the provider's clock, and until it asks who is there


class Metadata(Struct, frozen=True, kw_only=True):
    """OpenID Connect Discovery 1.0 §3, RFC 8414 §2: as much as a sign-in needs."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: list[str] | None = None
    authorization_response_iss_parameter_supported: bool = False


class TokenAnswer(Struct, frozen=True, kw_only=True):
    id_token: str
    access_token: str = ""


class OpenIdProvider:
    """One provider, as its configuration and its own documents describe it; they are kept in this process."""

    def __init__(self, provider: Provider, outbound: Outbound, redirect_uri: str) -> None:
        self.provider = provider
        self._asking = Asking(outbound)
        self._redirect_uri = redirect_uri
        self._metadata = Published(self._discovered)
        self._keys = Published(self._listed)

    async def check(self) -> None:
        """Raises ProviderUnusable where nobody can sign in at this provider."""
        if not await self._keys.get():
            raise ProviderUnusable("keys: none that can be used")

    async def location(self, flow: Flow) -> str:
        """Where the browser is sent.

        Raises:
            ProviderUnusable: the provider does not say where.
        """
        metadata = await self._metadata.get()
        asked = {
            "response_type": "code",
            "client_id": self.provider.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": " ".join(self.provider.scopes),
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": s256(flow.verifier),
            "code_challenge_method": "S256",
        }
        if flow.fresh:  # OpenID Connect Core 1.0 §3.1.2.1
            asked |= {"prompt": "login", "max_age": "0"}
        separator = "&" if "?" in metadata.authorization_endpoint else "?"
        return f"{metadata.authorization_endpoint}{separator}{urlencode(asked)}"

    async def recognize(self, iss: str | None) -> None:
        """Whether it is this provider that answers, with a code or with a refusal.

        Raises:
            IdentityNotAccepted: it is another issuer, or none says so, where this one always does (RFC 9207 §2.4).
            ProviderUnusable: the provider does not say what it does.
        """
        metadata = await self._metadata.get()
        if iss != metadata.issuer and (iss is not None or metadata.authorization_response_iss_parameter_supported):
            raise IdentityNotAccepted

    async def assertion(self, flow: Flow, code: str) -> Assertion:
        """Who has signed in.

        Raises:
            IdentityNotAccepted: what came back proves nothing.
            ProviderUnusable: the provider cannot be asked, or answers what cannot be read.
        """
        metadata = await self._metadata.get()
        tokens = await self._exchange(metadata, flow, code)
        claims = await self._verified(metadata, tokens, flow)
        auth_time = claims.get("auth_time")
        if flow.fresh and (auth_time is None or auth_time < flow.began_at - AUTHENTICATED_SKEW):
            raise IdentityNotAccepted("The provider did not ask who is there.")
        person = await self._person(metadata, tokens, claims)
        email = said(person.get("email"))
        return Assertion(
            provider=self.provider.name,
            issuer=metadata.issuer,
            subject=claims["sub"],
            username=said(person.get("preferred_username")),
            full_name=said(person.get("name")),
            email=email,
            email_verified=email is not None and person.get("email_verified") is True,
            several_factors=SEVERAL_FACTORS in claims.get("amr", []),
            auth_time=None if auth_time is None else int(auth_time),
        )

    # ---- documents ------------------------------------------------------------------------------------------------

    async def _discovered(self) -> Metadata:
        """What the provider says of itself, where its issuer says.

        Raises:
            ProviderUnusable: it says nothing, or speaks for somebody else.
        """
        url = f"{self.provider.issuer.rstrip('/')}/.well-known/openid-configuration"
        found = self._asking.read(await self._asking.ask("GET", url), Metadata, "discovery")
        if found.issuer != self.provider.issuer:  # OpenID Connect Discovery 1.0 §4.3
            raise ProviderUnusable("discovery: it is another issuer's")
        if not self._is_page(found.authorization_endpoint):
            raise ProviderUnusable("discovery: the authorization endpoint is none that a browser may be sent to")
        return found

    def _is_page(self, url: str) -> bool:
        """Without a fragment (RFC 6749 §3.1), and as safe on its way as the issuer."""
        if not can_be_asked(url) or "#" in url:
            return False
        return url.startswith("https://") or origin_of(url) == origin_of(self.provider.issuer)

    async def _listed(self) -> list[Key]:
        metadata = await self._metadata.get()
        answer = await self._asking.ask("GET", metadata.jwks_uri)
        return id_tokens.key_set(self._asking.read(answer, dict[str, Any], "keys"))

    # ---- a sign-in ------------------------------------------------------------------------------------------------

    async def _exchange(self, metadata: Metadata, flow: Flow, code: str) -> TokenAnswer:
        """The code for tokens (RFC 6749 §4.1.3)."""
        provider = self.provider
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": flow.verifier,
        }
        own_headers = {}
        by_header = metadata.token_endpoint_auth_methods_supported or ["client_secret_basic"]
        if provider.client_secret and "client_secret_basic" in by_header:
            own_headers["Authorization"] = basic(provider.client_id, provider.client_secret)
        else:
            fields["client_id"] = provider.client_id
            if provider.client_secret:
                fields["client_secret"] = provider.client_secret
        headers, content = form(fields)
        answer = await self._asking.ask("POST", metadata.token_endpoint, headers=headers | own_headers, content=content)
        if answer.status == BAD_REQUEST:
            refusal = self._asking.refusal(answer)
            if refusal == "invalid_grant":  # somebody else's code, or one that was used
                raise IdentityNotAccepted
            raise ProviderUnusable(f"tokens: {refusal}")
        return self._asking.read(answer, TokenAnswer, "tokens")

    async def _verified(self, metadata: Metadata, tokens: TokenAnswer, flow: Flow) -> dict[str, Any]:
        for newer_than in (None, PAUSE_SECONDS):
            keys = await self._keys.get(newer_than)
            try:
                return id_tokens.verify(
                    tokens.id_token,
                    keys,
                    issuer=metadata.issuer,
                    client_id=self.provider.client_id,
                    nonce=flow.nonce,
                    access_token=tokens.access_token,
                )
            except NoSuchKey:
                continue
        raise IdentityNotAccepted

    async def _person(self, metadata: Metadata, tokens: TokenAnswer, claims: dict[str, Any]) -> dict[str, Any]:
        """The ID token, and where that says too little what the provider says on request (Core 1.0 §5.3)."""
        if "email" in claims or not metadata.userinfo_endpoint or not tokens.access_token:
            return claims
        headers = bearer(tokens.access_token)
        answer = await self._asking.ask("GET", metadata.userinfo_endpoint, headers=headers)
        more = self._asking.read(answer, dict[str, Any], "userinfo")
        if more.get("sub") != claims["sub"]:
            raise IdentityNotAccepted
        return more | claims | {"email_verified": more.get("email_verified")}  # of the address beside it

"""What verifiers of our tokens read: the public keys, and the service's description of itself."""

from typing import Any, NotRequired, TypedDict

from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency
from litestar.status_codes import HTTP_200_OK

from app.keys.ring import Ring
from app.settings import BASE

# seconds a verifier may keep the key set: well below the time that a new key is published before it signs
KEEP_SECONDS = 10
CLIENT_AUTHENTICATION = ["client_secret_basic", "client_secret_post"]  # RFC 7591 §2; app/clients/credentials.py


class PublicKey(TypedDict):
    """RFC 7517 §4; the members that an algorithm has depend on it."""

    kty: str
    kid: str
    alg: str
    use: str
    crv: NotRequired[str]
    x: NotRequired[str]
    y: NotRequired[str]
    n: NotRequired[str]
    e: NotRequired[str]


class KeySet(TypedDict):
    keys: list[PublicKey]


class ServerMetadata(TypedDict):
    """RFC 8414 §2."""

    issuer: str
    token_endpoint: str
    jwks_uri: str
    response_types_supported: list[str]
    grant_types_supported: list[str]
    token_endpoint_auth_methods_supported: list[str]
    introspection_endpoint: str
    introspection_endpoint_auth_methods_supported: list[str]
    revocation_endpoint: str
    revocation_endpoint_auth_methods_supported: list[str]


class WellKnownController(Controller):
    tags = ("discovery",)
    path = "/.well-known"

    @get("/jwks.json", exclude_from_auth=True, summary="Public keys", answers={HTTP_200_OK: KeySet})
    async def jwks(self, ring: NamedDependency[Ring]) -> Response[dict[str, list[dict[str, Any]]]]:
        """The keys that verify access tokens (RFC 7517); empty with HS256, whose key is a secret."""
        return Response(ring.jwks(), headers={"Cache-Control": f"public, max-age={KEEP_SECONDS}"})

    @get(
        "/oauth-authorization-server",
        exclude_from_auth=True,
        operation_id="authorization_server_metadata",
        summary="Metadata",
    )
    async def metadata(self, request: Request[Any, Any, Any]) -> ServerMetadata:
        """What an OAuth 2 client needs to know (RFC 8414)."""
        issuer = request.app.state.settings.public_url
        return {
            "issuer": issuer,
            "token_endpoint": f"{issuer}{BASE}/login",
            "jwks_uri": f"{issuer}/.well-known/jwks.json",
            "response_types_supported": [],
            "grant_types_supported": ["password"] if request.app.state.settings.password_grant else [],
            "token_endpoint_auth_methods_supported": ["none"],
            "introspection_endpoint": f"{issuer}{BASE}/introspect",
            "introspection_endpoint_auth_methods_supported": CLIENT_AUTHENTICATION,
            "revocation_endpoint": f"{issuer}{BASE}/revoke",
            "revocation_endpoint_auth_methods_supported": CLIENT_AUTHENTICATION,
        }

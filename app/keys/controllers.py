"""What verifiers of our tokens read: the public keys, and the service's description of itself."""

from typing import Any

from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency

from app.keys.ring import Ring

BASE = "/api/auth/v2"

# seconds a verifier may keep the key set: well below the time that a new key is published before it signs
KEEP_SECONDS = 10


class WellKnownController(Controller):
    tags = ("discovery",)
    path = "/.well-known"

    @get("/jwks.json", exclude_from_auth=True, summary="Public keys")
    async def jwks(self, ring: NamedDependency[Ring]) -> Response[dict[str, list[dict[str, Any]]]]:
        """The keys that verify access tokens (RFC 7517); empty with HS256, whose key is a secret."""
        return Response(ring.jwks(), headers={"Cache-Control": f"public, max-age={KEEP_SECONDS}"})

    @get("/oauth-authorization-server", exclude_from_auth=True, summary="Metadata")
    async def metadata(self, request: Request[Any, Any, Any]) -> dict[str, Any]:
        """What an OAuth 2 client needs to know (RFC 8414)."""
        issuer = request.app.state.settings.public_url
        return {
            "issuer": issuer,
            "token_endpoint": f"{issuer}{BASE}/login",
            "jwks_uri": f"{issuer}/.well-known/jwks.json",
            "response_types_supported": [],
            "grant_types_supported": ["password"] if request.app.state.settings.password_grant else [],
            "token_endpoint_auth_methods_supported": ["none"],
        }

"""Which routes are open: exactly these, by name. A route that is not named here asks for an access token."""

from litestar.handlers import ASGIRouteHandler, HTTPRouteHandler

from app.edge import Edge
from tests.kit import BASE

OPEN = {
    f"POST {BASE}/register",
    f"POST {BASE}/login",
    f"POST {BASE}/login/mfa",
    f"POST {BASE}/login/passkey/options",
    f"POST {BASE}/login/passkey",
    f"POST {BASE}/refresh",
    f"POST {BASE}/logout",
    f"* {BASE}/verify",
    f"POST {BASE}/password/forgot",
    f"POST {BASE}/password/reset",
    f"POST {BASE}/password/not-me",
    f"POST {BASE}/email/verify",
    f"POST {BASE}/introspect",
    f"POST {BASE}/revoke",
    f"GET {BASE}/providers",
    f"GET {BASE}/oauth/{{provider:str}}/start",
    f"GET {BASE}/oauth/{{provider:str}}/callback",
    f"POST {BASE}/oauth/exchange",
    f"GET {BASE}/health",
    f"GET {BASE}/health/live",
    f"GET {BASE}/health/ready",
    f"GET {BASE}/health/startup",
    "GET /metrics",
    "GET /.well-known/jwks.json",
    "GET /.well-known/oauth-authorization-server",
    "GET /openapi.json",
    "GET /docs",
    "GET /docs/{name:str}",
    "GET /console",
    "GET /console/{path:path}",
    "GET /console/static/{name:str}",
    "GET /console/sign-in",
    "POST /console/sign-in",
    "GET /console/sign-in/code",
    "POST /console/sign-in/code",
    "GET /console/sign-in/passkey",
    "POST /console/sign-in/passkey",
    "GET /console/sign-in/with/{provider:str}",
    "GET /console/sign-in/return",
    "POST /console/sign-out",
    "GET /console/register",
    "POST /console/register",
    "GET /console/forgot",
    "POST /console/forgot",
    "GET /console/reset-password",
    "POST /console/reset-password",
    "GET /console/verify-email",
    "POST /console/verify-email",
    "GET /console/not-me",
    "POST /console/not-me",
}


async def test_exactly_these_routes_are_open(edge: Edge) -> None:
    found = set()
    for route in [*edge.app.routes, *edge.app.state.pages.app.routes]:
        handlers = getattr(route, "route_handlers", None) or [getattr(route, "route_handler", None)]
        for handler in handlers:
            assert isinstance(handler, HTTPRouteHandler | ASGIRouteHandler)
            if handler.opt.get("exclude_from_auth"):
                methods = handler.http_methods if isinstance(handler, HTTPRouteHandler) else {"*"}
                found |= {f"{method} {route.path}" for method in methods}

    assert found == OPEN

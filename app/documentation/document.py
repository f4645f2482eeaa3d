"""The OpenAPI document, made from the routes of an application and nothing else.

Litestar would make one, too; but its schemas forget `additionalProperties`, defaults and descriptions, every one of its
errors is a 400 of its own format, and it leaves out raw ASGI routes.
"""

from importlib.metadata import version
from typing import Any

import msgspec
from litestar import Litestar
from litestar.routes import ASGIRoute, HTTPRoute

from app.documentation import errors
from app.documentation.operations import Describer
from app.documentation.schemas import Schemas
from app.errors import InternalError
from app.sessions import cookie
from app.settings import BASE, Settings

ABOUT = """\
Users, sessions, tokens, preferences and administration.

`POST {base}/login` answers an access token, good for {minutes} minutes, and a refresh token. The access token goes into
`Authorization: Bearer …` of every other request; `POST {base}/refresh` exchanges the refresh token for new ones.
A page in a browser asks with `"transport": "cookie"`, and its refresh token comes and goes in a cookie that no script
reads.

Every answer carries `X-Request-ID`; one that the request brings is kept. JSON in and out, times in UTC.

### Errors

Every error is `application/problem+json` (RFC 9457). Switch on `code`:

{errors}
"""

TAGS = {
    "authentication": "Registering, signing in and out, refreshing; and what reverse proxies ask.",
    "account": "One's own account and sessions.",
    "recovery": "By a link in a mail: addresses verified, passwords reset, intruders shut out.",
    "second factors": "One's own authenticator and recovery codes.",
    "federation": "Signing in with an identity of somebody else, and one's own identities.",
    "preferences": "What a client keeps for its user: keys and JSON values.",
    "users": "Administration of accounts.",
    "roles": "What people may do: roles, and the permissions that they are sets of.",
    "sessions": "Administration of sessions.",
    "audit": "What happened, and how often.",
    "maintenance": "Upkeep.",
    "health": "For probes and monitoring.",
    "clients": "What other services ask about tokens, with credentials of their own (`gatehouse clients add`).",
    "discovery": "What verifiers of tokens and OAuth 2 clients read.",
}


def document_of(app: Litestar) -> bytes:
    """The document as JSON. It takes some ten milliseconds to make: keep it."""
    return msgspec.json.encode(describe(app))


def describe(app: Litestar) -> dict[str, Any]:
    settings: Settings = app.state.settings
    schemas = Schemas()
    schemes = _schemes(settings)
    opens: list[dict[str, list[str]]] = [{name: []} for name in schemes if name not in ("metrics", "cookie", "client")]
    describer = Describer(schemas, {InternalError}, opens, cookie.name_of(settings))
    paths = _paths(app, describer)
    used = {tag for operations in paths.values() for operation in operations.values() for tag in operation["tags"]}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gatehouse",
            "version": version("gatehouse"),
            "description": ABOUT.format(base=BASE, minutes=settings.access_token_expire_minutes, errors=errors.table()),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items() if name in used],
        "paths": paths,
        "components": {
            "schemas": schemas.components(),
            "examples": errors.examples(describer.raised),
            "securitySchemes": schemes,
        },
    }


def _schemes(settings: Settings) -> dict[str, Any]:
    """How a request shows who sends it."""
    schemes: dict[str, Any] = {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "An access token.",
        }
    }
    if settings.password_grant:
        schemes["password"] = {
            "type": "oauth2",
            "description": "Username and password, for a tool that fetches its access token by itself.",
            "flows": {"password": {"tokenUrl": f"{BASE}/login", "scopes": {}}},
        }
    schemes["cookie"] = {
        "type": "apiKey",
        "in": "cookie",
        "name": cookie.name_of(settings),
        "description": "A refresh token, which pages of this service and of CORS_ORIGINS alone may use.",
    }
    schemes["client"] = {
        "type": "http",
        "scheme": "basic",
        "description": "`client_id` and `client_secret` of another service of the operator's, each urlencoded.",
    }
    schemes["metrics"] = {"type": "http", "scheme": "bearer", "description": "METRICS_TOKEN, where one is set."}
    return schemes


def _paths(app: Litestar, describer: Describer) -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for route in app.routes:
        found: dict[str, Any] = {}
        if isinstance(route, HTTPRoute):
            for method, (handler, _) in sorted(route.route_handler_map.items()):
                if handler.resolve_include_in_schema():
                    found[method.lower()] = describer.operation(route, handler)
        elif isinstance(route, ASGIRoute) and "operation" in route.route_handler.opt:
            found = {method: describer.declared(route.route_handler, method) for method in ("get", "post")}
        if found:
            paths.setdefault(route.path_format, {}).update(found)
    return dict(sorted(paths.items()))

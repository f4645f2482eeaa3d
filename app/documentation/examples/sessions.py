"""Sessions and tokens, and who asks about them."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from app.clients.structs import ActiveAccessToken, ActiveRefreshToken, Inactive, TokenForm
from app.documentation.samples import (
    ACCESS,
    ADA,
    CLIENT_ID,
    CLIENT_SECRET,
    CURSOR,
    MORNING,
    REFRESH,
    SESSION,
    SESSION_ID,
    SIGNED_IN,
    TOKENS,
)
from app.identity.structs import TokenResponse
from app.sessions.admin_controllers import Revoked, RevokeSessions
from app.sessions.census import Analytics
from app.sessions.ending import Ended
from app.sessions.filters import SessionFilter
from app.sessions.listing import SessionPage
from app.sessions.structs import LogoutRequest, RefreshRequest, SessionList

BY_TYPE: Mapping[object, Mapping[str, Struct]] = {
    TokenResponse: {"tokens": TOKENS},
    RefreshRequest: {"token": RefreshRequest(REFRESH)},
    LogoutRequest: {"token": LogoutRequest(REFRESH)},
    TokenForm: {
        "by_basic": TokenForm(token=ACCESS),
        "in_the_form": TokenForm(token=REFRESH, client_id=CLIENT_ID, client_secret=CLIENT_SECRET),
    },
    Revoked: {"two": Revoked(2)},
    RevokeSessions: {
        "network": RevokeSessions(filter=SessionFilter(ip="203.0.113.0/24", factor="pwd"), dry_run=True),
        "device": RevokeSessions(filter=SessionFilter(device="iPhone", created_before=MORNING)),
    },
    Ended: {"ended": Ended(matched=31, revoked=31)},
    SessionList: {"sessions": SessionList([SESSION])},
    SessionPage: {
        "page": SessionPage(
            items=[msgspec.structs.replace(SESSION, current=False)],
            total=1815,
            total_exact=True,
            page=1,
            page_size=1,
            next_cursor=CURSOR,
            analytics=Analytics(
                active_sessions=1815,
                active_users=1792,
                created_last_24h=210,
                by_device={"Bot": 12, "Tablet": 93, "Mobile": 804, "Desktop": 897, "Other": 9},
                by_day={"2026-01-04": 187, "2026-01-05": 94},
                as_of=MORNING,
            ),
        )
    },
}
ANSWERS: Mapping[tuple[str, int], Mapping[str, Any]] = {
    ("authorization_server_metadata", 200): {
        "metadata": {
            "issuer": "https://auth.example.org",
            "token_endpoint": "https://auth.example.org/api/auth/v2/login",
            "jwks_uri": "https://auth.example.org/.well-known/jwks.json",
            "response_types_supported": [],
            "grant_types_supported": ["password"],
            "token_endpoint_auth_methods_supported": ["none"],
            "introspection_endpoint": "https://auth.example.org/api/auth/v2/introspect",
            "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "revocation_endpoint": "https://auth.example.org/api/auth/v2/revoke",
            "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        }
    },
    ("introspect", 200): {
        "access_token": msgspec.to_builtins(
            ActiveAccessToken(
                active=True,
                token_type="bearer",  # noqa: S106 - RFC 6750's name of a kind of token
                iss="https://auth.example.org",
                aud="https://auth.example.org",
                sub=str(ADA.id),
                username=ADA.username,
                sid=SESSION_ID,
                jti=f"{SESSION_ID}.3",
                iat=SIGNED_IN + 3600,
                nbf=SIGNED_IN + 3600,
                exp=SIGNED_IN + 4500,
                auth_time=SIGNED_IN,
                amr=["pwd"],
                roles=ADA.roles,
                permissions=ADA.permissions,
            )
        ),
        "refresh_token": msgspec.to_builtins(
            ActiveRefreshToken(
                active=True,
                token_type="N_A",  # noqa: S106 - RFC 8693's name of what is no access token
                iss="https://auth.example.org",
                aud="https://auth.example.org",
                sub=str(ADA.id),
                username=ADA.username,
                sid=SESSION_ID,
                exp=SIGNED_IN + 2_592_000,
                auth_time=SIGNED_IN,
                amr=["pwd"],
            )
        ),
        "inactive": msgspec.to_builtins(Inactive(active=False)),
    },
    ("jwks", 200): {
        "keys": {
            "keys": [
                {
                    "kty": "EC",
                    "crv": "P-256",
                    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
                    "kid": "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U",
                    "alg": "ES256",
                    "use": "sig",
                }
            ]
        }
    },
}

"""What verifiers read: the key set, the metadata, and tokens of each algorithm."""

import base64
import hashlib
import json
from typing import Any

import jwt
import pytest
from httpx import AsyncClient

from tests.keys.kit import JWKS, JWT_SECRET, published, sign_in, status
from tests.kit import SignedIn, from_ip, register
from tests.replica import Start

METADATA = "https://auth.example.test/.well-known/oauth-authorization-server"


def public_claims(session: SignedIn, key: Any, algorithm: str) -> dict[str, Any]:
    """What a verifier sees who has nothing but the published key."""
    audience = "https://auth.example.test"
    claims: dict[str, Any] = jwt.decode(
        session.access, key, algorithms=[algorithm], audience=audience, issuer="https://auth.example.test"
    )
    return claims


# ---- what verifiers read ------------------------------------------------------------------------------------------


async def test_the_key_set_holds_public_halves_named_by_their_thumbprint(start: Start) -> None:
    answer = await (await start()).client.get(JWKS)

    assert answer.headers["cache-control"] == "public, max-age=10"
    assert answer.headers["content-type"] == "application/json"
    (key,) = answer.json()["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "kid", "alg", "use"}
    assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("EC", "P-256", "ES256", "sig")
    members = {name: key[name] for name in sorted(("kty", "crv", "x", "y"))}  # RFC 7638 §3.2
    digest = hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest()
    assert key["kid"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


async def test_the_metadata_says_where_everything_is(client: AsyncClient) -> None:
    answer = await client.get(METADATA)

    assert answer.json() == {
        "issuer": "https://auth.example.test",
        "token_endpoint": "https://auth.example.test/api/auth/v2/login",
        "jwks_uri": JWKS,
        "response_types_supported": [],
        "grant_types_supported": ["password"],
        "token_endpoint_auth_methods_supported": ["none"],
        "introspection_endpoint": "https://auth.example.test/api/auth/v2/introspect",
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "revocation_endpoint": "https://auth.example.test/api/auth/v2/revoke",
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    }
    assert (await client.get(answer.json()["jwks_uri"])).status_code == 200


async def test_the_token_endpoint_of_the_metadata_grants_tokens(client: AsyncClient) -> None:
    person = await register(client)
    form = {"grant_type": "password", "username": person.username, "password": person.password}
    endpoint = (await client.get(METADATA)).json()["token_endpoint"]

    assert (await client.post(endpoint, data=form, headers=from_ip())).json()["token_type"] == "bearer"


async def test_without_the_password_grant_the_metadata_offers_none(start: Start) -> None:
    replica = await start(password_grant=False)

    assert (await replica.client.get(METADATA)).json()["grant_types_supported"] == []


# ---- algorithms ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("algorithm", "kty"), [("ES256", "EC"), ("EdDSA", "OKP"), ("RS256", "RSA")])
async def test_anybody_can_verify_a_token_by_the_key_set(start: Start, algorithm: str, kty: str) -> None:
    replica = await start(jwt_algorithm=algorithm)
    session = await sign_in(replica)

    header = jwt.get_unverified_header(session.access)
    (key,) = await published(replica)

    assert header == {"alg": algorithm, "typ": "at+jwt", "kid": key["kid"]}
    assert (key["kty"], key["alg"]) == (kty, algorithm)
    assert not {"d", "p", "q", "dp", "dq", "qi", "k", "oth"} & set(key)
    assert algorithm != "RS256" or len(base64.urlsafe_b64decode(key["n"] + "==")) * 8 == 3072
    assert public_claims(session, jwt.PyJWK(key), algorithm)["sub"] == str(session.user_id)
    assert await status(replica, session) == 200


async def test_hs256_signs_by_the_shared_secret_and_publishes_nothing(start: Start) -> None:
    replica = await start(jwt_algorithm="HS256", jwt_secret=JWT_SECRET)
    session = await sign_in(replica)

    assert await published(replica) == []
    assert jwt.get_unverified_header(session.access)["alg"] == "HS256"
    assert public_claims(session, JWT_SECRET, "HS256")["sub"] == str(session.user_id)
    assert await status(replica, session) == 200
    assert await replica.parts.db.fetch("SELECT FROM signing_keys") == []


async def test_replicas_of_two_algorithms_serve_each_others_tokens_at_once(start: Start) -> None:
    """As while JWT_ALGORITHM is being changed."""
    old = await start()
    before = await sign_in(old)

    new = await start(jwt_algorithm="EdDSA")
    after = await sign_in(new)

    assert [await status(old, after), await status(new, before)] == [200, 200]
    assert {key["alg"] for key in await published(old)} == {"ES256", "EdDSA"}
    assert jwt.get_unverified_header((await before.refreshed(old.client)).access)["alg"] == "ES256"
    assert jwt.get_unverified_header((await before.refreshed(new.client)).access)["alg"] == "EdDSA"

"""A scriptable OpenID provider: right in all it does, until a test tells it to lie."""

import asyncio
import hashlib
import secrets
import time
from base64 import b64decode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, unquote_plus, urlencode

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from jwt import get_algorithm_by_name

from app import base64url
from tests.federation.server import Asked, Reply, json, redirect

CLIENT_ID, CLIENT_SECRET = "gatehouse:at+this=provider", "s3cret/of:the+client%and-more=0123456789"
LIFETIME = 300  # seconds, of an ID token

Told = Callable[[Asked, Reply], Awaitable[Reply]]  # makes a lie of a right answer
Private = EllipticCurvePrivateKey | RSAPrivateKey | Ed25519PrivateKey


class Missing:
    """A claim or a field that is left out."""


MISSING = Missing()


@dataclass
class SigningKey:
    """A key pair as a provider publishes it."""

    private: Private = field(default_factory=lambda: generate_private_key(SECP256R1()))
    kid: str = field(default_factory=lambda: secrets.token_hex(4))
    alg: str = "ES256"

    @property
    def jwk(self) -> dict[str, Any]:
        public = get_algorithm_by_name(self.alg).to_jwk(self.private.public_key(), as_dict=True)
        return {**public, "kid": self.kid, "use": "sig", "alg": self.alg}

    def sign(self, header: bytes, payload: bytes) -> str:
        """A JWS of exactly these bytes."""
        signed = f"{base64url.encode(header)}.{base64url.encode(payload)}"
        return f"{signed}.{base64url.encode(get_algorithm_by_name(self.alg).sign(signed.encode(), self.private))}"


def changed(what: dict[str, Any], by: dict[str, Any]) -> dict[str, Any]:
    """With these in the place of those; what is missing is not there."""
    return {name: value for name, value in (what | by).items() if value is not MISSING}


@dataclass
class Grant:
    """A code that was given out, and for what."""

    person: dict[str, Any]
    query: dict[str, str]
    is_spent: bool = False


@dataclass
class OpenIdProvider:
    """One issuer, below a path of its own at a server; `people` are known by what their browsers send as a cookie."""

    issuer: str
    redirect_uri: str
    name: str
    client_secret: str = CLIENT_SECRET
    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: list[SigningKey] = field(default_factory=lambda: [SigningKey()])
    grants: dict[str, Grant] = field(default_factory=dict)
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)  # access tokens, and whose they are
    issued: list[str] = field(default_factory=list)  # every secret that was given out
    # ---- what a test may change -----------------------------------------------------------------------------------
    metadata: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    token_answer: dict[str, Any] = field(default_factory=dict)
    back: dict[str, Any] = field(default_factory=dict)  # the query of the way back
    forge: Callable[["OpenIdProvider", dict[str, Any]], str] | None = None  # makes the ID token of its claims
    told: dict[str, Told] = field(default_factory=dict)  # by the endpoint: discovery, keys, token, userinfo
    auth_methods: tuple[str, ...] = ("client_secret_basic", "client_secret_post")
    announces_iss: bool = False

    def register(self, **claims: Any) -> str:
        """Somebody new; what his browser is known by."""
        subject = str(claims.setdefault("sub", secrets.token_hex(8)))
        self.people[subject] = claims
        return subject

    @property
    def prefix(self) -> str:
        return "/" + self.issuer.split("/", 3)[3]

    async def answer(self, asked: Asked) -> Reply:
        endpoint = asked.path.removeprefix(self.prefix).strip("/")
        name, handle = {
            ".well-known/openid-configuration": ("discovery", self._discovery),
            "keys": ("keys", self._keys),
            "authorize": ("authorize", self._authorize),
            "token": ("token", self._token),
            "userinfo": ("userinfo", self._userinfo),
        }[endpoint]
        reply = handle(asked)
        return await self.told[name](asked, reply) if name in self.told else reply

    # ---- endpoints --------------------------------------------------------------------------------------------------

    def _discovery(self, _: Asked) -> Reply:
        """OpenID Connect Discovery 1.0 §3, RFC 9207 §3."""
        said = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": sorted({key.alg for key in self.keys}),
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": list(self.auth_methods),
            "authorization_response_iss_parameter_supported": self.announces_iss,
        }
        return json(changed(said, self.metadata))

    def _keys(self, _: Asked) -> Reply:
        return json({"keys": [key.jwk for key in self.keys]})

    def _authorize(self, asked: Asked) -> Reply:
        """Sends the browser straight back: whoever it is has signed in here, and has said yes."""
        query = asked.query
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT_ID
        assert query["redirect_uri"] == self.redirect_uri
        assert "openid" in query["scope"].split()
        assert query["code_challenge_method"] == "S256"
        assert len(query["code_challenge"]) == 43
        assert len(query["nonce"]) >= 22  # 128 bits
        assert len(query["state"]) >= 22
        code = secrets.token_urlsafe(24)
        self.grants[code] = Grant(self.people[unquote(asked.cookies["person"])], query)
        self.issued.append(code)
        back = {"code": code, "state": query["state"]} | ({"iss": self.issuer} if self.announces_iss else {})
        return redirect(f"{self.redirect_uri}?{urlencode(changed(back, self.back))}")

    def _token(self, asked: Asked) -> Reply:
        """RFC 6749 §4.1.3 and §5, RFC 7636 §4.6."""
        form = asked.form
        if asked.method != "POST" or not self._is_client(asked):
            return json({"error": "invalid_client"}, 401)
        grant = self.grants.get(form["code"])
        challenge = base64url.encode(hashlib.sha256(form["code_verifier"].encode()).digest())
        if (
            form["grant_type"] != "authorization_code"
            or form["redirect_uri"] != self.redirect_uri
            or grant is None
            or grant.is_spent
            or grant.query["code_challenge"] != challenge
        ):
            return json({"error": "invalid_grant", "error_description": "<script>alert(1)</script>"}, 400)
        grant.is_spent = True
        access_token = secrets.token_urlsafe(24)
        self.tokens[access_token] = grant.person
        id_token = self.id_token(grant, access_token)
        self.issued += [access_token, id_token]
        answer = {"access_token": access_token, "token_type": "Bearer", "expires_in": 3600, "id_token": id_token}
        return json(changed(answer, self.token_answer))

    def _is_client(self, asked: Asked) -> bool:
        """RFC 6749 §2.3.1: by one way, and by one that is offered."""
        scheme, _, shown = asked.headers.get("authorization", "").partition(" ")
        form = asked.form
        if scheme:
            pair = tuple(unquote_plus(each) for each in b64decode(shown).decode().split(":"))
            by_header = (scheme, *pair) == ("Basic", CLIENT_ID, self.client_secret)
            return by_header and "client_secret_basic" in self.auth_methods and "client_secret" not in form
        if "none" in self.auth_methods and "client_secret" not in form:
            return form.get("client_id") == CLIENT_ID
        return "client_secret_post" in self.auth_methods and (form.get("client_id"), form.get("client_secret")) == (
            CLIENT_ID,
            self.client_secret,
        )

    def _userinfo(self, asked: Asked) -> Reply:
        person = self.tokens.get(asked.headers.get("authorization", "").removeprefix("Bearer "))
        return json({"error": "invalid_token"}, 401) if person is None else json(person)

    # ---- ID tokens --------------------------------------------------------------------------------------------------

    def id_token(self, grant: Grant, access_token: str) -> str:
        """OpenID Connect Core 1.0 §2 and §3.1.3.6."""
        now = int(time.time())
        half = hashlib.sha256(access_token.encode()).digest()[:16]
        right = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "nonce": grant.query["nonce"],
            "iat": now,
            "exp": now + LIFETIME,
            "at_hash": base64url.encode(half),
            **grant.person,
        }
        claims = changed(right, self.claims)
        return self.signed(claims) if self.forge is None else self.forge(self, claims)

    def signed(self, claims: dict[str, Any], key: SigningKey | None = None) -> str:
        key = key or self.keys[0]
        return key.sign(self.jose_header(key), msgspec.json.encode(claims))

    def jose_header(self, key: SigningKey) -> bytes:
        return msgspec.json.encode(changed({"alg": key.alg, "kid": key.kid}, self.header))


# ---- lies of endpoints ----------------------------------------------------------------------------------------------


def instead(reply: Reply) -> Told:
    async def tell(_: Asked, __: Reply) -> Reply:
        return reply

    return tell


def with_fields(**fields: Any) -> Told:
    """The JSON that it would be, but for these."""

    async def tell(_: Asked, right: Reply) -> Reply:
        assert isinstance(right.content, bytes)
        return json(changed(msgspec.json.decode(right.content), fields), right.status)

    return tell


def held_until(over: asyncio.Event) -> Told:
    """The answer does not come before this."""

    async def tell(_: Asked, right: Reply) -> Reply:
        await over.wait()
        return right

    return tell

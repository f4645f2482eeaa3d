"""ID tokens, checked to the letter (OpenID Connect Core 1.0 §3.1.3.7, RFC 8725)."""

import hashlib
import hmac
import json
import warnings
from collections.abc import Sequence
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, Key, KeySet, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from app import base64url
from app.errors import IdentityNotAccepted
from app.federation.structs import MAX_SUBJECT

SKEW_SECONDS = 30  # that the provider's clock may be off, either way
MAX_CHARACTERS = 32_768  # of a token: a few hundred are usual, groups and pictures make some thousand
MAX_BRACKETS = 1000  # of a token: objects and lists, which may as well lie in each other; how deep Python reads differs
MIN_RSA_BITS = 2048  # RFC 7518 §3.3
MAX_KEYS = 100  # of a set: the largest have ten; they are read on the event loop, where 100 take some 10 ms
MAX_MEMBER = 2048  # characters: a modulus of 8192 bits has 1366
# RFC 7517 §4, RFC 7518 §6, RFC 8037 §2
PUBLIC_MEMBERS = ("kty", "kid", "use", "key_ops", "alg", "crv", "x", "y", "n", "e")
PRIVATE_MEMBER = "d"  # of all kinds of key pairs
# Signatures by keys that the provider alone has; never its choice of a weaker one (RFC 8725 §3.1, §3.2).
KINDS: dict[str, type[Key]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), RSAKey),
    **dict.fromkeys(("ES256", "ES384", "ES512"), ECKey),
    **dict.fromkeys(("EdDSA", "Ed25519"), OKPKey),
}
HASHES = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}
YEAR_10000 = 253_402_300_800  # its first second: no calendar of ours goes on until then
TYPES = ("", "jwt")  # any other is a token for something else (RFC 8725 §3.11)


class NoSuchKey(Exception):
    """The provider may have a new one since its keys were read."""


class Once(json.JSONDecoder):
    """Refuses an object with a name twice: who reads the first and who reads the last would differ."""

    def __init__(self) -> None:
        super().__init__(object_pairs_hook=_once)

    def decode(self, s: str, *more: Any) -> Any:  # noqa: ANN401 - JSON is any value
        if s.count("[") + s.count("{") > MAX_BRACKETS:
            raise ValueError
        return super().decode(s, *more)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError
    return found


def key_set(value: dict[str, Any]) -> list[Key]:
    """The keys of a set that can verify; what is of another kind, or weak, is left out (RFC 7517 §5).

    So is one whose private half was published: whoever has read it can sign. To import it would check its primes, too,
    which takes 150 ms a piece.
    """
    listed = value.get("keys")
    objects = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    found = [_imported(each) for each in objects[:MAX_KEYS] if PRIVATE_MEMBER not in each]
    return [key for key in found if key is not None]


def _unwarned() -> "warnings.catch_warnings[None]":
    """What the library would warn of is refused here, or asked for: `EdDSA` is how providers write Ed25519."""
    return warnings.catch_warnings(action="ignore", category=SecurityWarning)


def _imported(value: dict[str, Any]) -> Key | None:
    members = {name: value[name] for name in PUBLIC_MEMBERS if name in value}
    if any(isinstance(member, str) and len(member) > MAX_MEMBER for member in members.values()):
        return None
    try:
        with _unwarned():
            key = KeySet.registry_cls.import_key(members)
            weak = isinstance(key, RSAKey) and key.public_key.key_size < MIN_RSA_BITS
    except (JoseError, ValueError, TypeError, AttributeError, KeyError):  # KeyError: a curve that it does not know
        return None
    verifies = isinstance(key, RSAKey | ECKey | OKPKey) and value.get("use", "sig") == "sig"
    return key if verifies and not weak else None


def verify(
    token: str, keys: Sequence[Key], *, issuer: str, client_id: str, nonce: str, access_token: str
) -> dict[str, Any]:
    """The claims of a token that this issuer has made for this sign-in of ours.

    Raises:
        NoSuchKey: it names a key that is not among these.
        IdentityNotAccepted: anything else that is not as it should be.
    """
    if len(token) > MAX_CHARACTERS:
        raise IdentityNotAccepted
    try:
        header = jws.extract_compact(token.encode()).headers()
        algorithm = header.get("alg")
        if algorithm not in KINDS or str(header.get("typ", "")).lower() not in TYPES or "crit" in header:
            raise IdentityNotAccepted
        key = _key(keys, header.get("kid"), algorithm)
        with _unwarned():
            found = jwt.decode(token, key, [algorithm], registry=JWSRegistry(algorithms=[algorithm]), decoder_cls=Once)
        claims = found.claims
        jwt.JWTClaimsRegistry(
            leeway=SKEW_SECONDS,
            iss={"essential": True, "value": issuer},
            sub={"essential": True},
            aud={"essential": True, "value": client_id},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        ).validate(claims)
    except (JoseError, ValueError, TypeError, RecursionError):
        raise IdentityNotAccepted from None
    if not _fits(claims, algorithm, client_id, nonce, access_token):
        raise IdentityNotAccepted
    return claims


def _key(keys: Sequence[Key], kid: object, algorithm: str) -> Key:
    """The one key that can have made it; without a name there has to be only one (OpenID Connect Core 1.0 §10.1)."""
    fitting = [
        key
        for key in keys
        if isinstance(key, KINDS[algorithm]) and key.get("alg", algorithm) == algorithm and kid in (None, key.kid)
    ]
    if not fitting:
        raise NoSuchKey
    if len(fitting) > 1:
        raise IdentityNotAccepted
    return fitting[0]


def _fits(claims: dict[str, Any], algorithm: str, client_id: str, nonce: str, access_token: str) -> bool:
    """What the library leaves to us: no other audience, a subject as long as one may be, and the kinds of the rest."""
    subject, audience, at_hash = claims["sub"], claims["aud"], claims.get("at_hash")
    return (
        0 < len(subject) <= MAX_SUBJECT
        and subject.isprintable()
        and audience in (client_id, [client_id])
        and claims.get("azp", client_id) == client_id
        and isinstance(claims["nonce"], str)
        and hmac.compare_digest(claims["nonce"].encode(), nonce.encode())
        and _is_time(claims.get("auth_time", 0))
        and isinstance(claims.get("amr", []), list)
        and (at_hash is None or at_hash == _half_hash(algorithm, access_token))
    )


def _is_time(value: object) -> bool:
    """A number of seconds since 1970 that a calendar knows."""
    return isinstance(value, int | float) and 0 <= value < YEAR_10000


def _half_hash(algorithm: str, text: str) -> str:
    """OpenID Connect Core 1.0 §3.1.3.6: by the hash of the signature."""
    digest = HASHES.get(algorithm[-3:], hashlib.sha512)(text.encode()).digest()  # Ed25519's
    return base64url.encode(digest[: len(digest) // 2])

"""ID tokens that are wrong in one thing each; by none of them is anybody signed in."""

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app import base64url
from tests.federation.provider import CLIENT_ID, CLIENT_SECRET, LIFETIME, MISSING, OpenIdProvider, SigningKey

Claims = dict[str, Any]
Forge = Callable[[OpenIdProvider, Claims], str]
Lie = Callable[[OpenIdProvider], object]

NOW = time.time()
SKEW = 30  # seconds that clocks may differ by


def told(op: OpenIdProvider, **fields: Any) -> None:
    """Claims by their names; of the header by `header_` and the name."""
    for name, value in fields.items():
        where = op.header if name.startswith("header_") else op.claims
        where[name.removeprefix("header_")] = value


def forged(forge: Forge) -> Lie:
    def arrange(op: OpenIdProvider) -> None:
        op.forge = forge

    return arrange


def saying(**fields: Any) -> Lie:
    return lambda op: told(op, **fields)


def token(header: Claims, payload: bytes, signature: bytes) -> str:
    return ".".join(base64url.encode(part) for part in (json.dumps(header).encode(), payload, signature))


def payload_of(claims: Claims) -> bytes:
    return json.dumps(claims).encode()


def by_hmac(secret: Callable[[OpenIdProvider], bytes], **header: Any) -> Lie:
    """Signed with what is no secret, or no secret of the provider's alone."""

    def forge(op: OpenIdProvider, claims: Claims) -> str:
        whole = {"alg": "HS256", "kid": op.keys[0].kid, **header}
        signed = token(whole, payload_of(claims), b"").rstrip(".")
        signature = hmac.digest(secret(op), signed.encode(), hashlib.sha256)
        return f"{signed}.{base64url.encode(signature)}"

    return forged(forge)


def public_pem(op: OpenIdProvider) -> bytes:
    return op.keys[0].private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def public_der(op: OpenIdProvider) -> bytes:
    return op.keys[0].private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def unsigned(alg: str, signature: bytes = b"") -> Lie:
    return forged(lambda op, claims: token({"alg": alg, "kid": op.keys[0].kid}, payload_of(claims), signature))


def with_payload(write: Callable[[Claims], bytes]) -> Lie:
    """Rightly signed, whatever it says."""
    return forged(lambda op, claims: op.keys[0].sign(op.jose_header(op.keys[0]), write(claims)))


def with_header(write: Callable[[OpenIdProvider], bytes]) -> Lie:
    return forged(lambda op, claims: op.keys[0].sign(write(op), payload_of(claims)))


def rewritten(write: Callable[[str], str]) -> Lie:
    """A good token, and then another text."""
    return forged(lambda op, claims: write(op.signed(claims)))


def by_another_key(**header: Any) -> Lie:
    def forge(op: OpenIdProvider, claims: Claims) -> str:
        mine = SigningKey(kid=op.keys[0].kid)
        return mine.sign(
            json.dumps({"alg": "ES256", "kid": mine.kid, "jwk": mine.jwk} | header).encode(), payload_of(claims)
        )

    return forged(forge)


def another_signature(signed: str) -> str:
    head, payload, signature = signed.split(".")
    return f"{head}.{payload}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"


def other_claims(signed: str) -> str:
    head, payload, signature = signed.split(".")
    claims = json.loads(base64url.decode(payload)) | {"sub": "somebody-else"}
    return f"{head}.{base64url.encode(payload_of(claims))}.{signature}"


def twice(name: str, other: Any) -> Callable[[Claims], bytes]:
    """The claim with another value before its own."""
    return lambda claims: b"{" + json.dumps({name: other}).encode()[1:-1] + b"," + payload_of(claims)[1:]


def two_keys_and_no_kid(op: OpenIdProvider) -> None:
    op.keys = [SigningKey(), SigningKey()]
    told(op, header_kid=MISSING)


def two_keys_of_one_kid(op: OpenIdProvider) -> None:
    op.keys = [SigningKey(kid="same"), SigningKey(kid="same")]


def weak_rsa(op: OpenIdProvider) -> None:
    op.keys = [SigningKey(rsa.generate_private_key(public_exponent=65537, key_size=1024), alg="RS256")]


def other_algorithm(op: OpenIdProvider) -> None:
    """A good signature by a key that is published for another algorithm."""
    op.keys = [SigningKey(rsa.generate_private_key(public_exponent=65537, key_size=2048), alg="PS256")]

    def forge(op: OpenIdProvider, claims: Claims) -> str:
        key = SigningKey(op.keys[0].private, op.keys[0].kid, "RS256")
        return op.signed(claims, key)

    op.forge = forge


def another_keys_algorithm(op: OpenIdProvider) -> None:
    told(op, header_alg="RS256")


SIGNATURES: dict[str, Lie] = {
    "none": unsigned("none"),
    "none, with a signature": unsigned("none", b"signature"),
    "None": unsigned("None"),
    "nOnE": unsigned("nOnE"),
    "no signature": unsigned("ES256"),
    "a signature of zeros": unsigned("ES256", bytes(64)),
    "an empty signature of EdDSA": unsigned("EdDSA"),
    "HS256 with the client secret": by_hmac(lambda _: CLIENT_SECRET.encode()),
    "HS256 with the public key in PEM": by_hmac(public_pem),
    "HS256 with the public key in DER": by_hmac(public_der),
    "HS256 without a kid": by_hmac(lambda _: CLIENT_SECRET.encode(), kid=None),
    "HS256 with nothing": by_hmac(lambda _: b""),
    "another key": by_another_key(jwk=None),
    "another key that is in the header": by_another_key(),
    "another key that is in the header, without a kid": by_another_key(kid=None),
    "another signature": rewritten(another_signature),
    "other claims": rewritten(other_claims),
    "no alg": saying(header_alg=MISSING),
    "alg is a list": saying(header_alg=["ES256"]),
    "alg is null": saying(header_alg=None),
    "alg of another kind of key": another_keys_algorithm,
    "alg of another key": other_algorithm,
    "a weak key": weak_rsa,
    "an unknown kid": saying(header_kid="unknown"),
    "a kid that is a number": saying(header_kid=7),
    "a kid that is a path": saying(header_kid="../../dev/null"),
    "no kid, and two keys": two_keys_and_no_kid,
    "two keys of one kid": two_keys_of_one_kid,
    "crit": saying(header_crit=["exp"], header_exp=NOW),
    "unencoded": saying(header_crit=["b64"], header_b64=False),
    "a type of something else": saying(header_typ="at+jwt"),
    "a logout token": saying(header_typ="logout+jwt"),
    "a header that is a list": with_header(lambda _: b'["ES256"]'),
    "a header that is a number": with_header(lambda _: b"1"),
    "a header that is no JSON": with_header(lambda _: b"ES256"),
    "a header that is deep": with_header(lambda _: b'{"alg":' + b"[" * 9000 + b"]" * 9000 + b"}"),
    "five parts": rewritten(lambda signed: f"{signed}.a.b"),
    "two parts": rewritten(lambda signed: signed.rpartition(".")[0]),
    "one part": lambda op: op.token_answer.update(id_token="x"),
    "nothing": lambda op: op.token_answer.update(id_token=""),
    "dots": lambda op: op.token_answer.update(id_token=".."),
    "no ASCII": lambda op: op.token_answer.update(id_token="ä.ö.ü"),
    "a lone surrogate": rewritten(lambda signed: f"{signed}é"),
    "padding": rewritten(lambda signed: f"{signed}=="),
    "a blank behind": rewritten(lambda signed: f"{signed} "),
    "a line in front": rewritten(lambda signed: f"\n{signed}"),
    "JSON in the place of it": rewritten(lambda signed: json.dumps({"payload": signed})),
}

CLAIMS: dict[str, Lie] = {
    "another iss": saying(iss="https://op.example"),
    "an iss with a slash": lambda op: told(op, iss=f"{op.issuer}/"),
    "an iss in other letters": lambda op: told(op, iss=op.issuer.upper()),
    "iss in a list": lambda op: told(op, iss=[op.issuer]),
    "no iss": saying(iss=MISSING),
    "another aud": saying(aud="another-client"),
    "aud of another besides": saying(aud=[CLIENT_ID, "another-client"], azp=CLIENT_ID),
    "aud of nobody": saying(aud=[]),
    "aud is null": saying(aud=None),
    "aud in an object": saying(aud={CLIENT_ID: True}),
    "aud that begins alike": saying(aud=f"{CLIENT_ID}2"),
    "no aud": saying(aud=MISSING),
    "another azp": saying(azp="another-client"),
    "azp in a list": saying(azp=[CLIENT_ID]),
    "another nonce": saying(nonce=secrets.token_urlsafe(24)),
    "an empty nonce": saying(nonce=""),
    "nonce is null": saying(nonce=None),
    "nonce in a list": lambda op: setattr(op, "forge", lambda op, c: op.signed(c | {"nonce": [c["nonce"]]})),
    "a nonce and more": lambda op: setattr(op, "forge", lambda op, c: op.signed(c | {"nonce": f"{c['nonce']}x"})),
    "no nonce": saying(nonce=MISSING),
    "expired": lambda op: told(op, iat=int(time.time()) - LIFETIME, exp=int(time.time()) - SKEW - 2),
    "exp is text": saying(exp=str(int(NOW) + 3600)),
    "exp is true": saying(exp=True),
    "exp is null": saying(exp=None),
    "exp is no number": with_payload(lambda claims: payload_of(claims | {"exp": float("nan")})),
    "no exp": saying(exp=MISSING),
    "iat in the future": lambda op: told(op, iat=int(time.time()) + SKEW + 60, exp=int(time.time()) + LIFETIME),
    "iat is text": saying(iat=str(int(NOW))),
    "iat is null": saying(iat=None),
    "no iat": saying(iat=MISSING),
    "nbf in the future": lambda op: told(op, nbf=int(time.time()) + SKEW + 60),
    "nbf is text": saying(nbf="now"),
    "no sub": saying(sub=MISSING),
    "an empty sub": saying(sub=""),
    "sub is null": saying(sub=None),
    "sub is a number": saying(sub=4711),
    "sub is true": saying(sub=True),
    "sub in a list": saying(sub=["ada"]),
    "sub in an object": saying(sub={"id": "ada"}),
    "a sub that is too long": saying(sub="a" * 256),
    "a sub with NUL": saying(sub="a\0b"),
    "a sub with lines": saying(sub="a\nb"),
    "a sub with a lone surrogate": with_payload(lambda claims: payload_of(claims | {"sub": "a\ud800"})),
    "auth_time is text": saying(auth_time="now"),
    "auth_time in a list": saying(auth_time=[1]),
    "amr is text": saying(amr="mfa"),
    "amr is a number": saying(amr=1),
    "at_hash of another token": saying(at_hash=base64url.encode(bytes(16))),
    "at_hash in a list": saying(at_hash=[1]),
    "sub twice": with_payload(twice("sub", "somebody-else")),
    "aud twice": with_payload(twice("aud", "another-client")),
    "email twice": with_payload(twice("email", "root@example.org")),
    "a name twice, further in": with_payload(lambda claims: payload_of(claims)[:-1] + b',"address":{"a":1,"a":2}}'),
    "claims that are a list": with_payload(lambda claims: json.dumps([claims]).encode()),
    "claims that are text": with_payload(lambda claims: json.dumps(json.dumps(claims)).encode()),
    "claims that are null": with_payload(lambda _: b"null"),
    "claims that are a number": with_payload(lambda _: b"1"),
    "claims that are nothing": with_payload(lambda _: b""),
    "claims that are no JSON": with_payload(lambda claims: payload_of(claims) + b"}"),
    "claims that are no UTF-8": with_payload(lambda claims: payload_of(claims)[:-1] + b',"name":"\xff\xfe"}'),
    "claims that are deep": with_payload(
        lambda claims: payload_of(claims)[:-1] + b',"a":' + b"[" * 9000 + b"]" * 9000 + b"}"
    ),
    "a number without an end": with_payload(lambda claims: payload_of(claims)[:-1] + b',"a":' + b"1" * 9000 + b"}"),
    "a token of 50 kB": saying(picture="x" * 40_000),
}

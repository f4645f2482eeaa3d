"""Access tokens: what is accepted is what one of our keys has signed, whole and in time; nothing else."""

import base64
import hmac
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from httpx import AsyncClient
from jwt import PyJWKClient

from app.keys.ring import public_jwk
from app.parts import Parts
from app.uuid7 import uuid7
from tests.kit import SignedIn, problem

Change = Callable[[dict[str, Any], dict[str, Any]], None]


def forge(parts: Parts, session: SignedIn, change: Change) -> str:
    """A token signed by the real key, with claims or headers that the service would not have written."""
    key = parts.ring.signing()
    claims = session.claims
    headers = {"typ": "at+jwt", "kid": key.kid}
    change(claims, headers)
    assert key.private is not None
    return jwt.encode(claims, key.private, algorithm="ES256", headers=headers)


async def accepted(client: AsyncClient, token: str) -> bool:
    answer = await client.get("/me", headers={"Authorization": f"Bearer {token}"})
    if answer.status_code == 200:
        return True
    problem(answer, 401, "invalid_token")
    return False


async def test_the_forgery_itself_is_good(client: AsyncClient, session: SignedIn, parts: Parts) -> None:
    assert await accepted(client, forge(parts, session, lambda claims, headers: None))


BAD: dict[str, Change] = {
    "another issuer": lambda c, h: c.update(iss="https://evil.example"),
    "another audience": lambda c, h: c.update(aud="somebody"),
    "a list of audiences": lambda c, h: c.update(aud=[c["aud"], "somebody"]),
    "no expiry": lambda c, h: c.pop("exp") and None,
    "an expiry in words": lambda c, h: c.update(exp=str(c["exp"])),
    "a fractional expiry": lambda c, h: c.update(exp=c["exp"] + 0.5),
    "expired": lambda c, h: c.update(exp=int(time.time()) - 1),
    "made in the future": lambda c, h: c.update(iat=c["iat"] + 60),
    "not valid before": lambda c, h: c.update(nbf=c["nbf"] + 60),
    "an endless life": lambda c, h: c.update(exp=c["iat"] + 90_000),
    "no subject": lambda c, h: c.pop("sub") and None,
    "a subject that is a number": lambda c, h: c.update(sub=int(c["sub"])),
    "a subject of zeros": lambda c, h: c.update(sub="0" + c["sub"]),
    "a subject with a newline": lambda c, h: c.update(sub=c["sub"] + "\n"),
    "a subject beyond 64 bits": lambda c, h: c.update(sub=str(2**63)),
    "no session": lambda c, h: c.pop("sid") and None,
    "a session that is none": lambda c, h: c.update(sid="x", jti="x.0"),
    "no id": lambda c, h: c.pop("jti") and None,
    "an id of another session": lambda c, h: c.update(jti=f"{uuid4()}.0"),
    "an id without generation": lambda c, h: c.update(jti=c["sid"]),
    "an odd generation": lambda c, h: c.update(jti=c["sid"] + ".-1"),
    "a padded generation": lambda c, h: c.update(jti=c["sid"] + ".00"),
    "another type": lambda c, h: h.update(typ="JWT"),
    "no type": lambda c, h: h.update(typ=None),
    "an unknown key": lambda c, h: h.update(kid="unknown"),
    "no key": lambda c, h: h.pop("kid") and None,
    "a key that is no name": lambda c, h: h.update(kid="../../etc/passwd"),
    "a critical extension": lambda c, h: h.update(crit=["exp"], b64=True),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_token_that_is_not_as_ours_are(client: AsyncClient, session: SignedIn, parts: Parts, name: str) -> None:
    assert not await accepted(client, forge(parts, session, BAD[name]))


async def test_a_token_whose_text_is_not_the_one(client: AsyncClient, session: SignedIn) -> None:
    head, payload, signature = session.access.split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spare_bits = signature[:-1] + alphabet[alphabet.index(signature[-1]) ^ 1]  # the same bytes, another text

    for token in (
        f"{head}.{payload}.{signature}=",
        f"{head}.{payload}.{spare_bits}",
        f"{head}.{payload}.",
        f"{head}.{payload}",
        f"{head}.{payload}.{signature}.{signature}",
        f"{head}.{payload}.{signature[:-4]}AAAA",
        f" {head}.{payload}. {signature}",
        "." * 10,
        "a" * 5000,
        "a.b.c",
        "\u00e4.b.c",
    ):
        answer = await client.get("/me", headers=[(b"Authorization", f"Bearer {token}".encode())])
        problem(answer, 401, "invalid_token")


async def test_the_algorithm_is_the_keys_own(client: AsyncClient, session: SignedIn, parts: Parts) -> None:
    key = parts.ring.signing()
    assert key.jwk is not None
    payload = session.access.split(".")[1]

    def head(algorithm: str) -> str:
        return encoded(json.dumps({"typ": "at+jwt", "kid": key.kid, "alg": algorithm}).encode())

    unsigned = f"{head('none')}.{payload}."
    unsigned_with_text = f"{head('none')}.{payload}.AAAA"
    by_the_public_key = f"{head('HS256')}.{payload}"
    mac = hmac.digest(json.dumps(key.jwk).encode(), by_the_public_key.encode(), "sha256")

    for token in (unsigned, unsigned_with_text, f"{by_the_public_key}.{encoded(mac)}"):
        assert not await accepted(client, token)


@pytest.mark.parametrize("kid", ["its own", "ours"])
async def test_no_key_comes_from_the_token(
    client: AsyncClient, session: SignedIn, parts: Parts, kid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = ec.generate_private_key(ec.SECP256R1())
    jwk = public_jwk("ES256", stranger.public_key())
    headers = {
        "typ": "at+jwt",
        "kid": parts.ring.signing().kid if kid == "ours" else jwk["kid"],
        "jwk": jwk,
        "jku": "https://evil.example/jwks.json",
        "x5u": "https://evil.example/chain.pem",
        "x5c": ["MIIB"],
    }
    claims = session.claims
    monkeypatch.setattr(PyJWKClient, "fetch_data", lambda _: pytest.fail("nothing is fetched"))

    assert not await accepted(client, jwt.encode(claims, stranger, algorithm="ES256", headers=headers))


@pytest.mark.parametrize("payload", [b"", b"[]", b"1", b"{", b'{"sub": "\xff"}', '{"sub": "1"}'.encode("utf-16")])
async def test_a_payload_that_is_no_object_in_utf_8_is_refused(
    client: AsyncClient, parts: Parts, session: SignedIn, payload: bytes
) -> None:
    assert not await accepted(client, parts.ring.signing().sign("at+jwt", payload))


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


async def test_an_edited_payload_is_not_signed(client: AsyncClient, session: SignedIn, admin: SignedIn) -> None:
    head, payload, signature = session.access.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["sub"] = str(admin.user_id)
    edited = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()

    assert not await accepted(client, f"{head}.{edited}.{signature}")


async def test_a_token_ends_with_its_time_also_where_it_is_remembered(
    client: AsyncClient, session: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await accepted(client, session.access)

    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 901)

    assert not await accepted(client, session.access)


async def test_a_session_id_is_a_uuid_of_version_7_and_tells_its_time() -> None:
    before = time.time_ns() // 1_000_000
    ids = [uuid7() for _ in range(1000)]
    after = time.time_ns() // 1_000_000

    assert {each.version for each in ids} == {7}
    assert {each.variant for each in ids} == {"specified in RFC 4122"}
    assert all(before <= each.int >> 80 <= after for each in ids)
    assert len(set(ids)) == 1000

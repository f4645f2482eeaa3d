"""An authenticator in software, which can do everything wrong as well."""

import hashlib
import json
import secrets
import struct
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from httpx import AsyncClient, Response

from app import base64url
from tests.kit import SignedIn, from_ip

ORIGIN, RP_ID = "https://auth.example.test", "auth.example.test"
PRESENT, VERIFIED, ATTESTED, EXTENSIONS = 0x01, 0x04, 0x40, 0x80  # flags (WebAuthn §6.1)
EXTENDED = PRESENT | VERIFIED | EXTENSIONS

# what is not quite right, by the words of `Key`
WRONG: list[dict[str, Any]] = [
    {"origin": "https://evil.example"},
    {"origin": "http://auth.example.test"},
    {"rp_id": "evil.example"},
    {"kind": "webauthn.get"},
    {"credential_type": "password"},
    {"cross_origin": True},
    {"flags": PRESENT},
    {"flags": VERIFIED},
    {"challenge": base64url.encode(b"x" * 64)},
    {"challenge": "%%%"},
]


def laughs(depth: int) -> bytes:
    """Some bytes of CBOR that a decoder of shared references (tags 28 and 29) doubles at every level."""
    item = b"\xd8\x1c\x82\x00\x00"  # without a mark of its own it would be refused by the decoder
    for level in range(depth):
        item = b"\xd8\x1c\x82" + item + b"\xd8\x1d" + cbor2.dumps(depth - level)
    return item


class Key:
    """A discoverable credential on an authenticator of its own."""

    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.id = secrets.token_bytes(32)
        self.count = 0
        self.handle = b""

    def made(self, options: dict[str, Any], *, flags: int = PRESENT | VERIFIED, **wrong: Any) -> dict[str, Any]:
        """What `navigator.credentials.create()` gives for these options, but for what is to be wrong."""
        self.handle = base64url.decode(options["user"]["id"])
        numbers = self.private.public_key().public_numbers()
        point = {-2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        cose = wrong.get("cose") or cbor2.dumps({1: 2, 3: -7, -1: 1, **point})
        attested = bytes(16) + struct.pack(">H", len(self.id)) + self.id + cose + wrong.get("extensions", b"")
        data = self._data(flags | ATTESTED, wrong) + attested
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        return self._answer(
            {
                "clientDataJSON": _client_data("webauthn.create", options["challenge"], wrong),
                "attestationObject": base64url.encode(attestation),
                "transports": ["internal"],
            },
            wrong,
        )

    def shown(self, options: dict[str, Any], *, flags: int = PRESENT | VERIFIED, **wrong: Any) -> dict[str, Any]:
        """What `navigator.credentials.get()` gives."""
        self.count = wrong.get("count", self.count + 1)
        data = self._data(flags, wrong) + wrong.get("extensions", b"")
        client = _client_data("webauthn.get", options["challenge"], wrong)
        key = wrong.get("key", self.private)
        signed = key.sign(data + hashlib.sha256(base64url.decode(client)).digest(), ec.ECDSA(hashes.SHA256()))
        return self._answer(
            {
                "clientDataJSON": client,
                "authenticatorData": base64url.encode(data),
                "signature": base64url.encode(signed),
                "userHandle": base64url.encode(wrong.get("handle", self.handle)),
            },
            wrong,
        )

    def _data(self, flags: int, wrong: dict[str, Any]) -> bytes:
        return hashlib.sha256(wrong.get("rp_id", RP_ID).encode()).digest() + struct.pack(
            ">BI", flags, self.count
        )  # §6.1

    def _answer(self, response: dict[str, Any], wrong: dict[str, Any]) -> dict[str, Any]:
        name = base64url.encode(self.id)
        return {
            "id": name,
            "rawId": name,
            "type": wrong.get("credential_type", "public-key"),
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": response,
        }


def _client_data(kind: str, challenge: str, wrong: dict[str, Any]) -> str:
    data = {
        "type": wrong.get("kind", kind),
        "challenge": wrong.get("challenge", challenge),
        "origin": wrong.get("origin", ORIGIN),
        "crossOrigin": wrong.get("cross_origin", False),
    }
    return base64url.encode(json.dumps(data).encode())


async def registration_options(session: SignedIn) -> dict[str, Any]:
    answer = await session.ask("POST", "/me/passkeys/options")
    assert answer.status_code == 200, answer.text
    options: dict[str, Any] = answer.json()
    return options


async def added(session: SignedIn, **fields: Any) -> Key:
    """A passkey of the session's user."""
    key = Key()
    answer = await session.ask("POST", "/me/passkeys", json=key.made(await registration_options(session)) | fields)
    assert answer.status_code == 201, answer.text
    return key


async def login_options(client: AsyncClient, username: str | None = None) -> dict[str, Any]:
    answer = await client.post("/login/passkey/options", json={"username": username} if username else {})
    assert answer.status_code == 200, answer.text
    options: dict[str, Any] = answer.json()
    return options


async def sign_in(client: AsyncClient, assertion: dict[str, Any]) -> Response:
    return await client.post("/login/passkey", json=assertion, headers=from_ip())

"""What an authenticator has written is read by us as the library reads it, or not at all."""

import struct
from collections.abc import Callable

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from app.factors import relying_party
from app.factors.cbor import NotPlain
from app.factors.relying_party import NotAccepted
from tests.identity.webauthnkit import ATTESTED, EXTENSIONS, PRESENT, VERIFIED, laughs

KEY = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: bytes(32), -3: bytes(32)})
BOMB = laughs(8)


def data(flags: int, rest: bytes) -> bytes:
    return bytes(32) + struct.pack(">BI", PRESENT | VERIFIED | flags, 1) + rest


def attestation(flags: int, rest: bytes) -> bytes:
    return cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data(flags, rest)})


def credential(key: bytes, extensions: bytes = b"") -> bytes:
    return bytes(16) + struct.pack(">H", 4) + b"abcd" + key + extensions


def hidden_in(text: bytes) -> bytes:
    """A byte string for who looks for extensions; a model, an empty id and a key for who looks for a credential."""
    return b"\x59" + struct.pack(">H", 15 + len(text)) + bytes(15) + text


def longer_than_it_is_written_anew(key: dict[int, object]) -> bytes:
    """A key whose numbers take nine bytes each where one would do."""
    written = bytes([0xA0 + len(key)])
    for name, value in key.items():
        small = isinstance(value, int) and value >= 0
        written += cbor2.dumps(name) + (b"\x1b" + int(str(value)).to_bytes(8, "big") if small else cbor2.dumps(value))
    return written


def test_what_is_right_is_read() -> None:
    protected = cbor2.dumps({"credProtect": 2})
    relying_party._check_attestation(attestation(ATTESTED, credential(KEY)))
    relying_party._check_attestation(attestation(ATTESTED | EXTENSIONS, credential(KEY, protected)))
    relying_party._check_asserted(data(0, b""))
    relying_party._check_asserted(data(EXTENSIONS, protected))


@pytest.mark.parametrize(
    "written",
    [
        data(ATTESTED, credential(KEY)),
        data(ATTESTED | EXTENSIONS, hidden_in(BOMB)),
        data(EXTENSIONS, BOMB),
        data(EXTENSIONS, b""),
        data(0, b"\xa0"),
        data(EXTENSIONS, cbor2.dumps({"large": bytes(9000)})),
        data(EXTENSIONS, b"\xa1\x61x\x18\x02"),
        data(EXTENSIONS, b"\xa1\x82\x00\x00\x00"),
        data(EXTENSIONS, cbor2.dumps(dict.fromkeys(range(65), 0))),
    ],
    ids=[
        "a credential",
        "a credential in an extension",
        "a bomb",
        "no extension",
        "an extension that is not announced",
        "too much",
        "a number longer than need be",
        "a list for a name",
        "too many names",
    ],
)
def test_an_assertion_holds_nothing_else(written: bytes) -> None:
    with pytest.raises((NotPlain, NotAccepted)):
        relying_party._check_asserted(written)


@pytest.mark.parametrize(
    "written",
    [
        attestation(0, credential(KEY)),
        attestation(EXTENSIONS, hidden_in(BOMB)),
        attestation(ATTESTED, credential(KEY) + b"\x00"),
        attestation(ATTESTED, credential(laughs(8))),
        attestation(ATTESTED | EXTENSIONS, credential(KEY, BOMB)),
        attestation(ATTESTED, credential(longer_than_it_is_written_anew({1: 2, 3: -7, -1: 1, -2: BOMB}))),
    ],
    ids=[
        "no credential",
        "no credential but a bomb",
        "more than a key",
        "a key that explodes",
        "an extension that explodes",
        "a key that is written anew otherwise",
    ],
)
def test_a_registration_holds_a_credential_and_nothing_else(written: bytes) -> None:
    with pytest.raises((NotPlain, NotAccepted)):
        relying_party._check_attestation(written)


@pytest.mark.parametrize(
    ("make", "good"),
    [
        (lambda: rsa.generate_private_key(65537, 2048), True),
        (lambda: rsa.generate_private_key(65537, 1024), False),
        (lambda: rsa.generate_private_key(3, 2048), False),
    ],
    ids=["2048 bits", "1024 bits", "exponent 3"],
)
def test_an_rsa_key_is_long_enough_and_like_others(make: Callable[[], rsa.RSAPrivateKey], *, good: bool) -> None:
    key = make().public_key()

    if good:
        relying_party._check_key(key)
    else:
        with pytest.raises(NotAccepted):
            relying_party._check_key(key)

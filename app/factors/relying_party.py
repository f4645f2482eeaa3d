"""What WebAuthn calls the relying party: this service, to authenticators (Web Authentication Level 3, W3C)."""

import hashlib
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import cbor2
import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec import Struct
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import decode_credential_public_key, decoded_public_key_to_cryptography
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from app import base64url
from app.factors import cbor
from app.keys.opaque import OpaqueTokens
from app.setting_values import origin_of
from app.settings import Settings
from app.uuid7 import uuid7

CHALLENGE_SECONDS = 300  # from the options to the answer: to find the telephone
TIMEOUT_MS = CHALLENGE_SECONDS * 1000  # the same for the browser
BOUND = 8  # bytes that say whom a challenge is for
ANYBODY = bytes(BOUND)
MAX_CREDENTIAL_ID = 1023  # bytes (WebAuthn §7.1 step 25)
FLAGS_AT, BARE_DATA = 32, 37  # bytes of authenticator data: where its flags are, and all of it without what may follow
AAGUID, LENGTH = 16, 2  # bytes of an attested credential's data before its id: the model, and how long the id is
ATTESTED, EXTENSIONS = 0x40, 0x80  # of the flags (WebAuthn §6.1)
MAX_AUTHENTICATOR_DATA = 8192  # bytes: an RSA key of 8192 bits, an id of 1023, and some extensions
RSA_EXPONENT = 65537  # what everybody uses; a small one invites forgeries, a large one takes long
RSA_BITS = range(2048, 8193)  # NIST SP 800-131A, and what still takes a millisecond
TRANSPORTS = ("usb", "nfc", "ble", "smart-card", "hybrid", "internal")  # WebAuthn §5.8.4


class NotAccepted(Exception):
    """What an authenticator has signed is not what it was asked for."""


class Challenge(Struct, frozen=True):
    """One of ours, as an answer brings it back."""

    id: UUID
    bound: bytes
    made_at: float  # seconds since 1970
    expires_at: float
    sent: bytes  # as it was sent


class Registered(Struct, frozen=True):
    """A new credential."""

    challenge: Challenge
    credential_id: bytes
    public_key: bytes
    sign_count: int
    backed_up: bool


class Asserted(Struct, frozen=True):
    """What a credential has signed."""

    challenge: Challenge
    sign_count: int
    backed_up: bool


class ClientData(Struct):
    """As much of the browser's part as the library does not look at."""

    challenge: str
    cross_origin: bool = msgspec.field(default=False, name="crossOrigin")


class RelyingParty:
    """Asks authenticators, and checks what they answer.

    Challenges are opaque tokens: nothing is kept of one until it was answered, so asking for options costs nothing.
    """

    def __init__(self, settings: Settings) -> None:
        self._id = urlsplit(settings.public_url).hostname or "localhost"
        self._origins = [origin_of(settings.public_url), *settings.cors_origins]
        secrets = (settings.secret_key, settings.secret_key_previous)
        self._registering = OpaqueTokens("ghc1_", "passkey registrations", 16 + BOUND, *secrets)
        self._asserting = OpaqueTokens("ghc1_", "passkey assertions", 16 + BOUND, *secrets)

    def registration(self, user_id: int, username: str, full_name: str | None, known: list[bytes]) -> dict[str, Any]:
        """Options of `navigator.credentials.create()`: a discoverable credential that verifies its user."""
        options = generate_registration_options(
            rp_id=self._id,
            rp_name=self._id,
            user_id=_handle(user_id),
            user_name=username,
            user_display_name=full_name or username,
            challenge=_challenge(self._registering, _handle(user_id)),
            timeout=TIMEOUT_MS,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
            ),
            exclude_credentials=[PublicKeyCredentialDescriptor(id=each) for each in known],
        )
        return _as_json(options_to_json(options))

    def assertion(self, name: str | None) -> dict[str, Any]:
        """Options of `navigator.credentials.get()`, the same for every name: the authenticator knows what it has."""
        options = generate_authentication_options(
            rp_id=self._id,
            challenge=_challenge(self._asserting, bound_to(name)),
            timeout=TIMEOUT_MS,
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return _as_json(options_to_json(options))

    def registered(self, user_id: int, answer: dict[str, Any]) -> Registered:
        """The credential that a user has made.

        Raises:
            NotAccepted: it was made for somebody else, another site or purpose, or without verifying its user.
        """
        challenge = self._read(self._registering, answer)
        if challenge.bound != _handle(user_id):
            raise NotAccepted
        try:
            _check_attestation(base64url.decode(answer["response"]["attestationObject"]))
            verified = verify_registration_response(
                credential=answer,
                expected_challenge=challenge.sent,
                expected_rp_id=self._id,
                expected_origin=self._origins,
                require_user_verification=True,
            )
            _check_key(decoded_public_key_to_cryptography(decode_credential_public_key(verified.credential_public_key)))
        except Exception as error:  # the library lets out whatever its parsers raise
            raise NotAccepted from error
        if not 0 < len(verified.credential_id) <= MAX_CREDENTIAL_ID:
            raise NotAccepted
        if base64url.decode(answer["rawId"]) != verified.credential_id:
            raise NotAccepted
        return Registered(
            challenge,
            verified.credential_id,
            verified.credential_public_key,
            verified.sign_count,
            verified.credential_backed_up,
        )

    def asserted(self, user_id: int, public_key: bytes, answer: dict[str, Any]) -> Asserted:
        """What this user's credential has signed. Whether its counter has gone on is the database's to say.

        Raises:
            NotAccepted: as above, or it has another key.
        """
        challenge = self._read(self._asserting, answer)
        if answer["response"].get("userHandle") not in (None, "", base64url.encode(_handle(user_id))):
            raise NotAccepted
        try:
            _check_asserted(base64url.decode(answer["response"]["authenticatorData"]))
            verified = verify_authentication_response(
                credential=answer,
                expected_challenge=challenge.sent,
                expected_rp_id=self._id,
                expected_origin=self._origins,
                credential_public_key=public_key,
                credential_current_sign_count=0,
                require_user_verification=True,
            )
        except Exception as error:  # the library lets out whatever its parsers raise
            raise NotAccepted from error
        return Asserted(challenge, verified.new_sign_count, verified.credential_backed_up)

    def _read(self, tokens: OpaqueTokens, answer: dict[str, Any]) -> Challenge:
        try:
            data = msgspec.json.decode(base64url.decode(answer["response"]["clientDataJSON"]), type=ClientData)
            sent = base64url.decode(data.challenge)
            said = tokens.read(sent.decode("ascii"))
        except (ValueError, RecursionError, msgspec.MsgspecError):
            raise NotAccepted from None
        if said is None or data.cross_origin:
            raise NotAccepted
        made_at = int.from_bytes(said[:6], "big") / 1000  # of a UUIDv7
        return Challenge(UUID(bytes=said[:16]), said[16:], made_at, made_at + CHALLENGE_SECONDS, sent)


def _check_attestation(attestation: bytes) -> None:
    """Raises NotPlain, or whatever it is, unless the library reads the same as we do, and nothing that explodes.

    It decodes the key and writes it anew to know where its extensions begin, so the key has to be as it would write it.
    """
    cbor.check(attestation)
    data = cbor2.loads(attestation)["authData"]
    _check_size(data, data[FLAGS_AT] & ATTESTED == ATTESTED)
    length = int.from_bytes(data[BARE_DATA + AAGUID : BARE_DATA + AAGUID + LENGTH], "big")
    key = BARE_DATA + AAGUID + LENGTH + length
    extensions = cbor.end_of(data, key)
    if cbor2.dumps(cbor2.loads(data[key:extensions])) != data[key:extensions]:
        raise cbor.NotPlain
    _check_extensions(data, extensions)


def _check_asserted(data: bytes) -> None:
    _check_size(data, data[FLAGS_AT] & ATTESTED == 0)
    _check_extensions(data, BARE_DATA)


def _check_size(data: bytes, is_as_asked: bool) -> None:  # noqa: FBT001 - said where it is called
    """Authenticator data of a registration holds an attested credential, that of a login none (WebAuthn §6.1)."""
    if not is_as_asked or len(data) > MAX_AUTHENTICATOR_DATA:
        raise NotAccepted


def _check_extensions(data: bytes, start: int) -> None:
    """Browsers ask security keys for some by themselves, as Chromium does for `credProtect`; none of ours."""
    end = cbor.end_of(data, start) if data[FLAGS_AT] & EXTENSIONS else start
    if end != len(data):
        raise cbor.NotPlain
    if end > start and cbor2.dumps(cbor2.loads(data[start:end])) != data[start:end]:
        raise cbor.NotPlain


def _check_key(key: object) -> None:
    if isinstance(key, rsa.RSAPublicKey) and (key.key_size not in RSA_BITS or key.public_numbers().e != RSA_EXPONENT):
        raise NotAccepted


def bound_to(name: str | None) -> bytes:
    """What says that a challenge is for whoever has this name, without saying whether anybody has."""
    return ANYBODY if name is None else hashlib.sha256(f"passkey of {name.casefold()}".encode()).digest()[:BOUND]


def _handle(user_id: int) -> bytes:
    return user_id.to_bytes(BOUND, "big")


def _challenge(tokens: OpaqueTokens, bound: bytes) -> bytes:
    return tokens.issue(uuid7().bytes + bound).encode()


def _as_json(text: str) -> dict[str, Any]:
    made: dict[str, Any] = msgspec.json.decode(text)
    return made

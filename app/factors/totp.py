"""One-time codes by an authenticator's clock (TOTP, RFC 6238)."""

import hmac
import io
import re
from urllib.parse import urlsplit

import pyotp
import segno
from msgspec import Struct

from app.keys.secrets import Box, NotOurs
from app.settings import Settings

STEP_SECONDS = 30  # RFC 6238 §5.2
DRIFT = 1  # steps that an authenticator's clock may be off, either way (ibid.)
SECRET_CHARACTERS = 32  # of base32: 160 bits (RFC 4226 §4)
SECRET = re.compile(f"[A-Z2-7]{{{SECRET_CHARACTERS}}}")
MODULE_PIXELS = 4  # of the QR code: some 200 pixels in all
MASK = 3  # of the QR code (ISO/IEC 18004 §7.8): a secret is random enough; to try all eight holds up the loop for 10 ms


class Enrolment(Struct, frozen=True):
    """A new secret, as its user sees it once, and as it is kept."""

    secret: str  # base32
    otpauth_uri: str
    qr_svg: str
    sealed: bytes

    def __repr__(self) -> str:
        return "Enrolment(...)"


class Totp:
    """Makes secrets, and knows their codes."""

    def __init__(self, settings: Settings) -> None:
        self._box = Box("TOTP secrets", settings.secret_key, settings.secret_key_previous)
        self._issuer = urlsplit(settings.public_url).hostname or "Gatehouse"

    def enrol(self, user_id: int, username: str) -> Enrolment:
        return self.enrolment(user_id, username, pyotp.random_base32(SECRET_CHARACTERS))

    def enrolment(self, user_id: int, username: str, secret: str) -> Enrolment:
        """What there is to see of this secret."""
        uri = pyotp.TOTP(secret).provisioning_uri(name=username, issuer_name=self._issuer)
        picture = io.BytesIO()
        segno.make_qr(uri, error="m", mask=MASK).save(
            picture, kind="svg", scale=MODULE_PIXELS, xmldecl=False, light="#fff"
        )
        return Enrolment(secret, uri, picture.getvalue().decode(), self._box.seal(secret.encode(), _about(user_id)))

    def step(self, user_id: int, sealed: bytes, code: str, now: float) -> int | None:
        """The time step whose code this is, of those near `now` (seconds since 1970); None for any other code.

        A secret that was sealed under a SECRET_KEY that is no more has no code.
        """
        try:
            codes = pyotp.TOTP(self._box.open(sealed, _about(user_id)).decode())
        except NotOurs:
            return None
        present = int(now) // STEP_SECONDS
        given = code.replace(" ", "").encode()
        found = None
        for step in range(present - DRIFT, present + DRIFT + 1):
            if hmac.compare_digest(codes.at(step * STEP_SECONDS).encode(), given):
                found = step
        return found

    @property
    def key_id(self) -> bytes:
        """What a secret sealed now begins with."""
        return self._box.key_id

    def resealed(self, user_id: int, sealed: bytes) -> bytes | None:
        """The same secret under the present SECRET_KEY; None if it cannot be opened."""
        try:
            return self._box.seal(self._box.open(sealed, _about(user_id)), _about(user_id))
        except NotOurs:
            return None


def _about(user_id: int) -> str:
    return f"user {user_id}"

"""Passwords: argon2id for those that are set here, and whatever else has made a hash that was brought along."""

import base64
import secrets
import unicodedata

import structlog
from argon2 import PasswordHasher
from argon2.exceptions import HashingError

from app.errors import Overloaded, ValidationFailed
from app.identity import stored_hashes
from app.identity.password_strength import PasswordStrength
from app.identity.stored_hashes import HashRefused
from app.identity.threads import LEAST, Threads, cores
from app.setting_values import MOST_CODE_POINTS
from app.settings import Settings

log = structlog.get_logger(__name__)

ASSUMED_SECONDS = 0.025  # what a hash takes until this process knows: argon2-cffi's wheel on a slow core

ASIDE_SECONDS = 2.5  # that a password of GPUStack's users waits: a hundred at once, after the two seconds of its tries

OURS = "$argon2id$"  # what a hash of ours begins with; somebody else's may as well
SALT_BYTES, DIGEST_BYTES = 16, 32  # RFC 9106 §3.1; 256 bits of digest


class Passwords:
    """Hashes and verifies passwords, in `threads`, and judges new ones.

    `aside` are threads that give way to those: for passwords that somebody else keeps.
    """

    def __init__(self, settings: Settings, *, workers: int = 1) -> None:
        count = max(1, int(cores() / (workers * settings.argon2_parallelism)))
        self.threads = Threads("password", count, ASSUMED_SECONDS)
        self.aside = Threads("aside", max(1, count // 2), ASSUMED_SECONDS, deadline=ASIDE_SECONDS, niceness=LEAST)
        self._strength = PasswordStrength(settings.password_min_length)
        self._hasher = PasswordHasher(
            time_cost=settings.argon2_time_cost,
            memory_cost=settings.argon2_memory_kib,
            parallelism=settings.argon2_parallelism,
            salt_len=SALT_BYTES,
            hash_len=DIGEST_BYTES,
        )
        self._dummy = _unmatchable(self._hasher)
        self.check_strength = self._strength.check

    async def stop(self) -> None:
        await self.threads.stop()
        await self.aside.stop()
        await self._strength.stop()

    async def hash(self, password: str, *, aside: bool = False) -> str:
        """The password's hash in PHC format.

        Raises:
            Overloaded: there is more to do than can be done soon.
            ValidationFailed: this is no text that can be encoded, or is longer than any password may be.
        """
        return await (self.aside if aside else self.threads).run(lambda: self._hash(password))

    async def verify(self, password_hash: str | None, password: str, *, aside: bool = False) -> bool:
        """Whether this is the password; without a hash (nobody, or nobody with a password) it takes as long to say no.

        Raises:
            Overloaded: there is more to do than can be done soon.
        """
        return await (self.aside if aside else self.threads).run(lambda: self._verify(password_hash, password))

    def needs_rehash(self, password_hash: str) -> bool:
        """Whether it was made with other parameters than today's, or by something else."""
        try:
            return self._hasher.check_needs_rehash(password_hash)
        except ValueError:
            return True

    def importable(self, password_hash: str) -> None:
        """Refuse a hash that others have made unless it can be verified here, at a cost that anybody would ask.

        Raises:
            ValidationFailed: and why, without a word of the hash.
        """
        try:
            stored_hashes.read(password_hash, self._hasher)
        except HashRefused as refused:
            raise ValidationFailed(("password_hash", str(refused))) from None

    # ---- in a thread ----------------------------------------------------------------------------------------------

    def _hash(self, password: str) -> str:
        try:
            return self._hasher.hash(_secret(password))
        except HashingError as error:
            raise Overloaded from error
        except ValueError:
            raise ValidationFailed(("password", "is no text that can be a password")) from None

    def _verify(self, stored: str | None, password: str) -> bool:
        try:
            secret = _secret(password)
        except ValueError:  # nobody has such a password
            secret, stored, password = b"", None, ""
        if stored is not None and not stored.startswith(OURS):
            secret = password.encode()  # others hash what a keyboard sends as it comes
        matches = None if stored is None else self._matches(stored, secret)
        if matches is None:
            self._matches(self._dummy, secret)
            return False
        return matches

    def _matches(self, stored: str, secret: bytes) -> bool | None:
        """None, and a line in the log, if the hash cannot be read or costs more than anybody would ask."""
        try:
            return stored_hashes.read(stored, self._hasher)(secret)
        except HashRefused as refused:
            log.warning("password.hash_refused", reason=str(refused))
        return None


def _secret(password: str) -> bytes:
    """The bytes that are hashed: NFC, so that a password is the same on every keyboard (RFC 8265 §4.2.2).

    Raises:
        ValueError: too long by far, with a surrogate that stands alone, or with a NUL (HMAC and bcrypt would read some
            of these as another password).
    """
    if len(password) > MOST_CODE_POINTS or "\0" in password:
        raise ValueError
    return unicodedata.normalize("NFC", password).encode()


def _unmatchable(hasher: PasswordHasher) -> str:
    """A hash of nothing: to verify against it costs what any other costs, and it never matches."""
    salt, digest = (_phc_base64(secrets.token_bytes(n)) for n in (SALT_BYTES, DIGEST_BYTES))
    return f"$argon2id$v=19$m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}${salt}${digest}"


def _phc_base64(raw: bytes) -> str:
    return base64.b64encode(raw).rstrip(b"=").decode()

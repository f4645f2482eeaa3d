"""Keys derived from SECRET_KEY, one a purpose (HKDF, RFC 5869), and boxes sealed with them (AES-256-GCM)."""

import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE_BYTES = 12  # NIST SP 800-38D §8.2


class NotOurs(Exception):
    """Sealed under a SECRET_KEY that is neither the present nor the previous one, or tampered with."""


def derive(secret: str, purpose: str) -> bytes:
    """A 256-bit key for one purpose; another purpose's key says nothing about it."""
    return HKDF(hashes.SHA256(), 32, salt=None, info=f"gatehouse {purpose}".encode()).derive(secret.encode())


def key_id(key: bytes) -> bytes:
    """Four bytes that name a derived key without telling anything about it."""
    return hashlib.sha256(b"gatehouse key id" + key).digest()[:4]


class Box:
    """Seals what the database may see only sealed; opens what the present or the previous SECRET_KEY sealed."""

    def __init__(self, purpose: str, secret: str, previous: str = "") -> None:
        self._keys: dict[bytes, AESGCM] = {}
        for each in filter(None, (secret, previous)):
            key = derive(each, purpose)
            self._keys.setdefault(key_id(key), AESGCM(key))
        self._current = key_id(derive(secret, purpose))

    def seal(self, plain: bytes, about: str) -> bytes:
        """`about` names what is sealed, so that it cannot be put in the place of something else."""
        nonce = os.urandom(NONCE_BYTES)
        return self._current + nonce + self._keys[self._current].encrypt(nonce, plain, about.encode())

    def open(self, sealed: bytes, about: str) -> bytes:
        """What was sealed.

        Raises:
            NotOurs: no key at hand opens it.
        """
        key = self._keys.get(sealed[:4])
        if key is None:
            raise NotOurs
        try:
            return key.decrypt(sealed[4 : 4 + NONCE_BYTES], sealed[4 + NONCE_BYTES :], about.encode())
        except (InvalidTag, ValueError):  # a nonce that was cut off is a ValueError
            raise NotOurs from None

    @property
    def key_id(self) -> bytes:
        """What a box sealed now begins with."""
        return self._current

    def is_current(self, sealed: bytes) -> bool:
        return sealed[:4] == self._current

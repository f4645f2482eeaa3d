"""Tokens that say something to us alone: nothing of them is stored, not even hashed, and each of ours is recognised."""

import hashlib
import hmac

from app import base64url
from app.keys.secrets import derive, key_id

KEY_ID = 4  # bytes
MAC = 32  # bytes: HMAC-SHA-256


class OpaqueTokens:
    """A prefix and base64url of key id, what the token says, and an HMAC over all of it.

    Args:
        prefix: what they begin with.
        purpose: of the key that is derived from SECRET_KEY; a token made for another one is none of these.
        size: bytes that each says.
        secret: SECRET_KEY.
        previous: the one before, whose tokens are still read.
    """

    def __init__(self, prefix: str, purpose: str, size: int, secret: str, previous: str = "") -> None:
        derived = [derive(each, purpose) for each in (secret, previous) if each]
        # HMACs that hold their key: to copy one costs a third of setting one up
        self._keys = {key_id(key): hmac.new(key, prefix.encode(), hashlib.sha256) for key in reversed(derived)}
        self._current = key_id(derived[0])
        self._prefix = prefix
        self._body = KEY_ID + size
        self._length = -(-4 * (self._body + MAC) // 3)

    def issue(self, said: bytes) -> str:
        body = self._current + said
        return self._prefix + base64url.encode(body + self._mac(self._current, body))

    def read(self, token: str) -> bytes | None:
        """What one of our tokens says; None if it is not one of ours."""
        text = token.removeprefix(self._prefix)
        if text == token or len(text) != self._length:
            return None
        try:
            raw = base64url.decode(text)
        except ValueError:
            return None
        body, mac = raw[: self._body], raw[self._body :]
        known = body[:KEY_ID] in self._keys
        expected = self._mac(body[:KEY_ID] if known else self._current, body)
        return body[KEY_ID:] if hmac.compare_digest(mac, expected) and known else None

    def _mac(self, name: bytes, body: bytes) -> bytes:
        mac = self._keys[name].copy()
        mac.update(body)
        return mac.digest()

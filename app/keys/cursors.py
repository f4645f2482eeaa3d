"""Where a page of a list ended, signed."""

import hashlib
import hmac
from types import GenericAlias
from typing import Any

import msgspec

from app import base64url
from app.errors import ValidationFailed
from app.keys.secrets import derive

MAC_BYTES = 16  # of HMAC-SHA256: half of it is what RFC 2104 §5 asks


class Cursors:
    """Where a page ended, for its reader to bring back: opaque, and good only for the list that it was made of."""

    def __init__(self, secret: str, previous: str = "") -> None:
        self._keys = [derive(each, "cursors") for each in (secret, previous) if each]

    def seal(self, about: bytes, place: tuple[object, ...]) -> str:
        """`about` says which list: its name, its order, its filters, or whose it is."""
        payload = msgspec.json.encode(place)
        return base64url.encode(_mac(self._keys[0], about, payload) + payload)

    def open(self, about: bytes, cursor: str, kind: GenericAlias) -> tuple[Any, ...]:
        """The place that was sealed, which is a tuple of this kind.

        Raises:
            ValidationFailed: it was made by nobody, or of another list.
        """
        try:
            sealed = base64url.decode(cursor)
            mac, payload = sealed[:MAC_BYTES], sealed[MAC_BYTES:]
            if any(hmac.compare_digest(mac, _mac(key, about, payload)) for key in self._keys):
                place: tuple[Any, ...] = msgspec.json.decode(payload, type=kind)
                return place
        except (ValueError, msgspec.MsgspecError):
            pass
        raise ValidationFailed(("cursor", "is not a cursor of this list"))


def _mac(key: bytes, about: bytes, payload: bytes) -> bytes:
    about_length = len(about).to_bytes(4, "big")  # so that no two pairs run together into the same bytes
    return hmac.digest(key, about_length + about + payload, hashlib.sha256)[:MAC_BYTES]

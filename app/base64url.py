"""base64url without padding (RFC 7515 §2), one text for one value."""

import base64
import binascii


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """The bytes of a text as `encode` writes it.

    Raises:
        ValueError: any other text, also one that others would read as the same bytes.
    """
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if encode(raw) != text:
        raise binascii.Error
    return raw

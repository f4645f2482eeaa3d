"""Which keys there may be, and what the known ones may hold."""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from app.errors import ValidationFailed

MAX_KEYS = 100  # a user
MAX_VALUE_BYTES = 16 * 1024  # of a value as JSON
MAX_TOTAL_BYTES = 256 * 1024  # of all values of a user together

KEY_PATTERN = "^[a-z][a-z0-9_.-]{0,254}$"
KEY = re.compile(r"[a-z][a-z0-9_.-]{0,254}")
# BCP 47 (RFC 5646): a language, then script, region, variants and extensions; private use alone is x-…
LANGUAGE = re.compile(r"(?:[A-Za-z]{2,3}(?:-[A-Za-z]{3}){0,3}|[A-Za-z]{4,8}|[xX])(?:-[A-Za-z0-9]{1,8})*")


class ConversationHistory(Struct, frozen=True, forbid_unknown_fields=True):
    enabled: bool
    retention_days: Annotated[int, Meta(ge=1, le=3650)]


KNOWN: dict[str, Any] = {
    "theme": Literal["light", "dark", "system"],
    "language": Annotated[str, Meta(min_length=1, max_length=64)],
    "default_model": Annotated[str, Meta(max_length=255)],
    "conversation_history": ConversationHistory,
}
# the whole object, for the API document: beside these keys there may be any other
Known = msgspec.defstruct(
    "Preferences", [(key, kind | UnsetType | None, UNSET) for key, kind in KNOWN.items()], frozen=True
)
EXPECTED = {
    "theme": "has to be light, dark or system",
    "language": "has to be a language tag of BCP 47, such as en or de-CH",
    "default_model": "has to be a string of at most 255 characters",
    "conversation_history": 'has to be {"enabled": true or false, "retention_days": 1 to 3650}',
}


def check_key(key: str) -> str:
    """Raises ValidationFailed for what may not be a key; the key itself is not repeated."""
    if KEY.fullmatch(key) is None:
        raise ValidationFailed(("key", "a small letter, then up to 254 of a-z 0-9 _ . -"))
    return key


def check(key: str, value: object) -> str:
    """The value as JSON.

    Raises:
        ValidationFailed: the key or the value is out of its bounds. `null` fits every key.
    """
    check_key(key)
    if key in KNOWN and value is not None:
        try:
            msgspec.convert(value, KNOWN[key], strict=True)
        except msgspec.ValidationError:
            raise ValidationFailed((key, EXPECTED[key])) from None
        if key == "language" and LANGUAGE.fullmatch(str(value)) is None:
            raise ValidationFailed((key, EXPECTED[key]))
    encoded = msgspec.json.encode(value)
    if len(encoded) > MAX_VALUE_BYTES:
        raise ValidationFailed((key, f"has to be at most {MAX_VALUE_BYTES} bytes of JSON"))
    return encoded.decode()

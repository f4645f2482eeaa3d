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
# A well-formed language tag (RFC 5646 §2.1), but for the irregular ones that it keeps for old times' sake.
LANGUAGE = re.compile(
    r"""(?:[a-z]{2,3}(?:-[a-z]{3}){0,3}|[a-z]{4,8})  # the language, and what it is extended by
        (?:-[a-z]{4})?                               # the script
        (?:-(?:[a-z]{2}|[0-9]{3}))?                  # the region
        (?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*     # variants
        (?:-[0-9a-wyz](?:-[a-z0-9]{2,8})+)*          # extensions
        (?:-x(?:-[a-z0-9]{1,8})+)?                   # private use
        |x(?:-[a-z0-9]{1,8})+                        # nothing but private use""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)


class ConversationHistory(Struct, frozen=True, forbid_unknown_fields=True):
    enabled: bool
    retention_days: Annotated[int, Meta(ge=1, le=3650)]


KNOWN: dict[str, Any] = {
    "theme": Literal["light", "dark", "system"],
    "language": Annotated[str, Meta(min_length=1, max_length=64, description="BCP 47, such as en or de-CH.")],
    "default_model": Annotated[str, Meta(max_length=255)],
    "conversation_history": ConversationHistory,
}
# the whole object, for the API document: beside these keys there may be any other
Known = msgspec.defstruct(
    "Preferences",
    [(key, kind | UnsetType | None, UNSET) for key, kind in KNOWN.items()],
    namespace={"__doc__": "Beside the keys named here there may be any other."},
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


def check(key: str, value: msgspec.Raw) -> str:
    """The JSON text of a value: as it was written, for another spelling of a number might be another number.

    Raises:
        ValidationFailed: the key or the value is out of its bounds. `null` fits every key.
    """
    check_key(key)
    text = bytes(value)
    if key in KNOWN and text != b"null":
        try:
            known = msgspec.json.decode(text, type=KNOWN[key])
        except msgspec.ValidationError:
            raise ValidationFailed((key, EXPECTED[key])) from None
        if key == "language" and LANGUAGE.fullmatch(known) is None:
            raise ValidationFailed((key, EXPECTED[key]))
    if len(text) > MAX_VALUE_BYTES:
        raise ValidationFailed((key, f"has to be at most {MAX_VALUE_BYTES} bytes of JSON"))
    return text.decode()

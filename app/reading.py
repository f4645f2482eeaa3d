"""JSON as it is read, wherever it comes from: bounded in depth, of one meaning; and what is wrong with it.

No word of ours about a value says what it was.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from app.errors import MalformedRequest

MAX_DEPTH = 64  # levels of nesting
MAX_BRACKETS = 20_000  # of a body: so many cost the loop some 6 ms, and a MiB of them would cost 400
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # refused by PostgreSQL in text and json
TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"\s*+(:?)')  # of valid JSON; a name has its colon behind it
NESTING = (dict, list)  # what msgspec makes of objects and arrays, exactly

# What msgspec may say of a value: what it should be. Anything else might echo what it was.
HARMLESS = re.compile(
    r"Expected `[\w| <>=.,-]+`(?: (?:of length|matching regex|>=|<=|>|<) ?.*)?(?:, got `\w+`)?"
    r"|Object missing required field `\w+`"
    r"|takes either \w+ or \w+",  # a Struct's own word
    re.DOTALL,
)
MISSING = re.compile(r"Object missing required field `(\w+)`")
UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
AT = re.compile(r" - at `\$?\.?(.*?)`$", re.DOTALL)
NAME = re.compile(r"[\w.\[\]-]{1,64}")

_decode = msgspec.json.Decoder().decode


def decode(body: bytes, what: str = "body") -> Any:  # noqa: ANN401 - JSON is any value
    """The JSON value of these bytes, which are called so where they cannot be read.

    Raises:
        MalformedRequest: not UTF-8, not JSON, nested too deep, with a NUL, or with a name twice in one object: a proxy
            may have gone by the other value (RFC 8259 §4).
    """
    brackets = body.count(b"[") + body.count(b"{")
    if brackets > MAX_BRACKETS:
        raise MalformedRequest(f"The {what} holds more than {MAX_BRACKETS} objects and lists.")
    if b"u0000" in body and NUL.search(body):
        raise MalformedRequest(f"The {what} holds a NUL character.")
    try:
        value = _decode(body)
    except RecursionError:
        raise MalformedRequest(_too_deep(what)) from None
    except ValueError:  # msgspec's errors and UnicodeDecodeError, too
        raise MalformedRequest(f"The {what} is not valid JSON.") from None
    colons = body.count(b":")
    if brackets <= MAX_DEPTH and isinstance(value, dict) and len(value) == colons:  # the rule: a flat object
        return value
    names = _names(value, what)
    if names != colons and names != TEXT.findall(body).count(b":"):  # a text may hold colons, too
        raise MalformedRequest(f"An object of the {what} has a name twice.")
    return value


def _names(value: Any, what: str) -> int:  # noqa: ANN401 - JSON is any value
    """How many members all of its objects have together.

    Raises:
        MalformedRequest: it is nested deeper than MAX_DEPTH levels.
    """
    found = 0
    level = [value] if type(value) in NESTING else []
    for _ in range(MAX_DEPTH):
        if not level:
            break
        below = []
        for each in level:
            children = each
            if type(each) is dict:
                found += len(each)
                children = each.values()
            below += [child for child in children if type(child) in NESTING]
        level = below
    if level:
        raise MalformedRequest(_too_deep(what))
    return found


def _too_deep(what: str) -> str:
    return f"The {what} is nested deeper than {MAX_DEPTH} levels."


def field_error(item: Mapping[str, Any]) -> tuple[str, str]:
    """The field and what it should be; never what was sent."""
    message, field = str(item.get("message", "")), str(item.get("key", ""))
    if at := AT.search(message):
        message = message[: at.start()]
        field = at[1] if not field or field == "data" else field
    if missing := MISSING.fullmatch(message):
        return ".".join(filter(None, (field if field != "data" else "", missing[1]))), "is required"
    unknown = UNKNOWN_FIELD.fullmatch(message)
    if unknown and NAME.fullmatch(field) and field != "data":  # inside a field: a value of it, which is not echoed
        return field, "has a field that is not one of its own"
    if unknown:
        return (unknown[1] if NAME.fullmatch(unknown[1]) else "body"), "is not a field of this request"
    if message.startswith("Missing required"):
        return field, "is required"
    if field == "data" or not NAME.fullmatch(field):
        field = "body"
    return field, message if HARMLESS.fullmatch(message) else "does not fit its description"

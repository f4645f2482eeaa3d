"""Names and addresses in the form they are kept and compared in."""

import re

from email_validator import EmailNotValidError, validate_email

from app.errors import ValidationFailed

NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")  # ends an IPv4 address, or nothing (WHATWG URL, "ends in a number")
MAX_LOCAL_PART = 64  # octets (RFC 5321 §4.5.3.1.1)
LOCAL_USERNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def local_username(text: str) -> str:
    """A local username as it is written; so never an e-mail address.

    Raises:
        ValidationFailed: it has characters that a local name may not have (a regular expression's `$` would let a last
            newline pass).
    """
    if LOCAL_USERNAME.fullmatch(text) is None:
        raise ValidationFailed(
            ("username", "letters, digits, dot, underscore and hyphen, beginning with a letter or digit")
        )
    return text


def email(text: str) -> str:
    """An e-mail address in lower case with its domain in ASCII (IDNA); dots and plus signs stay, they mean something.

    Raises:
        ValidationFailed: it is not an address.
    """
    found = comparable_email(text)
    if found is None:
        raise ValidationFailed(("email", "is not an e-mail address"))
    return found


def comparable_email(text: str) -> str | None:
    try:
        checked = validate_email(text, check_deliverability=False, globally_deliverable=False, test_environment=True)
    except EmailNotValidError:
        return None
    if NUMBER.fullmatch(checked.ascii_domain.rpartition(".")[2]) or len(checked.local_part.encode()) > MAX_LOCAL_PART:
        return None
    normal = f"{checked.local_part.lower()}@{checked.ascii_domain.lower()}"
    return normal if normal.isprintable() else None


def label(text: str | None, field: str) -> str | None:
    """A name for people to read, without anything that does not print.

    Raises:
        ValidationFailed: it has control characters, lone surrogates or the like.
    """
    if text is not None and not text.isprintable():
        raise ValidationFailed((field, "has characters that do not print"))
    return text

"""What an error says to a person: the same as to a program, in other words."""

import re
from collections.abc import Mapping

from app.console.languages import mark, translated
from app.errors import AppError, InvalidGrant, MalformedRequest, RateLimited, ValidationFailed

# What msgspec says of a field (app/reading.py), and what a person is told.
FIELDS: Mapping[re.Pattern[str], str] = {
    re.compile(r"is required|.*of length >= 1(?:,.*)?"): mark("Please fill this in."),
    re.compile(r".*of length >= (\d+)(?:,.*)?"): mark("This has to have at least # characters."),
    re.compile(r".*of length <= (\d+)(?:,.*)?"): mark("This may have at most # characters."),
    re.compile(r"Expected `(?:int|float)`.*"): mark("This has to be a number that fits here."),
    re.compile(r"Expected .*matching regex.*"): mark("This has characters that do not belong here."),
    re.compile(r"Expected .*|.*description", re.DOTALL): mark("This does not fit here."),
}
WORDS: Mapping[type[AppError], str] = {
    ValidationFailed: mark("Please look at what is marked below."),
    MalformedRequest: mark("What was sent could not be read. Please try again."),
    RateLimited: mark("There were too many attempts."),
    InvalidGrant: mark("This took too long, or was done before. Please start over."),
}
SAID: Mapping[str, str] = {
    "The present password is another one.": mark("This is not your current password."),
    "Take away your own at /me/mfa/totp and /me/passkeys.": mark("Remove your own on the pages of your account."),
    "Unlink your own at /me/identities.": mark("Unlink your own on the pages of your account."),
    "Change your own password at /me/password: it asks for the present one.": mark(
        "Change your own password on the pages of your account: it asks for the current one."
    ),
    "The request body did not come.": mark("What was sent did not come through. Please try again."),
}
MINUTE, HOUR = 60, 3600  # seconds


def in_words(message: str) -> str:
    """What is wrong with a field."""
    for pattern, text in FIELDS.items():
        if found := pattern.fullmatch(message):
            return translated(text).replace("#", found[1] if pattern.groups else "#")
    said = translated(SAID.get(message, message))
    return said[:1].upper() + said[1:] + ("" if said.endswith((".", "!", "?")) else ".")


def refusal(error: AppError) -> str:
    """Why something was refused, and when to try again where that is known."""
    said = translated(WORDS.get(type(error)) or SAID.get(error.detail, error.detail))
    after = error.headers.get("Retry-After", "")
    passes = isinstance(error, RateLimited) or error.detail == error.title  # that no mail is sent here does not
    return f"{said} {patience(int(after))}" if passes and after.isdecimal() else said


def patience(seconds: int) -> str:
    if seconds < MINUTE:
        return translated(mark("Try again in a moment."))
    if seconds < HOUR:
        return _counted(mark("Try again in a minute."), mark("Try again in # minutes."), seconds, MINUTE)
    return _counted(mark("Try again in an hour."), mark("Try again in # hours."), seconds, HOUR)


def _counted(one: str, many: str, seconds: int, unit: int) -> str:
    number = -(-seconds // unit)
    return translated(one if number == 1 else many).replace("#", str(number))

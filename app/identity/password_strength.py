"""What makes a password one that others would not guess (NIST SP 800-63B-4 §3.1.1.2, with zxcvbn for its blocklist)."""

import unicodedata
from collections.abc import Iterable

from app import guesses
from app.errors import ValidationFailed, WeakPassword
from app.identity.threads import Threads
from app.setting_values import MAX_PASSWORD, MOST_CODE_POINTS

CONTAINED = 4  # characters of a name that a password may not contain; a shorter one is found in half of all words
SCORING_SECONDS = 0.01  # as a rule; 0.2 at worst, all of it the interpreter's
CONTEXT = "gatehouse"  # the service's own name is the first that comes to mind


class PasswordStrength:
    """Judges passwords in one thread of its own, so that whoever tries many keeps nobody from signing in."""

    def __init__(self, min_length: int) -> None:
        self._min_length = min_length
        self._threads = Threads("strength", 1, SCORING_SECONDS)

    async def stop(self) -> None:
        await self._threads.stop()

    async def check(
        self, password: str, *, username: str, email: str | None, full_name: str | None, field: str = "password"
    ) -> None:
        """Refuse a password that others would guess.

        Raises:
            WeakPassword: and why, without a word of the password.
            ValidationFailed: this is no text, or there is a NUL in it.
            Overloaded: there is more to do than can be done soon.
        """
        names = [name for name in (username, (email or "").partition("@")[0]) if name]
        hints = [*names, *(email or "").partition("@")[2].split("."), *(full_name or "").split(), CONTEXT]
        await self._threads.run(lambda: _judge(password, self._min_length, names, hints, field))


def _judge(password: str, min_length: int, names: Iterable[str], hints: Iterable[str], field: str) -> None:
    if "\0" in password:
        raise ValidationFailed((field, "may not contain the NUL character"))
    if any("\ud800" <= character <= "\udfff" for character in password):
        raise ValidationFailed((field, "contains half of a surrogate pair"))
    if len(password) <= MOST_CODE_POINTS:
        password = unicodedata.normalize("NFC", password)
    if len(password) < min_length:
        raise WeakPassword(f"The password has to have at least {min_length} characters.", field)
    if len(password) > MAX_PASSWORD:
        raise WeakPassword(f"The password may have at most {MAX_PASSWORD} characters.", field)
    plain = password.casefold()
    for name in (unicodedata.normalize("NFC", name).casefold() for name in names):
        if plain == name or (len(name) >= CONTAINED and name in plain):
            raise WeakPassword("The password may not contain the username or the e-mail address.", field)
    if (objection := guesses.objection(password, hints)) is not None:
        raise WeakPassword(objection, field)

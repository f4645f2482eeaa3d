"""How soon a password would be guessed, by zxcvbn (docs/decisions/0006-password-strength.md)."""

import threading
from collections.abc import Iterable

SCORED = 24  # characters that zxcvbn looks at: 0.2 s at worst, where 72 take 2.2 s of the interpreter
MIN_SCORE = 2  # of 4: more than a million guesses

ZXCVBN = threading.Lock()  # it keeps the names of the call under way in a global of its own


def objection(password: str, hints: Iterable[str]) -> str | None:
    """Why others would guess it, in sentences none of which quotes it; None if they would not soon."""
    # Here, because it takes 55 ms and 14 MB (its word lists), which only a process that sets passwords should spend.
    from zxcvbn import zxcvbn  # type: ignore[import-untyped]  # noqa: PLC0415

    with ZXCVBN:
        found = zxcvbn(password[:SCORED], user_inputs=list(hints))
    if found["score"] >= MIN_SCORE:
        return None
    advice = [found["feedback"]["warning"], *found["feedback"]["suggestions"]]
    return " ".join(["The password is too easy to guess.", *filter(None, advice)])

"""How a user has shown who he is, in the words of RFC 8176 §2."""

from typing import Literal, get_args

PASSWORD = "pwd"  # noqa: S105 - a word of the RFC
CODE = "otp"  # of an authenticator, or one of those on paper: both are passwords for once
KEY = "pop"  # a passkey
PRESENT = "user"  # somebody was there, and the passkey has asked who
SEVERAL = "mfa"  # more than one factor
IDENTITY = "fed"  # somebody else has asked who is there; the RFC's registry has no word for it
OFFLINE = "offline"  # whoever keeps the password was away, and it was compared with what was last good there

Factor = Literal["pwd", "otp", "pop", "user", "mfa", "fed", "offline"]  # all of them
FACTORS: tuple[Factor, ...] = get_args(Factor)

# By which some sessions stand out: those are in order in indexes of their own. Most are begun by `pwd`, and are met on
# the way through all; so are those of `mfa` and `user`, which come with one of these.
STANDING_OUT = (CODE, KEY, IDENTITY, OFFLINE)

BY_PASSWORD = [PASSWORD]
BY_CODE = [CODE, SEVERAL]
BY_PASSKEY = [KEY, PRESENT, SEVERAL]
BY_IDENTITY = [IDENTITY]


def together(*ways: list[str]) -> list[str]:
    """Each once, in this order."""
    return list(dict.fromkeys(way for each in ways for way in each))

"""What is mailed: opaque tokens (app/keys/opaque.py), each good for one purpose."""

from enum import StrEnum
from uuid import UUID

from app.errors import InvalidOneTimeToken
from app.keys.opaque import OpaqueTokens

HOUR, DAY = 3600, 86_400  # seconds


class Purpose(StrEnum):
    VERIFY_EMAIL = "email.verify"
    RESET_PASSWORD = "password.reset"  # noqa: S105 - a purpose
    NOT_ME = "not_me"


LIFETIMES = {Purpose.VERIFY_EMAIL: DAY, Purpose.RESET_PASSWORD: HOUR, Purpose.NOT_ME: 7 * DAY}  # seconds
INVITATION = 7 * DAY  # seconds: a reset link for somebody who may be on holiday
LONGEST = max(INVITATION, *LIFETIMES.values())  # seconds that any link is good for


class OneTimeTokens:
    """Makes the token of a row and reads it back; a token of another purpose is not recognised."""

    def __init__(self, secret: str, previous: str = "") -> None:
        self._tokens = {
            purpose: OpaqueTokens("gho1_", f"one-time tokens {purpose}", 16, secret, previous) for purpose in Purpose
        }

    def issue(self, purpose: Purpose, token_id: UUID) -> str:
        return self._tokens[purpose].issue(token_id.bytes)

    def read(self, purpose: Purpose, token: str) -> UUID:
        """The id of its row.

        Raises:
            InvalidOneTimeToken: it is not one of ours, or for something else.
        """
        said = self._tokens[purpose].read(token)
        if said is None:
            raise InvalidOneTimeToken
        return UUID(bytes=said)

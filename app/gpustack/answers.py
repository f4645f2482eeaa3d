"""What GPUStack's answers mean; an answer that is not exactly one of these means nothing, and nobody is let in by it.

Nothing of a body is logged or shown: a 422 repeats the password.
"""

import re
from datetime import datetime, timedelta
from http.cookies import CookieError, SimpleCookie
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

from app.errors import Unavailable
from app.outbound import Answer

OK, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, SERVER_ERROR = 200, 401, 403, 404, 500
COOKIE = "gpustack_session"
COOKIE_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]{1,4096}")  # RFC 6265 §4.1.1, and no longer than any browser keeps
VERSION = re.compile(r"v?([0-9]{1,3})\.([0-9]{1,3})\..{0,64}")
PAGE = 100  # users that are asked for at a time: 0.6 gives no more
CLOCKS = timedelta(hours=1)  # by which its clock may be ahead of PostgreSQL's
RETRY_SECONDS = 5  # after which somebody who was not let in may try again: a restart takes it 20 s
T = TypeVar("T")


class GpustackAway(Unavailable):
    """Refused, hung, or broken: it may be otherwise in a moment.

    `answered` if it was there and said 5xx, which one account can do that makes it stumble.
    """

    def __init__(self, reason: str, *, answered: bool = False) -> None:
        super().__init__(retry_after_seconds=RETRY_SECONDS)
        self.reason = reason
        self.answered = answered


class GpustackMisconfigured(Unavailable):
    """Who answers is no GPUStack, or one that lets in anybody: a matter of settings, or an attack."""

    def __init__(self, reason: str) -> None:
        super().__init__(retry_after_seconds=RETRY_SECONDS)
        self.reason = reason


class KeyRefused(GpustackMisconfigured):
    """GPUSTACK_API_KEY is none, or not an administrator's: logins need none."""


class Account(Struct, frozen=True):
    """A user as GPUStack shows him. 0.6 does not say who is inactive, and lets none of them in."""

    id: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    username: str
    is_admin: bool
    full_name: str | None = None
    is_active: bool = True
    created_at: str | None = None

    def made_since(self, known_since: datetime, now: datetime) -> bool:
        """Whether it was made there after somebody of this id was known here: then that was somebody else.

        0.6 and 0.7 keep users in SQLite, which gives the id of the newest user again once he is deleted; and a
        GPUStack that is set up anew begins to count anew. Of a time that is still to come nothing is believed.
        """
        try:
            made_at = datetime.fromisoformat(self.created_at or "")
        except ValueError:
            return False
        return made_at.tzinfo is not None and known_since + CLOCKS < made_at <= now


class Refused(Struct, frozen=True):
    """A final no; `deactivated` if the password was right."""

    deactivated: bool = False


class Said(Struct, frozen=True):
    """An error as GPUStack words it."""

    code: int
    message: str


class Version(Struct, frozen=True):
    version: str


class Pagination(Struct, frozen=True):
    pages: int = msgspec.field(name="totalPage")


class Page(Struct, frozen=True):
    items: Annotated[list[Account], Meta(max_length=PAGE)]
    pagination: Pagination


def read(answer: Answer, type_: type[T]) -> T:
    """What a 200 says.

    Raises:
        GpustackMisconfigured: it is another status, or says something else.
    """
    if answer.status != OK:
        raise GpustackMisconfigured(f"status {answer.status}")
    return _read(answer, type_)


def _read(answer: Answer, type_: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.content, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise GpustackMisconfigured(f"status {answer.status} with a body that is not GPUStack's") from None


def said(answer: Answer) -> Said:
    """What an error says, if it is GPUStack's own and not of something in front of it.

    Raises:
        GpustackMisconfigured: it is not.
    """
    error = _read(answer, Said)
    if error.code != answer.status:
        raise GpustackMisconfigured(f"status {answer.status} that is not GPUStack's")
    return error


def refusal(answer: Answer) -> Refused | None:
    """None unless it is a 401."""
    if answer.status != UNAUTHORIZED:
        return None
    return Refused(deactivated=said(answer).message == "User account is deactivated")


def cookie(answer: Answer) -> str:
    """The session that a login has opened.

    Raises:
        GpustackMisconfigured: it has opened none.
    """
    if answer.status != OK:
        raise GpustackMisconfigured(f"status {answer.status} at a login")
    for name, value in answer.headers:
        if name == "set-cookie":
            try:
                found = SimpleCookie(value).get(COOKIE)
            except CookieError:
                continue
            if found is not None and COOKIE_VALUE.fullmatch(found.value):
                return found.value
    raise GpustackMisconfigured("a login without a cookie")


def prefix(version: str) -> str:
    """Where the API begins.

    Raises:
        GpustackMisconfigured: nobody has looked how this version behaves.
    """
    found = VERSION.fullmatch(version)
    release = (int(found[1]), int(found[2])) if found else (-1, 0)
    if release[0] == 2:  # noqa: PLR2004 - the version's number
        return "/v2"
    if release in ((0, 6), (0, 7)):
        return "/v1"
    raise GpustackMisconfigured("a version that is not known here")

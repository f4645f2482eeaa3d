"""What the wire and the other rooms see of a session."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

Time = Annotated[datetime, Meta(tz=True, description="RFC 3339, in UTC.")]

# Of entries in the cache: `s:<session id>`, `u:<user id>` (kept by whoever owns users), and the role table's number.
SESSION_KIND, USER_KIND, RIGHTS_KEY = "s", "u", "r:table"


def session_key(session_id: object) -> str:
    return f"{SESSION_KIND}:{session_id}"


def user_key(user_id: object) -> str:
    return f"{USER_KIND}:{user_id}"


ADMIN = "admin"  # the role that may do whatever there is to do


class SessionEntry(Struct, frozen=True, array_like=True):
    """What validation has to know of a live session; a dead one's entry is empty."""

    user_id: int
    generation: int
    auth_time: int  # seconds since 1970
    amr: list[str]


class SessionState(Struct, frozen=True):
    """A session as its row stands, by PostgreSQL's clock; what its tokens are made of."""

    session_id: UUID
    user_id: int
    generation: int
    auth_time: int  # seconds since 1970
    amr: list[str]
    seconds_left: float
    by_cookie: bool  # its refresh token travels in the browser's cookie alone


class Session(Struct, frozen=True, kw_only=True):
    id: UUID
    user_id: int
    username: str
    created_at: Time
    last_accessed: Annotated[Time, Meta(description="To a few seconds.")]
    expires_at: Time
    ip_address: Annotated[str | None, Meta(description="Of the login or the last refresh.")]
    user_agent: str | None
    device_name: Annotated[str | None, Meta(description="As the login named it, or else what its user agent says.")]
    amr: Annotated[list[str], Meta(description="How the user showed who he is (RFC 8176).")]
    current: Annotated[bool, Meta(description="Whether it is the session that asks.")]
    revoked_at: Time | None
    revoked_reason: str | None


class SessionList(Struct, frozen=True):
    items: list[Session]


class Tokens(Struct, frozen=True, kw_only=True):
    """A session's tokens of one generation, as RFC 6749 §5.1 names them."""

    access_token: str
    refresh_token: str
    expires_in: int  # seconds
    refresh_expires_in: int  # seconds
    session_id: UUID

    def __repr__(self) -> str:
        return f"Tokens(session_id={self.session_id})"


class RefreshRequest(Struct, frozen=True, forbid_unknown_fields=True):
    refresh_token: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None

    def __repr__(self) -> str:
        return "RefreshRequest(refresh_token=...)"


class LogoutRequest(Struct, frozen=True, forbid_unknown_fields=True):
    refresh_token: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None

    def __repr__(self) -> str:
        return "LogoutRequest(refresh_token=...)"

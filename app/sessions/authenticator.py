"""Who an access token stands for: what it, the session's entry and the user's entry say together."""

import time
from collections.abc import Callable, Mapping
from typing import Generic, Protocol, Self, TypeVar
from urllib.parse import quote

import msgspec

from app.cache.entries import Entries
from app.errors import ReauthenticationRequired, SessionRevoked
from app.sessions import amr
from app.sessions.lastseen import LastSeen
from app.sessions.structs import ADMIN, RIGHTS_KEY, SessionEntry, session_key, user_key
from app.sessions.tokens import AccessTokens, Claims

FRESH_SECONDS = 600  # that a login counts as having just shown who one is
REMEMBERED_TOKENS = 16_384  # a process: about 30 MB when full; what is beyond costs a signature check a request


class Subject(Protocol):
    """What a session stands for: as much of the user's entry as decides about a request."""

    @property
    def id(self) -> int: ...
    @property
    def username(self) -> str: ...
    @property
    def roles(self) -> list[str]: ...
    @property
    def is_active(self) -> bool: ...
    @property
    def must_change_password(self) -> bool: ...
    @property
    def mfa_enabled(self) -> bool: ...
    def without(self, role: str) -> Self: ...


S = TypeVar("S", bound=Subject)
S_co = TypeVar("S_co", bound=Subject, covariant=True)


S_contra = TypeVar("S_contra", bound=Subject, contravariant=True)


class Rights(Protocol[S_contra]):
    """The role table of this process: its number as it stands in the cache, and what a set of roles may do."""

    snapshot: bytes

    def of(self, roles: list[str]) -> frozenset[str]: ...
    def fits(self, subject: S_contra) -> bool: ...
    async def reload(self, snapshot: bytes | None = None) -> None: ...


class Identified(Generic[S_co]):
    """Somebody whose request is let in."""

    __slots__ = ("_headers", "amr", "auth_time", "claims", "memo", "permissions", "session_id", "subject", "user_id")

    def __init__(self, claims: Claims, entry: SessionEntry, subject: S_co, permissions: frozenset[str]) -> None:
        self.claims = claims  # as the token says, whatever has changed since
        self.user_id = entry.user_id
        self.session_id = claims.sid
        # A token from before the session's last login may be somebody else's by now: it speaks for itself alone.
        self.auth_time = min(entry.auth_time, claims.auth_time)  # seconds since 1970
        self.amr = ways(claims, entry)
        self.subject = subject
        self.permissions = permissions  # of the role table now, not of the token
        # the body of `/me`, made at the first request and the same until an entry changes
        self.memo: bytes | None = None
        self._headers: list[tuple[bytes, bytes]] | None = None

    def may(self, permission: str) -> bool:
        return permission in self.permissions or ADMIN in self.subject.roles

    def outranks(self, other: "Identified[Subject]") -> bool:
        """Whether this one may do what the other may not. An administrator loses nothing by a permission that goes."""
        if ADMIN in other.subject.roles:
            return False
        return ADMIN in self.subject.roles or not self.permissions <= other.permissions

    def require_fresh(self) -> None:
        """For what a stolen session must not do.

        Raises:
            ReauthenticationRequired: the login is more than FRESH_SECONDS ago, has not shown the second factor that
                the user has by now, or was offline: its password may be void, and so would be what was made by it.
        """
        shown = amr.OFFLINE not in self.amr and (not self.subject.mfa_enabled or amr.SEVERAL in self.amr)
        if not shown or time.time() - self.auth_time > FRESH_SECONDS:
            raise ReauthenticationRequired

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What a reverse proxy passes on: percent-encoded UTF-8 (RFC 3986), for header values are not text."""
        if self._headers is None:
            self._headers = [
                (b"x-auth-user-id", str(self.user_id).encode()),
                (b"x-auth-username", quote(self.subject.username, safe="").encode()),
                (b"x-auth-roles", ",".join(quote(role, safe=":") for role in self.subject.roles).encode()),
                (b"x-auth-session-id", str(self.session_id).encode()),
            ]
        return self._headers


def ways(claims: Claims, entry: SessionEntry) -> list[str]:
    """How whoever holds this token has shown who he is."""
    return entry.amr if claims.auth_time >= entry.auth_time else claims.amr


class Known(Generic[S]):
    """A token that this process has verified, and the caller that the entries of its last request made of it."""

    __slots__ = ("caller", "claims", "expires_at", "keys", "seen", "sid")

    def __init__(self, claims: Claims) -> None:
        self.claims = claims
        self.expires_at = claims.exp
        self.sid = str(claims.sid)
        self.keys = (session_key(claims.sid), user_key(claims.sub), RIGHTS_KEY)
        self.seen: tuple[bytes | None, bytes | None, bytes | None] = (None, None, None)
        self.caller: Identified[S] | None = None


class Authenticator(Generic[S]):
    """Tells who calls: no SQL and no signature check for a token this process has verified, one shared round trip.

    Args:
        entries: the cache.
        tokens: verifies what is seen for the first time.
        decode: the user's entry, by whoever owns users.
        rights: the role table.
        last_seen: told of every session that is served.
    """

    def __init__(
        self,
        entries: Entries,
        tokens: AccessTokens,
        decode: Callable[[bytes], S],
        rights: Rights[S],
        last_seen: LastSeen,
    ) -> None:
        self._entries = entries
        self._tokens = tokens
        self._decode = decode
        self._rights = rights
        self._last_seen = last_seen
        self._known: dict[str, Known[S]] = {}
        self.checks = {"valkey": 0, "postgres": 0}  # sessions looked up, by the store that answered

    async def caller(self, token: str) -> Identified[S]:
        """Who sent this access token.

        Raises:
            InvalidToken: it is not ours, or has expired.
            SessionRevoked: its session or its user is no more.
            Unavailable: neither store could tell.
        """
        known = self._known.get(token)
        if known is None or known.expires_at <= time.time():
            known = await self._verify(token)
        keys = known.keys
        found = await self._entries.get(keys)
        self.checks[found.source] += 1
        seen = (found[keys[0]], found[keys[1]], found[keys[2]])
        caller = known.caller
        if caller is None or seen != known.seen or seen[2] != self._rights.snapshot:
            caller = await self._compose(known, found)
        self._last_seen.note(known.sid)
        return caller

    async def subject(self, user_id: int) -> S:
        """Whom a session of this user stands for now.

        Raises:
            SessionRevoked: he is no more, or not active.
            Unavailable: neither store could tell.
        """
        key = user_key(user_id)
        found = await self._entries.get((key,))
        subject, _ = await self._subject(key, found[key] or b"", user_id)
        return subject

    async def _verify(self, token: str) -> Known[S]:
        self._known.pop(token, None)
        known: Known[S] = Known(await self._tokens.verify(token))
        if len(self._known) >= REMEMBERED_TOKENS:
            del self._known[next(iter(self._known))]  # the one verified first: the next to expire, nearly
        self._known[token] = known
        return known

    async def _compose(self, known: Known[S], found: Mapping[str, bytes | None]) -> Identified[S]:
        session_key, user_key, rights_key = known.keys
        session, session_raw = await self._session(session_key, found[session_key] or b"", known.claims)
        subject, user_raw = await self._subject(user_key, found[user_key] or b"", known.claims.user_id)
        rights_raw = found[rights_key] or b""
        if rights_raw != self._rights.snapshot:
            await self._rights.reload(rights_raw)
        if not self._rights.fits(subject):
            raw = await self._entries.renew(user_key, user_raw)
            subject, user_raw = await self._subject(user_key, raw, known.claims.user_id)
            if not self._rights.fits(subject):  # a role has been renamed since its number was looked up
                await self._rights.reload()
        if amr.OFFLINE in ways(known.claims, session):
            subject = subject.without(ADMIN)
        caller = Identified(known.claims, session, subject, self._rights.of(subject.roles))
        known.caller = caller
        known.seen = (session_raw, user_raw, rights_raw)
        return caller

    async def _session(self, key: str, raw: bytes, claims: Claims) -> tuple[SessionEntry, bytes]:
        """The session, if it lives, is this user's and has come as far as the token.

        An entry behind the token (a refresh writes none), another user's, or garbage is looked up anew.
        """
        entry = _session_entry(raw)
        if raw and (entry is None or entry.user_id != claims.user_id or entry.generation < claims.generation):
            raw = await self._entries.renew(key, raw)
            entry = _session_entry(raw)
        if entry is None or entry.user_id != claims.user_id or entry.generation < claims.generation:
            raise SessionRevoked
        return entry, raw

    async def _subject(self, key: str, raw: bytes, user_id: int) -> tuple[S, bytes]:
        subject = self._read_subject(raw)
        if raw and (subject is None or subject.id != user_id):
            raw = await self._entries.renew(key, raw)
            subject = self._read_subject(raw)
        if subject is None or subject.id != user_id or not subject.is_active:
            raise SessionRevoked
        return subject, raw

    def _read_subject(self, raw: bytes) -> S | None:
        try:
            return self._decode(raw) if raw else None
        except msgspec.MsgspecError:
            return None


_read = msgspec.msgpack.Decoder(SessionEntry).decode


def _session_entry(raw: bytes) -> SessionEntry | None:
    try:
        return _read(raw) if raw else None
    except msgspec.MsgspecError:
        return None

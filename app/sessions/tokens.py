"""Access tokens (RFC 9068) and refresh tokens: both functions of the session's row, neither stored."""

import re
import time
from typing import Any
from uuid import UUID

import jwt
import msgspec
from msgspec import Struct

from app.errors import InvalidRefreshToken, InvalidToken
from app.keys.opaque import OpaqueTokens
from app.keys.ring import Ring
from app.sessions.structs import SessionState
from app.settings import Settings

MAX_TOKEN_CHARACTERS = 16_384  # an access token of a user with 100 roles of 64 characters has about 9,500
SKEW_SECONDS = 30  # how far the clocks of two replicas may differ: allowed to iat and nbf, never to exp
MAX_LIFETIME_SECONDS = 86400  # the longest that ACCESS_TOKEN_EXPIRE_MINUTES allows; no token of ours claims more
SUBJECT = re.compile(r"[1-9][0-9]{0,18}")  # a user id
MAX_GENERATION = (1 << 31) - 1  # PostgreSQL's integer: a refresh a second for 68 years
GENERATION = re.compile(r"0|[1-9][0-9]{0,9}")
COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")  # RFC 7515 §7.1, without padding


class Claims(Struct, frozen=True):
    """The claims that a token has to have, in the types that RFC 7519 and RFC 9068 give them."""

    iss: str
    aud: str
    sub: str
    sid: UUID
    jti: str
    iat: int
    nbf: int
    exp: int
    auth_time: int
    amr: list[str] = []

    @property
    def user_id(self) -> int:
        return int(self.sub)

    @property
    def generation(self) -> int:
        return int(self.jti.rpartition(".")[2])


class AccessTokens:
    """Makes and verifies access tokens."""

    def __init__(self, ring: Ring, settings: Settings) -> None:
        self._ring = ring
        self.issuer = settings.public_url
        self.audience = settings.audience
        self.lifetime = settings.access_token_expire_minutes * 60  # seconds

    def issue(self, session: SessionState, roles: list[str]) -> tuple[str, int]:
        """A token, and the seconds it lives: never past its session."""
        key = self._ring.signing()
        now = int(time.time())
        lifetime = max(1, min(self.lifetime, int(session.seconds_left)))
        session_id = str(session.session_id)
        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": str(session.user_id),
            "sid": session_id,
            "jti": f"{session_id}.{session.generation}",
            "iat": now,
            "nbf": now,
            "exp": now + lifetime,
            "auth_time": session.auth_time,
            "amr": session.amr,
            "roles": roles,
        }
        return key.sign("at+jwt", msgspec.json.encode(claims)), lifetime

    async def verify(self, token: str) -> Claims:
        """The claims of a token that one of our keys has signed and that is valid now.

        The algorithm is the key's own, never the token's choice (RFC 8725 §3.1); a key is found by name among ours.

        Raises:
            InvalidToken: anything else.
            Unavailable: the keys could not be loaded.
        """
        if len(token) > MAX_TOKEN_CHARACTERS or COMPACT.fullmatch(token) is None:
            raise InvalidToken
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise InvalidToken from None
        kid = header.get("kid")
        key = await self._ring.verifying(kid) if isinstance(kid, str) else None
        if key is None or header.get("typ") != "at+jwt" or "crit" in header:
            raise InvalidToken
        try:
            payload: dict[str, Any] = jwt.decode(
                token,
                key.public,
                algorithms=[key.algorithm],
                audience=self.audience,
                issuer=self.issuer,
                options={
                    "require": ["iss", "aud", "sub", "sid", "jti", "iat", "nbf", "exp"],
                    "verify_exp": False,  # PyJWT has one leeway for all three times; see below
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
            claims = msgspec.convert(payload, Claims, strict=True)
        except (jwt.InvalidTokenError, msgspec.ValidationError, ValueError):
            raise InvalidToken from None
        now = time.time()
        prefix, _, generation = claims.jti.rpartition(".")
        if (
            claims.exp <= now
            or max(claims.iat, claims.nbf) > now + SKEW_SECONDS
            or claims.exp - claims.iat > MAX_LIFETIME_SECONDS
            or prefix != str(claims.sid)
            or GENERATION.fullmatch(generation) is None
            or SUBJECT.fullmatch(claims.sub) is None
            or claims.user_id >= 1 << 63
        ):
            raise InvalidToken
        return claims


class RefreshToken(Struct, frozen=True):
    """What a refresh token says: which session, and after how many refreshes."""

    session_id: UUID
    generation: int


class RefreshTokens:
    """Makes and reads refresh tokens: opaque tokens (app/keys/opaque.py) of a session's id and generation."""

    def __init__(self, secret: str, previous: str = "") -> None:
        # a fixed beginning lets secret scanners find leaked ones; the digit is the version
        self._tokens = OpaqueTokens("gh1_", "refresh tokens", 16 + 4, secret, previous)

    def issue(self, session_id: UUID, generation: int) -> str:
        return self._tokens.issue(session_id.bytes + generation.to_bytes(4, "big"))

    def read(self, token: str) -> RefreshToken:
        """What one of our tokens says.

        Raises:
            InvalidRefreshToken: it is not one of ours.
        """
        said = self._tokens.read(token)
        if said is None:
            raise InvalidRefreshToken
        generation = int.from_bytes(said[16:], "big")
        if generation > MAX_GENERATION:
            raise InvalidRefreshToken
        return RefreshToken(UUID(bytes=said[:16]), generation)

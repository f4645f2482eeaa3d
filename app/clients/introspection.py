"""What a token stands for at this moment (RFC 7662), found out by the same road as for a request that carries it."""

from collections.abc import Awaitable, Callable

from app.clients.structs import ActiveAccessToken, ActiveRefreshToken, Inactive
from app.errors import InvalidRefreshToken, SessionRevoked, Unauthenticated
from app.sessions.authenticator import Identified, Subject
from app.sessions.service import Sessions

INACTIVE = Inactive(active=False)


class Introspection:
    """Says of a token whether it is active: whether the next request with it would be served.

    It changes nothing; but an access token that is active has been shown to somebody, so its session was seen.
    """

    def __init__(
        self,
        authenticate: Callable[[str], Awaitable[Identified[Subject]]],
        subject_of: Callable[[int], Awaitable[Subject]],
        sessions: Sessions,
        issuer: str,
    ) -> None:
        self._authenticate = authenticate
        self._subject_of = subject_of
        self._sessions = sessions
        self._issuer = issuer

    async def describe(self, token: str) -> ActiveAccessToken | ActiveRefreshToken | Inactive:
        """Raises Unavailable where it cannot be found out: that is never told as inactive."""
        try:
            return await self._refresh_token(token)
        except InvalidRefreshToken:
            pass  # or none at all
        except SessionRevoked:
            return INACTIVE
        try:
            return await self._access_token(token)
        except Unauthenticated:
            return INACTIVE

    async def _access_token(self, token: str) -> ActiveAccessToken | Inactive:
        caller = await self._authenticate(token)
        if caller.subject.must_change_password:  # all that is left to this token is our own: to change the password
            return INACTIVE
        claims = caller.claims
        return ActiveAccessToken(
            active=True,
            token_type="bearer",  # noqa: S106 - RFC 6750's name of a kind of token
            iss=claims.iss,
            aud=claims.aud,
            sub=claims.sub,
            username=caller.subject.username,
            sid=claims.sid,
            jti=claims.jti,
            iat=claims.iat,
            nbf=claims.nbf,
            exp=claims.exp,
            auth_time=caller.auth_time,
            amr=caller.amr,
            roles=caller.subject.roles,
            permissions=sorted(caller.permissions),
        )

    async def _refresh_token(self, token: str) -> ActiveRefreshToken:
        standing = await self._sessions.refreshable(token)
        session = standing.session
        subject = await self._subject_of(session.user_id)
        return ActiveRefreshToken(
            active=True,
            token_type="N_A",  # noqa: S106 - RFC 8693's name of what is no access token
            iss=self._issuer,
            aud=self._issuer,
            sub=str(session.user_id),
            username=subject.username,
            sid=session.session_id,
            exp=standing.expires_at,
            auth_time=session.auth_time,
            amr=session.amr,
        )

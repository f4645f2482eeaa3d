"""A client ends what a token stands for: its session (RFC 7009)."""

from app.client import Client
from app.errors import InvalidRefreshToken, InvalidToken
from app.sessions.service import Sessions
from app.sessions.tokens import AccessTokens


class Revocation:
    """Any client may end any session: all of them are the operator's own, and no token is made for one of them."""

    def __init__(self, sessions: Sessions, tokens: AccessTokens) -> None:
        self._sessions = sessions
        self._tokens = tokens

    async def revoke(self, token: str, client_id: str, client: Client) -> None:
        """End the session of this token; no replica serves it when this returns.

        A refresh token may be of any generation. What is none of ours has nothing to end, which is as good (§2.2).

        Raises:
            Unavailable: the session could not be found out, or not be ended.
        """
        try:
            session = await self._sessions.session_of(token)
            session_id, user_id = session.session_id, session.user_id
        except InvalidRefreshToken:
            try:
                claims = await self._tokens.verify(token)
            except InvalidToken:
                return
            session_id, user_id = claims.sid, claims.user_id
        await self._sessions.revoke_by_client(user_id, session_id, client_id, client)

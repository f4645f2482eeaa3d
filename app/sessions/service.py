"""The life of a session: opened, refreshed, ended."""

from collections.abc import Iterable, Sequence
from uuid import UUID

import asyncpg

from app.audit.events import Event, record
from app.cache.entries import Entries
from app.cache.outbox import Change
from app.client import Client
from app.database import Database, Transaction
from app.errors import InvalidRefreshToken, NotFound, RefreshTokenReused
from app.sessions import queries
from app.sessions.structs import KIND, Session, Tokens
from app.sessions.tokens import AccessTokens, RefreshTokens, new_session_id
from app.settings import Settings


class Sessions:
    """The use cases of sessions. What ends one returns once no replica serves it any more (app/cache/outbox.py)."""

    def __init__(
        self, db: Database, entries: Entries, access: AccessTokens, refresh: RefreshTokens, settings: Settings
    ) -> None:
        self._db = db
        self._entries = entries
        self._access = access
        self._refresh = refresh
        self._settings = settings

    # ---- opening --------------------------------------------------------------------------------------------------

    async def open(
        self, tx: Transaction, user_id: int, client: Client, *, device_name: str | None, amr: list[str]
    ) -> tuple[asyncpg.Record, Change]:
        """A new session in the transaction of its login; beyond SESSIONS_PER_USER the oldest one goes."""
        row = await queries.add(
            tx,
            new_session_id(),
            user_id,
            client,
            device_name=device_name,
            amr=amr,
            lifetime_days=self._settings.refresh_token_expire_days,
        )
        change = Change({})
        cap = self._settings.sessions_per_user
        if cap and (surplus := await queries.surplus(tx, user_id, cap)):
            change, _ = await self.revoke_in(tx, user_id, "sessions_per_user", user_id, client, only=surplus)
        return row, change

    def tokens(self, row: asyncpg.Record, roles: list[str]) -> Tokens:
        """The tokens of a session as its row is now."""
        access_token, lifetime = self._access.issue(
            user_id=row["user_id"],
            session_id=row["id"],
            generation=row["generation"],
            auth_time=row["auth_time"],
            amr=row["amr"],
            roles=roles,
            session_seconds=row["seconds_left"],
        )
        return Tokens(
            access_token=access_token,
            refresh_token=self._refresh.issue(row["id"], row["generation"]),
            expires_in=lifetime,
            refresh_expires_in=int(row["seconds_left"]),
            session_id=row["id"],
        )

    # ---- refreshing -----------------------------------------------------------------------------------------------

    async def rotate(self, refresh_token: str, client: Client) -> tuple[asyncpg.Record, str]:
        """The session's row at the successor of this token, which was made now (`rotated`) or given again (`grace`).

        Raises:
            InvalidRefreshToken: not one of ours, or its session has ended.
            RefreshTokenReused: an old token; its session has been ended.
        """
        token = self._refresh.read(refresh_token)
        row = await queries.rotate(self._db, token.session_id, token.generation, client)
        if row is not None:
            return row, "rotated"
        now = await queries.state(self._db, token.session_id, self._settings.refresh_grace_seconds)
        if now is None or not now["live"] or token.generation >= now["generation"]:
            await self._entries.outbox.settle(await self._entries.outbox.unsettled(self._db, [_key(token.session_id)]))
            raise InvalidRefreshToken
        if now["in_grace"] and token.generation == now["generation"] - 1:
            return now, "grace"
        await self._end_family(now, token.generation, client)
        raise RefreshTokenReused

    async def _end_family(self, row: asyncpg.Record, generation: int, client: Client) -> None:
        async with self._db.transaction() as tx:
            change, ended = await self._end(tx, row["user_id"], "refresh_token_reused", only=[row["id"]])
            if ended:
                await record(
                    tx,
                    Event.TOKEN_REUSE_DETECTED,
                    client,
                    user_id=row["user_id"],
                    session_ids=ended,
                    details={"presented_generation": generation, "current_generation": row["generation"]},
                )
        await self._entries.outbox.settle(change)

    # ---- ending ---------------------------------------------------------------------------------------------------

    async def log_out(self, user_id: int, session_id: UUID, client: Client) -> None:
        """End the session that asks for it; ended already is as good."""
        async with self._db.transaction() as tx:
            change, ended = await self._end(tx, user_id, "logout", only=[session_id])
            if ended:
                await record(tx, Event.LOGOUT, client, user_id=user_id, actor_id=user_id, session_ids=ended)
        await self._entries.outbox.settle(change)

    async def log_out_with(self, refresh_token: str, client: Client) -> None:
        """End the session of a refresh token, of any generation, so that an expired access token can sign out.

        Raises:
            InvalidRefreshToken: not one of ours, or there is no such session.
        """
        token = self._refresh.read(refresh_token)
        row = await queries.state(self._db, token.session_id, 0)
        if row is None:
            raise InvalidRefreshToken
        await self.log_out(row["user_id"], token.session_id, client)

    async def log_out_everywhere(self, user_id: int, client: Client, *, except_id: UUID | None = None) -> None:
        async with self._db.transaction() as tx:
            change, ended = await self._end(tx, user_id, "logout", except_id=except_id)
            if ended:
                await record(tx, Event.LOGOUT, client, user_id=user_id, actor_id=user_id, session_ids=ended)
        await self._entries.outbox.settle(change)

    async def revoke_one(self, user_id: int, session_id: UUID, actor_id: int, client: Client) -> None:
        """End one live session of a user.

        Raises:
            NotFound: this user has no such live session; whether anybody has is not told.
        """
        reason = "revoked_by_user" if actor_id == user_id else "revoked_by_admin"
        async with self._db.transaction() as tx:
            change, ended = await self.revoke_in(tx, user_id, reason, actor_id, client, only=[session_id])
        await self._entries.outbox.settle(change)
        if not ended:
            raise NotFound

    async def revoke_all(self, user_id: int, actor_id: int, client: Client) -> int:
        """End every session of a user; how many there were."""
        async with self._db.transaction() as tx:
            change, ended = await self.revoke_in(tx, user_id, "revoked_by_admin", actor_id, client)
        await self._entries.outbox.settle(change)
        return len(ended)

    async def revoke_in(
        self,
        tx: Transaction,
        user_id: int,
        reason: str,
        actor_id: int | None,
        client: Client | None,
        *,
        only: Sequence[UUID] | None = None,
        except_id: UUID | None = None,
    ) -> tuple[Change, list[UUID]]:
        """End sessions in the transaction of what ends them; the caller settles the change after its commit."""
        change, ended = await self._end(tx, user_id, reason, only=only, except_id=except_id)
        if ended:
            await record(
                tx,
                Event.SESSION_REVOKED,
                client,
                user_id=user_id,
                actor_id=actor_id,
                session_ids=ended,
                details={"reason": reason},
            )
        return change, ended

    async def _end(
        self,
        tx: Transaction,
        user_id: int,
        reason: str,
        *,
        only: Sequence[UUID] | None = None,
        except_id: UUID | None = None,
    ) -> tuple[Change, list[UUID]]:
        """End sessions, and take on what others have just ended of the same: the answer vouches for both."""
        ended = await queries.revoke(tx, reason, user_id=user_id, only=only, except_id=except_id)
        own = await self._entries.outbox.announce(tx, [_key(session_id) for session_id in ended])
        if only is not None:
            others = await self._entries.outbox.unsettled(tx, [_key(session_id) for session_id in only])
        else:
            others = await self._entries.outbox.unsettled(tx)
            theirs = await queries.of_user(tx, user_id, _ids(others.rows.values()))
            others = Change({row: key for row, key in others.rows.items() if key in {_key(each) for each in theirs}})
        return Change(own.rows | others.rows), ended

    # ---- looking --------------------------------------------------------------------------------------------------

    async def live_of(self, user_id: int, current: UUID | None) -> list[Session]:
        rows = await queries.live_of(self._db, user_id)
        return [Session(**row, current=row["id"] == current) for row in rows]


def _key(session_id: UUID) -> str:
    return f"{KIND}:{session_id}"


def _ids(keys: Iterable[str]) -> list[str]:
    return [key.removeprefix(f"{KIND}:") for key in keys if key.startswith(f"{KIND}:")]

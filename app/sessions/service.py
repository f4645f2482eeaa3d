"""The life of a session: opened, refreshed, ended."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from app.audit.events import Event, record
from app.cache.batch import Batch
from app.cache.entries import Entries
from app.cache.outbox import Change
from app.client import Client
from app.database import Database, Transaction
from app.devices import device_name as device_of
from app.errors import InvalidRefreshToken, NotFound, RefreshTokenReused, SessionRevoked, Unavailable
from app.sessions import queries
from app.sessions.structs import Session, SessionState, Tokens, session_key
from app.sessions.tokens import AccessTokens, RefreshTokens
from app.settings import Settings
from app.uuid7 import uuid7

Greet: TypeAlias = Callable[[Transaction, asyncpg.Record], Awaitable[None]]
First: TypeAlias = Callable[[Transaction], Awaitable[None]]
Reused: TypeAlias = Callable[[Transaction, int, Callable[[], Awaitable[bool]]], Awaitable[None]]
Rotated: TypeAlias = tuple[Mapping[queries.Rotation, SessionState], Mapping[UUID, queries.Standing]]

LISTED = 1000  # sessions: more devices than anybody looks through
KEPT = 10_000  # of an export: some 3 MB
SURPLUS = 5000  # sessions beyond a cap that one login ends, the oldest first: some 300 ms
PATIENCE = 2.0  # seconds that a refresh waits for somebody else who is changing its session
PAUSE = 0.02  # seconds between two looks meanwhile
ROTATIONS_A_STATEMENT = 200  # some milliseconds of PostgreSQL's time; those above it go with the next


class NobodyLetIn(Exception):
    """The gate let in nobody: what was done before it is undone."""


class Sessions:
    """The use cases of sessions. What ends one returns once no replica serves it any more (app/cache/outbox.py)."""

    def __init__(
        self,
        db: Database,
        entries: Entries,
        access: AccessTokens,
        refresh: RefreshTokens,
        settings: Settings,
        batch: Callable[..., Batch[Any, Any]] = Batch,
    ) -> None:
        self._db = db
        self._entries = entries
        self._access = access
        self._refresh = refresh
        self._settings = settings
        self._rotations = batch(self._rotate, most=ROTATIONS_A_STATEMENT)

    async def stop(self) -> None:
        await self._rotations.stop()

    # ---- opening --------------------------------------------------------------------------------------------------

    async def open(
        self,
        gate: queries.Gate,
        client: Client,
        *,
        device_name: str | None,
        amr: list[str],
        greet: Greet | None = None,
        first: First | None = None,
        auth_time: int | None = None,
        by_cookie: bool = False,
    ) -> tuple[SessionState, asyncpg.Record] | None:
        """A new session for whom the gate lets in, and the gate's row; None if it lets in nobody.

        Beyond SESSIONS_PER_USER the oldest session of the user goes, and beyond queries.MOST in any case.

        `greet` is called in the same transaction if the user has had sessions, and none on a device of this name;
        `first` comes before all else in it, and may raise. What it does is undone if nobody is let in.
        """
        device_name = device_name or device_of(client.user_agent)
        open_on = partial(
            queries.open_behind,
            gate,
            session_id=uuid7(),
            client=client,
            device_name=device_name,
            amr=amr,
            auth_time=auth_time,
            by_cookie=by_cookie,
            lifetime_days=self._settings.refresh_token_expire_days,
        )
        cap = self._settings.sessions_per_user
        if not cap and greet is None and first is None:
            opened = await open_on(self._db)
            if opened is not None:
                await self._thin_out(*opened, client)
            return opened
        try:
            async with self._db.transaction() as tx:
                if first is not None:
                    await first(tx)
                session, row = _let_in(await open_on(tx))
                if greet is not None and await queries.is_new_device(tx, session, device_name):
                    await greet(tx, row)
                change = await self._end_surplus(tx, session.user_id, cap, client)
        except NobodyLetIn:
            return None
        await self._entries.outbox.settle(change)
        await self._thin_out(session, row, client)
        return session, row

    async def _thin_out(self, session: SessionState, row: asyncpg.Record, client: Client) -> None:
        """End the oldest of a user who has more sessions than could be ended at once, were he to be shut out."""
        if row["crowded"]:
            async with self._db.transaction() as tx:
                change = await self._end_surplus(tx, session.user_id, queries.MOST, client)
            await self._entries.outbox.settle(change)

    async def _end_surplus(self, tx: Transaction, user_id: int, cap: int, client: Client) -> Change:
        if not cap:
            return Change({})
        surplus = (await queries.surplus(tx, user_id, cap))[-SURPLUS:]
        change, _ = await self.revoke_in(tx, user_id, "sessions_per_user", user_id, client, only=surplus)
        return change

    async def add_ways(self, tx: Transaction, session_id: UUID, amr: list[str]) -> Change:
        """The user has shown who he is in these ways as well; the caller settles the change after its commit."""
        await queries.add_ways(tx, session_id, amr)
        return await self._entries.outbox.announce(tx, [session_key(session_id)])

    async def reauthenticate(
        self,
        tx: Transaction,
        session_id: UUID,
        user_id: int,
        amr: list[str],
        client: Client,
        *,
        beside_others: bool = False,
    ) -> tuple[Change, SessionState]:
        """The user has just shown again, in these ways, who he is; the caller settles the change after its commit.

        `beside_others` if that comes to the ways in which he has shown it before, and does not take their place.

        Raises:
            SessionRevoked: the session has ended meanwhile.
        """
        session = await queries.reauthenticate(tx, session_id, user_id, amr, beside_others=beside_others)
        if session is None:
            raise SessionRevoked
        change = await self._entries.outbox.announce(tx, [session_key(session_id)])
        details = {"amr": amr, "reauthentication": True}
        await record(
            tx,
            Event.LOGIN_SUCCEEDED,
            client,
            user_id=user_id,
            actor_id=user_id,
            session_ids=[session_id],
            details=details,
        )
        return change, session

    def tokens(self, session: SessionState, roles: list[str]) -> Tokens:
        """The tokens of a session as it stands."""
        access_token, lifetime = self._access.issue(session, roles)
        return Tokens(
            access_token=access_token,
            refresh_token=self._refresh.issue(session.session_id, session.generation),
            expires_in=lifetime,
            refresh_expires_in=int(session.seconds_left),
            session_id=session.session_id,
        )

    # ---- refreshing -----------------------------------------------------------------------------------------------

    async def rotate(self, refresh_token: str, client: Client, reused: Reused) -> tuple[SessionState, str]:
        """The session at the successor of this token, which was made now (`rotated`) or given again (`grace`).

        `reused` is called because of an old token, in a transaction, with the user's id and what ends the session and
        tells whether it was live; it holds the user first, as everybody does who changes his sessions and more.

        Raises:
            InvalidRefreshToken: not one of ours, or its session has ended.
            RefreshTokenReused: an old token; its session has been ended.
            Unavailable: somebody else is changing the session, and does not come to an end.
        """
        token = self._refresh.read(refresh_token)
        rotation = queries.Rotation(token.session_id, token.generation, client)
        until = time.monotonic() + PATIENCE
        while True:
            rotated, others = await self._rotations.get((rotation,))
            if rotation in rotated:
                return rotated[rotation], "rotated"
            found = others.get(token.session_id)
            if found is None or not found.live or token.generation > found.session.generation:
                await self._vouch_for_the_end(token.session_id)
                raise InvalidRefreshToken
            if token.generation < found.session.generation:
                break
            if time.monotonic() >= until:
                raise Unavailable
            await asyncio.sleep(PAUSE)  # somebody else is changing the session; no connection is held meanwhile
        if found.in_grace and token.generation == found.session.generation - 1:
            return found.session, "grace"
        await self._end_family(found.session, token.generation, client, reused)
        raise RefreshTokenReused

    async def _rotate(self, rotations: Sequence[queries.Rotation]) -> Rotated:
        """The rotations of a moment; why one was not made is looked for in a second statement (C9)."""
        rotated = await queries.rotate(self._db, rotations)
        refused = {rotation.session_id for rotation in rotations if rotation not in rotated}
        standings = await queries.standings(self._db, refused, self._settings.refresh_grace_seconds) if refused else {}
        return rotated, standings

    async def _vouch_for_the_end(self, session_id: UUID) -> None:
        await self._entries.outbox.settle(await self._entries.outbox.unsettled(self._db, [session_key(session_id)]))

    async def _end_family(self, session: SessionState, generation: int, client: Client, reused: Reused) -> None:
        change = Change({})

        async def end() -> bool:
            nonlocal change
            change, ended = await self._end(tx, session.user_id, "refresh_token_reused", only=[session.session_id])
            if ended:
                await record(
                    tx,
                    Event.TOKEN_REUSE_DETECTED,
                    client,
                    user_id=session.user_id,
                    session_ids=ended,
                    details={"presented_generation": generation, "current_generation": session.generation},
                )
            return bool(ended)

        async with self._db.transaction() as tx:
            await reused(tx, session.user_id, end)
        await self._entries.outbox.settle(change)

    # ---- ending ---------------------------------------------------------------------------------------------------

    async def log_out(
        self, user_id: int, client: Client, *, session_id: UUID | None = None, except_id: UUID | None = None
    ) -> None:
        """End a session of a user, or all, or all but one, at his own wish; ended already is as good."""
        only = None if session_id is None else [session_id]
        async with self._db.transaction() as tx:
            change, ended = await self._end(tx, user_id, "logout", only=only, except_id=except_id)
            if ended:
                await record(tx, Event.LOGOUT, client, user_id=user_id, actor_id=user_id, session_ids=ended)
        await self._entries.outbox.settle(change)

    async def log_out_with(self, refresh_token: str, client: Client) -> None:
        """End the session of a refresh token, of any generation, so that an expired access token can sign out.

        Raises:
            InvalidRefreshToken: not one of ours, or there is no such session.
        """
        session = await self.session_of(refresh_token)
        await self.log_out(session.user_id, client, session_id=session.session_id)

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

    async def revoke_by_client(self, user_id: int, session_id: UUID, client_id: str, client: Client) -> None:
        """End a session of a user at the wish of another service, a client; ended already is as good."""
        async with self._db.transaction() as tx:
            change, _ = await self.revoke_in(
                tx, user_id, "revoked_by_client", None, client, only=[session_id], details={"client_id": client_id}
            )
        await self._entries.outbox.settle(change)

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
        details: Mapping[str, object] | None = None,
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
                details={"reason": reason, **(details or {})},
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
        own = await self._entries.outbox.announce(tx, [session_key(session_id) for session_id in ended])
        if only is not None:
            others = await self._entries.outbox.unsettled(tx, [session_key(session_id) for session_id in only])
            return Change(own.rows | others.rows), ended
        others = await self._entries.outbox.unsettled(tx)
        strange = {row: key for row, key in others.rows.items() if row not in own.rows}
        theirs = {session_key(each) for each in await queries.of_user(tx, user_id)} if strange else set()
        return Change(own.rows | {row: key for row, key in strange.items() if key in theirs}), ended

    # ---- looking --------------------------------------------------------------------------------------------------

    async def session_of(self, refresh_token: str) -> SessionState:
        """The session of a refresh token of any generation, dead or alive.

        Raises:
            InvalidRefreshToken: not one of ours, or there is no such session.
        """
        token = self._refresh.read(refresh_token)
        return (await self._standing(token.session_id)).session

    async def refreshable(self, refresh_token: str) -> queries.Standing:
        """The session of a refresh token that the next refresh would go on with: the present one, or in the grace.

        Raises:
            InvalidRefreshToken: any other; it has no consequence here.
        """
        token = self._refresh.read(refresh_token)
        standing = await self._standing(token.session_id)
        behind = standing.session.generation - token.generation
        if not standing.live or not (behind == 0 or (behind == 1 and standing.in_grace)):
            raise InvalidRefreshToken
        return standing

    async def _standing(self, session_id: UUID) -> queries.Standing:
        found = await queries.standings(self._db, [session_id], self._settings.refresh_grace_seconds)
        if session_id not in found:
            raise InvalidRefreshToken
        return found[session_id]

    async def live_of(self, user_id: int, current: UUID | None) -> list[Session]:
        rows = await queries.sessions_of(self._db, user_id, only_live=True, most=LISTED)
        return [Session(**row, current=row["id"] == current) for row in rows]

    async def kept_of(self, user_id: int) -> list[Session]:
        """The ended ones too, as long as they are kept."""
        rows = await queries.sessions_of(self._db, user_id, only_live=False, most=KEPT)
        return [Session(**row, current=False) for row in rows]


def _let_in(opened: tuple[SessionState, asyncpg.Record] | None) -> tuple[SessionState, asyncpg.Record]:
    if opened is None:
        raise NobodyLetIn
    return opened

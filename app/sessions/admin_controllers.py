"""Administration of sessions; a module of its own, because the list reads with SQLAlchemy."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, PathParameter
from litestar.status_codes import HTTP_200_OK, HTTP_204_NO_CONTENT
from msgspec import Meta, Struct

from app.asked import NetworkText
from app.client import Client
from app.errors import NotFound, UseCursor
from app.listing import Asked, CursorText, PageNumber, PageSize
from app.problems import convert
from app.sessions.caller import Caller, Judge, requires
from app.sessions.ending import Ended, Ending
from app.sessions.filters import AfterText, BeforeText, Device, OwnerId, SessionFilter, Shown
from app.sessions.listing import SessionDirectory, SessionPage, SessionSort
from app.sessions.service import Sessions
from app.sessions.structs import SessionList

READ = [requires("sessions:read")]
REVOKE = [requires("sessions:revoke")]

Owner = Annotated[OwnerId, PathParameter(ge=1, le=2**63 - 1)]  # Litestar minds no bounds but its own
Sort = Annotated[
    SessionSort, Meta(description="With `-` in front: downwards. By `last_accessed` only together with `user_id`.")
]
Active = Annotated[bool, Meta(description="`false`: those that have ended.")]


class Revoked(Struct, frozen=True):
    revoked: int


class RevokeSessions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    filter: Annotated[SessionFilter, Meta(description="At least one word; for all sessions, `created_before` now.")]
    dry_run: Annotated[bool, Meta(description="Only say how many there are.")] = False


class SessionsController(Controller):
    tags = ("sessions",)
    path = "/sessions"

    @get(guards=READ, summary="List sessions", errors=(UseCursor,))
    async def list_sessions(
        self,
        caller: Caller,
        session_directory: NamedDependency[SessionDirectory],
        user_id: FromQuery[OwnerId | None] = None,
        ip: FromQuery[NetworkText | None] = None,
        device: FromQuery[Device | None] = None,
        created_before: FromQuery[BeforeText | None] = None,
        created_after: FromQuery[AfterText | None] = None,
        factor: FromQuery[Shown | None] = None,
        active: FromQuery[Active] = True,  # noqa: FBT002 - a query parameter
        sort: FromQuery[Sort] = "-created_at",
        page: FromQuery[PageNumber] = 1,
        page_size: FromQuery[PageSize] = 50,
        cursor: FromQuery[CursorText | None] = None,
    ) -> SessionPage:
        """`analytics` are over all sessions, whatever the filters; `by_device` counts the live ones.

        A family is told by the user agent: Bot (crawlers and programs), then Tablet, Mobile, Desktop, and Other.
        They are counted at this moment while there are few sessions (20,000), else now and then: `as_of` says when.
        `total` is exact to 10,000, beyond that an estimate.
        """
        words = {
            "user_id": user_id,
            "ip": ip,
            "device": device,
            "created_before": created_before,
            "created_after": created_after,
            "factor": factor,
        }
        wanted = convert(words, SessionFilter)
        asked = convert({"page": page, "page_size": page_size, "cursor": cursor}, Asked)
        return await session_directory.page(wanted, sort, asked, caller.session_id, active=active)

    @post("/revoke", guards=REVOKE, status_code=HTTP_200_OK, summary="End sessions by what they have in common")
    async def revoke_sessions(
        self,
        data: JSONBody[RevokeSessions],
        caller: Caller,
        judge: NamedDependency[Judge],
        client: NamedDependency[Client],
        ending: NamedDependency[Ending],
    ) -> Ended:
        """The live sessions that fit all of the filter, whosever they are, the caller's own among them.

        Once this is answered no replica serves one of them. A call works for some ten seconds: where `revoked` is less
        than `matched`, call again. Who loses the right meanwhile ends nothing more.
        """
        return await ending.end(
            data.filter,
            caller.user_id,
            client,
            judge=judge,
            session_id=caller.session_id,
            dry_run=data.dry_run,
        )

    @get("/{user_id:int}", guards=REVOKE, summary="A user's sessions", errors=(NotFound,))
    async def read_sessions_of(
        self, user_id: Owner, caller: Caller, session_directory: NamedDependency[SessionDirectory]
    ) -> SessionList:
        """The live ones, newest first."""
        return await session_directory.live_of(user_id, caller.session_id)

    @delete(
        "/{user_id:int}",
        guards=REVOKE,
        status_code=HTTP_200_OK,
        summary="End a user's sessions",
        errors=(NotFound,),
    )
    async def revoke_sessions_of(
        self,
        user_id: Owner,
        caller: Caller,
        client: NamedDependency[Client],
        sessions: NamedDependency[Sessions],
        session_directory: NamedDependency[SessionDirectory],
    ) -> Revoked:
        """Whoever the user is: signing somebody out takes no right away, so it needs none of theirs."""
        revoked = await sessions.revoke_all(user_id, caller.user_id, client)
        if not revoked:
            await session_directory.require(user_id)
        return Revoked(revoked)

    @delete(
        "/{user_id:int}/{session_id:uuid}",
        guards=REVOKE,
        status_code=HTTP_204_NO_CONTENT,
        summary="End a user's session",
        errors=(NotFound,),
    )
    async def revoke_session(
        self,
        user_id: Owner,
        session_id: FromPath[UUID],
        caller: Caller,
        client: NamedDependency[Client],
        sessions: NamedDependency[Sessions],
    ) -> None:
        """Whoever the user is, as with all of them."""
        await sessions.revoke_one(user_id, session_id, caller.user_id, client)

"""Administration of accounts; a module of its own, because the list reads with SQLAlchemy."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, MediaType, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, PathParameter
from litestar.status_codes import HTTP_202_ACCEPTED, HTTP_204_NO_CONTENT
from msgspec import Meta

from app.client import Client
from app.errors import (
    Conflict,
    EmailTaken,
    LastAdmin,
    NotFound,
    Overloaded,
    ReauthenticationRequired,
    Unavailable,
    UseCursor,
    UsernameTaken,
    WeakPassword,
)
from app.identity.administration import Administration
from app.identity.assistance import Assistance
from app.identity.holdings import Holdings, UserCredentials
from app.identity.listing import Search, UserFilter, UserList, UserSort
from app.identity.structs import NewUser, RoleName, User, UserChange, UserId, UserPage
from app.listing import Asked, CursorText, PageNumber, PageSize
from app.problems import convert
from app.sessions.caller import Caller, requires

READ = [requires("users:read")]
WRITE = [requires("users:write")]

IsActive = Annotated[bool, Meta(description="Only who may sign in, or only who may not.")]
IsAdmin = Annotated[bool, Meta(description="Only administrators, or only others.")]
HeldRole = Annotated[RoleName, Meta(description="Only who has this role.")]
Sort = Annotated[UserSort, Meta(description="With `-` in front: downwards.")]
Id = Annotated[UserId, PathParameter(ge=1, le=2**63 - 1)]  # Litestar minds no bounds but its own


class UsersController(Controller):
    tags = ("users",)
    path = "/users"

    @get(guards=READ, summary="List users", errors=(UseCursor,))
    async def list_users(
        self,
        user_list: NamedDependency[UserList],
        search: FromQuery[Search | None] = None,
        is_active: FromQuery[IsActive | None] = None,
        is_admin: FromQuery[IsAdmin | None] = None,
        role: FromQuery[HeldRole | None] = None,
        sort: FromQuery[Sort] = "-created_at",
        page: FromQuery[PageNumber] = 1,
        page_size: FromQuery[PageSize] = 50,
        cursor: FromQuery[CursorText | None] = None,
    ) -> UserPage:
        """Who has no value to sort by is before all others. `total` is exact to 10,000, beyond that an estimate."""
        wanted = {"search": search, "is_active": is_active, "is_admin": is_admin, "role": role}
        asked = {"page": page, "page_size": page_size, "cursor": cursor}
        return await user_list.page(convert(wanted, UserFilter), sort, convert(asked, Asked))

    @post(
        guards=WRITE,
        summary="Create a user",
        errors=(UsernameTaken, EmailTaken, WeakPassword, Overloaded, Unavailable),
    )
    async def create_user(
        self,
        data: JSONBody[NewUser],
        caller: Caller,
        client: NamedDependency[Client],
        administration: NamedDependency[Administration],
    ) -> User:
        """With a password, it has to be changed at the first sign-in unless said otherwise.

        Without one, who has an address is mailed an invitation to set one, good for seven days.

        The roles may allow nothing that the caller may not do; `is_admin` is the role `admin`.
        """
        return await administration.create_user(caller, data, client)

    @get("/{user_id:int}", guards=READ, summary="A user", errors=(NotFound,))
    async def read_user(self, user_id: Id, administration: NamedDependency[Administration]) -> User:
        """As PostgreSQL has him now."""
        return await administration.read_user(user_id)

    @get(
        "/{user_id:int}/credentials",
        guards=READ,
        operation_id="user_credentials",
        summary="How a user signs in",
        errors=(NotFound,),
    )
    async def credentials(self, user_id: Id, holdings: NamedDependency[Holdings]) -> UserCredentials:
        """His second factor, passkeys and identities, but for every secret."""
        return await holdings.credentials(user_id)

    @patch(
        "/{user_id:int}",
        guards=WRITE,
        summary="Change a user",
        errors=(NotFound, EmailTaken, LastAdmin, WeakPassword, Overloaded, Conflict),
    )
    async def change_user(
        self,
        user_id: Id,
        data: JSONBody[UserChange],
        caller: Caller,
        client: NamedDependency[Client],
        administration: NamedDependency[Administration],
    ) -> User:
        """What is not named stays. A new password, or `is_active: false`, ends every session of the user.

        A user who may do more than the caller cannot be changed. A new address counts as not verified. A password that
        GPUStack keeps is changed there, and who has none cannot be made to change it (409).
        """
        return await administration.change_user(caller, user_id, data, client)

    @post(
        "/{user_id:int}/password-reset",
        guards=WRITE,
        status_code=HTTP_202_ACCEPTED,
        media_type=MediaType.TEXT,  # nothing in it; as JSON it would be `null`
        summary="Mail a reset link",
        errors=(NotFound, Conflict, Unavailable),
    )
    async def send_reset(
        self,
        user_id: Id,
        caller: Caller,
        client: NamedDependency[Client],
        assistance: NamedDependency[Assistance],
    ) -> None:
        """Good for an hour. 409 for who has no address, is not active, or signs in by another service."""
        await assistance.send_reset(caller, user_id, client)

    @delete(
        "/{user_id:int}/mfa",
        guards=WRITE,
        status_code=HTTP_204_NO_CONTENT,
        operation_id="reset_user_factors",
        summary="Take away a user's second factors",
        errors=(NotFound, ReauthenticationRequired),
    )
    async def reset_factors(
        self,
        user_id: Id,
        caller: Caller,
        client: NamedDependency[Client],
        assistance: NamedDependency[Assistance],
    ) -> None:
        """For somebody who has lost them; he is signed out and told by mail. Needs a login of the last ten minutes."""
        await assistance.reset_factors(caller, user_id, client)

    @delete(
        "/{user_id:int}/identities/{identity_id:uuid}",
        guards=WRITE,
        status_code=HTTP_204_NO_CONTENT,
        operation_id="unlink_user_identity",
        summary="Unlink an identity of a user",
        errors=(NotFound, Conflict, ReauthenticationRequired),
    )
    async def unlink_identity(
        self,
        user_id: Id,
        identity_id: FromPath[UUID],
        caller: Caller,
        client: NamedDependency[Client],
        assistance: NamedDependency[Assistance],
    ) -> None:
        """He is signed out and told by mail. Needs a login of the last ten minutes."""
        await assistance.unlink_identity(caller, user_id, identity_id, client)

    @delete(
        "/{user_id:int}",
        guards=WRITE,
        status_code=HTTP_204_NO_CONTENT,
        summary="Delete a user",
        errors=(NotFound, LastAdmin, ReauthenticationRequired),
    )
    async def delete_user(
        self,
        user_id: Id,
        caller: Caller,
        client: NamedDependency[Client],
        administration: NamedDependency[Administration],
    ) -> None:
        """With all sessions and preferences; the audit keeps the bare id. Ids are never used again."""
        await administration.delete_user(caller, user_id, client)

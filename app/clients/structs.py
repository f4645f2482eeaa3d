"""What the wire and the command line see of clients, and of the tokens that they ask about."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType


class RegisteredClient(Struct, frozen=True, kw_only=True):
    client_id: str
    name: str
    created_at: datetime


class NewClient(Struct, frozen=True, kw_only=True):
    """Shown once: the secret is stored nowhere."""

    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        return f"NewClient(client_id={self.client_id!r}, client_secret=...)"


class TokenForm(Struct, frozen=True, kw_only=True):
    """A token to be looked at or ended. What else a client sends has no meaning here (RFC 6749 §3.2)."""

    token: Annotated[str, Meta(min_length=1, description="An access token or a refresh token.")]
    token_type_hint: (
        Annotated[str, Meta(description="May be there and changes nothing: a token shows which kind it is.")]
        | UnsetType
    ) = UNSET
    client_id: Annotated[str, Meta(description="Here, or by HTTP Basic.")] | UnsetType = UNSET
    client_secret: Annotated[str, Meta(description="Here, or by HTTP Basic; never both.")] | UnsetType = UNSET

    def __repr__(self) -> str:
        return "TokenForm(...)"


class Inactive(Struct, frozen=True):
    """Not one of ours, expired, or of somebody who is not served (any more): none can be told from the answer."""

    active: Annotated[bool, Meta(extra_json_schema={"const": False})]


class ActiveAccessToken(Struct, frozen=True, kw_only=True):
    """RFC 7662 §2.2, and the claims of RFC 9068."""

    active: Annotated[bool, Meta(extra_json_schema={"const": True})]
    token_type: Annotated[str, Meta(extra_json_schema={"const": "bearer"})]
    iss: str
    aud: str
    sub: Annotated[str, Meta(description="The user's id.")]
    username: str
    sid: Annotated[UUID, Meta(description="The session's id.")]
    jti: str
    iat: int
    nbf: int
    exp: int
    auth_time: Annotated[int, Meta(description="When the user last showed who he is.")]
    amr: list[str]
    roles: Annotated[list[str], Meta(description="As they are now, whatever the token says.")]
    permissions: Annotated[list[str], Meta(description="What the roles allow together, now.")]


class ActiveRefreshToken(Struct, frozen=True, kw_only=True):
    """Good at `/refresh` and for nothing else: it has no rights, and its `token_type` is that of RFC 8693 §2.2.1."""

    active: Annotated[bool, Meta(extra_json_schema={"const": True})]
    token_type: Annotated[str, Meta(extra_json_schema={"const": "N_A"}, description="It is no access token.")]
    iss: str
    aud: Annotated[str, Meta(description="This service, which alone takes it.")]
    sub: Annotated[str, Meta(description="The user's id.")]
    username: str
    sid: Annotated[UUID, Meta(description="The session's id.")]
    exp: Annotated[int, Meta(description="When the session ends at the latest.")]
    auth_time: Annotated[int, Meta(description="When the user last showed who he is.")]
    amr: list[str]

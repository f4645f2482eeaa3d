"""What a provider says of somebody, and what we remember of a browser that we have sent there."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

MAX_SUBJECT = 255  # characters (OpenID Connect Core 1.0 §2)


class Assertion(Struct, frozen=True, kw_only=True):
    """Whom an issuer knows. Name and address are what it says, as far as they can be kept."""

    provider: str
    issuer: str
    subject: str
    username: str | None
    full_name: str | None
    email: str | None  # in the form that addresses are compared in
    email_verified: bool
    several_factors: bool  # `mfa` of RFC 8176
    auth_time: int | None  # seconds since 1970: when the issuer last asked who is there


class Flow(Struct, frozen=True, kw_only=True):
    """A sign-in on its way to a provider and back: sealed, in a cookie of the browser that began it."""

    id: UUID
    provider: str
    state: str
    nonce: str
    verifier: str  # ours for the provider (RFC 7636)
    redirect_to: str
    code_challenge: str  # the application's, for the exchange
    fresh: bool  # the provider was told to ask who is there
    expires_at: int  # seconds since 1970


class ProviderItem(Struct, frozen=True, kw_only=True):
    name: str
    kind: Literal["oidc", "oauth2", "gpustack"]
    label: Annotated[str, Meta(description="For a button.")]


class ProviderList(Struct, frozen=True):
    items: list[ProviderItem]

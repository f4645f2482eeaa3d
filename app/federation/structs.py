"""What a provider says of somebody, and what we remember of a browser that we have sent there."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

FLOW_SECONDS = 600  # to sign in at the provider
MAX_TEXT = 255  # characters of a name or an address
MAX_SUBJECT = 255  # characters (OpenID Connect Core 1.0 §2)


class Assertion(Struct, frozen=True, kw_only=True):
    """Whom an issuer knows. Names and address are what it says, as far as they are text that prints."""

    provider: str
    issuer: str
    subject: str
    username: str | None
    full_name: str | None
    email: str | None
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
    began_at: int  # seconds since 1970


class ProviderItem(Struct, frozen=True, kw_only=True):
    name: str
    kind: Literal["oidc", "oauth2", "gpustack"]
    label: Annotated[str, Meta(description="For a button.")]


class ProviderList(Struct, frozen=True):
    items: list[ProviderItem]


def said(value: object) -> str | None:
    """A text that can be kept and shown; nothing for anything else."""
    return value if isinstance(value, str) and 0 < len(value) <= MAX_TEXT and value.isprintable() else None

"""The tables of identities and of sign-ins under way."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import Mapped, mapped_column

from app.models import Model, Time


class Identity(Model):
    """Whom somebody else knows as whom: by issuer and subject, never by a name or an address."""

    __tablename__ = "identities"

    id: Mapped[UUID] = mapped_column(PG_UUID(as_uuid=True), primary_key=True)  # UUIDv7, made by the service
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"))
    provider: Mapped[str]  # its name in the settings when this was linked
    issuer: Mapped[str]
    subject: Mapped[str]
    username: Mapped[str | None]  # what the issuer last called him, for people to read
    email: Mapped[str | None]  # the same
    created_at: Mapped[datetime] = mapped_column(Time, server_default=func.clock_timestamp())
    last_used_at: Mapped[datetime | None] = mapped_column(Time)

    __table_args__ = (
        Index("identities_subject_key", "issuer", "subject", unique=True),
        Index("identities_user_id_idx", "user_id"),
    )


class SignIn(Model):
    """A browser that came back from a provider; kept until its state would have expired, so that it comes once."""

    __tablename__ = "sign_ins"

    id: Mapped[UUID] = mapped_column(PG_UUID(as_uuid=True), primary_key=True)  # of the state
    code_challenge: Mapped[str]  # of the application (RFC 7636): who has its verifier exchanges the code
    assertion: Mapped[object | None] = mapped_column(JSONB)  # who it is, until that is exchanged
    exchange_until: Mapped[datetime | None] = mapped_column(Time)
    expires_at: Mapped[datetime] = mapped_column(Time)

    __table_args__ = (Index("sign_ins_expires_at_idx", "expires_at"),)

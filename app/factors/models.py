"""The tables of factors."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, func, text
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, TEXT
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import Mapped, mapped_column

from app.models import Model, Time


class TotpSecret(Model):
    """A user's secret for one-time codes (RFC 6238), sealed under a key derived from SECRET_KEY."""

    __tablename__ = "totp_secrets"

    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    sealed_secret: Mapped[bytes] = mapped_column(BYTEA)
    last_step: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))  # of the last code that was used
    created_at: Mapped[datetime] = mapped_column(Time, server_default=func.clock_timestamp())
    confirmed_at: Mapped[datetime | None] = mapped_column(Time)  # until then it is not asked for


class RecoveryCode(Model):
    """A code that was not used yet: SHA-256 of it and its user (app/factors/recovery_codes.py)."""

    __tablename__ = "recovery_codes"

    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    digest: Mapped[bytes] = mapped_column(BYTEA, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(Time, server_default=func.clock_timestamp())


class PendingLogin(Model):
    """A login whose password was right and whose second factor is due. Its token is made of the id and SECRET_KEY."""

    __tablename__ = "pending_logins"

    id: Mapped[UUID] = mapped_column(PG_UUID(as_uuid=True), primary_key=True)  # UUIDv7, made by the service
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"))
    # what was shown in the first step, and with which it is void: SHA-256 of the password's hash, or an identity
    password_digest: Mapped[bytes | None] = mapped_column(BYTEA)
    identity_id: Mapped[UUID | None] = mapped_column(
        PG_UUID(as_uuid=True), ForeignKey("identities.id", ondelete="CASCADE")
    )
    amr: Mapped[list[str]] = mapped_column(ARRAY(TEXT), server_default=text("'{pwd}'"))
    device_name: Mapped[str | None]
    tries: Mapped[int] = mapped_column(server_default=text("0"))
    expires_at: Mapped[datetime] = mapped_column(Time)

    __table_args__ = (
        Index("pending_logins_user_id_idx", "user_id"),
        Index("pending_logins_expires_at_idx", "expires_at"),
        Index("pending_logins_identity_id_idx", "identity_id", postgresql_where=text("identity_id IS NOT NULL")),
    )


class Passkey(Model):
    """A WebAuthn credential: the public half, which proves nothing to who reads it."""

    __tablename__ = "passkeys"

    id: Mapped[UUID] = mapped_column(PG_UUID(as_uuid=True), primary_key=True)  # UUIDv7, made by the service
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"))
    credential_id: Mapped[bytes] = mapped_column(BYTEA)
    public_key: Mapped[bytes] = mapped_column(BYTEA)  # COSE (RFC 9052)
    sign_count: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str]
    transports: Mapped[list[str]] = mapped_column(ARRAY(TEXT))
    backed_up: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(Time, server_default=func.clock_timestamp())
    last_used_at: Mapped[datetime | None] = mapped_column(Time)

    __table_args__ = (
        Index("passkeys_credential_id_key", "credential_id", unique=True),
        Index("passkeys_user_id_idx", "user_id"),
    )


class SpentChallenge(Model):
    """A WebAuthn challenge that was answered, kept until it expires: it is answered once."""

    __tablename__ = "spent_challenges"

    id: Mapped[UUID] = mapped_column(PG_UUID(as_uuid=True), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(Time)

    __table_args__ = (Index("spent_challenges_expires_at_idx", "expires_at"),)

"""The table of one-time tokens."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, func
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import Mapped, mapped_column

from app.models import Model, Time


class OneTimeToken(Model):
    """A token that was mailed and not used yet. What is mailed is made of the id and SECRET_KEY, and is not stored."""

    __tablename__ = "one_time_tokens"

    id: Mapped[UUID] = mapped_column(PG_UUID(as_uuid=True), primary_key=True)  # UUIDv7, made by the service
    purpose: Mapped[str]
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"))
    email: Mapped[str]  # where it was sent: what its use proves
    created_at: Mapped[datetime] = mapped_column(Time, server_default=func.clock_timestamp())
    expires_at: Mapped[datetime] = mapped_column(Time)

    __table_args__ = (
        Index("one_time_tokens_user_id_idx", "user_id", "purpose"),
        Index("one_time_tokens_expires_at_idx", "expires_at"),
    )

"""The table of mail that waits to be sent."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, func, text
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import Mapped, mapped_column

from app.models import Model, Time


class MailOutbox(Model):
    """A letter or an errand that waits to be sent; gone once it is, so that nothing of a mail is kept.

    No foreign key: the notice of a deletion outlives the user. No token either: links are made when the letter is sent.
    """

    __tablename__ = "mail_outbox"

    id: Mapped[UUID] = mapped_column(PG_UUID(as_uuid=True), primary_key=True)  # UUIDv7, made by the service
    kind: Mapped[str]
    recipient: Mapped[str]
    user_id: Mapped[int | None] = mapped_column(BigInteger)
    language: Mapped[str | None]  # the user's when it was written: a deleted user has none any more
    context: Mapped[object] = mapped_column(JSON)
    links: Mapped[object] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(Time, server_default=func.now())
    due_at: Mapped[datetime] = mapped_column(Time, server_default=func.now())  # or, while it is sent, its lease's end
    expires_at: Mapped[datetime | None] = mapped_column(Time)
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    last_error: Mapped[str | None]

    __table_args__ = (Index("mail_outbox_due_at_idx", "due_at"), Index("mail_outbox_user_id_idx", "user_id"))

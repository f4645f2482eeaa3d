"""The table of clients."""

from datetime import datetime

from sqlalchemy import Index, func
from sqlalchemy.dialects.postgresql import BYTEA
from sqlalchemy.orm import Mapped, mapped_column

from app.models import Model, Time


class Client(Model):
    """Who may ask about tokens. The secret is 256 random bits, so that SHA-256 of it is as good as any hash."""

    __tablename__ = "clients"

    id: Mapped[str] = mapped_column(primary_key=True)  # `client_id`
    name: Mapped[str]
    secret_digest: Mapped[bytes] = mapped_column(BYTEA)
    created_at: Mapped[datetime] = mapped_column(Time, server_default=func.clock_timestamp())

    __table_args__ = (Index("clients_name_key", "name", unique=True),)

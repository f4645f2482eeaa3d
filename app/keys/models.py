"""The table of signing keys."""

from datetime import datetime

from sqlalchemy import LargeBinary, func
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.orm import Mapped, mapped_column

from app.models import Model, Time


class SigningKey(Model):
    """A key pair. The newest whose `signing_from` has come signs; older ones verify while a token of theirs lives."""

    __tablename__ = "signing_keys"

    kid: Mapped[str] = mapped_column(primary_key=True)
    algorithm: Mapped[str]
    public_jwk: Mapped[object] = mapped_column(JSON)
    private_key: Mapped[bytes] = mapped_column(LargeBinary)  # AES-256-GCM under a key derived from SECRET_KEY
    created_at: Mapped[datetime] = mapped_column(Time, server_default=func.now())
    signing_from: Mapped[datetime] = mapped_column(Time)

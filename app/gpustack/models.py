"""The tables of what is known of GPUStack's users beside their identities."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import Mapped, mapped_column

from app.models import Model, Time


class UpstreamUser(Model):
    """What a shadow needs to sign in while its instance is away, and what the instance said of it."""

    __tablename__ = "upstream_users"

    identity_id: Mapped[UUID] = mapped_column(
        PG_UUID(as_uuid=True), ForeignKey("identities.id", ondelete="CASCADE"), primary_key=True
    )
    password_hash: Mapped[str | None]  # of the password that the instance last took
    verified_at: Mapped[datetime | None] = mapped_column(Time)  # when it took it
    deactivated_there: Mapped[bool] = mapped_column(server_default=text("false"))  # so that it may come back


class UpstreamSync(Model):
    """When an instance's list of users was last read, by whichever replica, and what came of it."""

    __tablename__ = "upstream_syncs"

    issuer: Mapped[str] = mapped_column(primary_key=True)
    finished_at: Mapped[datetime] = mapped_column(Time)
    report: Mapped[object] = mapped_column(JSONB)

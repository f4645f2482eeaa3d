"""The table of audit events."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, Sequence, func, text
from sqlalchemy.dialects.postgresql import INET, JSONB
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import Mapped, mapped_column

from app.models import Model, Time


class Erasure(Model):
    """A deleted person whose traces in the audit are still to be blanked."""

    __tablename__ = "erasures"

    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(Time, server_default=func.clock_timestamp())


class AuditEvent(Model):
    """What happened; no foreign keys, for an event outlives whom it names.

    Partitioned by month, with a default partition, so that retention is a dropped partition and a month that nobody
    created cannot fail a login.
    """

    __tablename__ = "audit_events"

    id: Mapped[int] = mapped_column(
        BigInteger,
        Sequence("audit_events_id_seq"),
        primary_key=True,
        server_default=text("nextval('audit_events_id_seq')"),
    )
    at: Mapped[datetime] = mapped_column(Time, primary_key=True, server_default=func.clock_timestamp())
    event: Mapped[str]
    user_id: Mapped[int | None] = mapped_column(BigInteger)
    actor_id: Mapped[int | None] = mapped_column(BigInteger)
    session_id: Mapped[UUID | None] = mapped_column(PG_UUID(as_uuid=True))
    ip_address: Mapped[str | None] = mapped_column(INET)
    user_agent: Mapped[str | None]
    request_id: Mapped[str | None]
    details: Mapped[object] = mapped_column(JSONB, server_default=text("'{}'"))

    __table_args__ = (
        Index("audit_events_user_id_idx", "user_id", "id"),
        Index("audit_events_actor_id_idx", "actor_id", "id"),
        {"postgresql_partition_by": "RANGE (at)"},
    )

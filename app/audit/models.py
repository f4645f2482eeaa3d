"""The tables of audit events, of what is counted of them, and of what becomes of them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Sequence, func, text
from sqlalchemy.dialects.postgresql import BIT, INET, JSONB
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
        Index("audit_events_event_idx", "event", "id"),
        Index("audit_events_ip_address_idx", "ip_address", "id"),
        {"postgresql_partition_by": "RANGE (at)"},
    )


class AuditRetention(Model):
    """Days that nobody but the owner of the audit can take an event away before (`gatehouse migrate --grant`)."""

    __tablename__ = "audit_retention"

    singleton: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    days: Mapped[int] = mapped_column(server_default=text("400"))

    __table_args__ = (CheckConstraint("singleton", "singleton"),)


class ActivityProgress(Model):
    """How far the audit has been counted: every event up to this id, and all that had happened by this time."""

    __tablename__ = "activity_progress"

    singleton: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    folded: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    as_of: Mapped[datetime | None] = mapped_column(Time)

    __table_args__ = (CheckConstraint("singleton", "singleton"),)


class ActivityCount(Model):
    """How often something happened in a quarter of an hour; `reason` is why a login failed."""

    __tablename__ = "activity_counts"

    slot: Mapped[datetime] = mapped_column(Time, primary_key=True)
    event: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)


class ActivitySlot(Model):
    """Of 15, 60 or 1440 minutes of UTC: the ids of events, and who was active, a bit each (app/audit/bitmaps.py).

    Any stretch of time is put together of few of them.
    """

    __tablename__ = "activity_slots"

    minutes: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    slot: Mapped[datetime] = mapped_column(Time, primary_key=True)
    first_id: Mapped[int] = mapped_column(BigInteger)
    last_id: Mapped[int] = mapped_column(BigInteger)
    users: Mapped[object | None] = mapped_column(BIT(131072))
    sessions: Mapped[object | None] = mapped_column(BIT(131072))

    __table_args__ = ({"postgresql_with": {"toast_tuple_target": 128}},)  # bytes, the least: the two are kept apart

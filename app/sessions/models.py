"""The table of sessions."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, func, text
from sqlalchemy.dialects.postgresql import ARRAY, INET, JSON, TEXT
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import Mapped, mapped_column

from app.models import Model, Time
from app.sessions.amr import STANDING_OUT


class Session(Model):
    """One sign-in on one device; tokens are functions of this row and are stored nowhere.

    No index covers what a look or every refresh changes (generation, rotated_at, last_accessed), so those updates stay
    heap-only (PostgreSQL HOT); a refresh from another address, or by another version of a browser, is not.

    Revoked sessions and all others have indexes of their own, for a list is of the ones or of the others; but a device
    is looked for among the names that all of them have.
    """

    __tablename__ = "sessions"

    id: Mapped[UUID] = mapped_column(PG_UUID(as_uuid=True), primary_key=True)  # UUIDv7, made by the service
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"))
    generation: Mapped[int] = mapped_column(Integer, server_default=text("0"))  # refreshes so far
    rotated_at: Mapped[datetime | None] = mapped_column(Time)
    created_at: Mapped[datetime] = mapped_column(Time, server_default=func.clock_timestamp())
    expires_at: Mapped[datetime] = mapped_column(Time)  # absolute: a refresh never moves it
    last_accessed: Mapped[datetime] = mapped_column(Time, server_default=func.clock_timestamp())
    auth_time: Mapped[datetime] = mapped_column(Time, server_default=func.clock_timestamp())
    amr: Mapped[list[str]] = mapped_column(ARRAY(TEXT))  # RFC 8176
    ip_address: Mapped[str | None] = mapped_column(INET)
    user_agent: Mapped[str | None]
    device_name: Mapped[str | None]
    by_cookie: Mapped[bool] = mapped_column(server_default=text("false"))  # its refresh token is in no body
    revoked_at: Mapped[datetime | None] = mapped_column(Time)
    revoked_reason: Mapped[str | None]

    __table_args__ = (
        Index("sessions_user_id_idx", "user_id"),
        *(
            Index(f"sessions_{'_'.join(columns)}_idx", *columns, postgresql_where=text("revoked_at IS NULL"))
            for columns in (["created_at"], ["expires_at"], ["ip_address", "expires_at"])
        ),
        *(
            Index(
                f"sessions_revoked_{'_'.join(columns)}_idx", *columns, postgresql_where=text("revoked_at IS NOT NULL")
            )
            for columns in (
                ["created_at"],
                ["expires_at"],
                ["ip_address"],
                ["device_name"],
                ["user_agent"],
            )
        ),
        *(
            Index(
                f"sessions_{state}{factor}_created_at_idx",
                "created_at",
                postgresql_where=text(f"revoked_at IS {null} AND amr @> '{{{factor}}}'::text[]"),
            )
            for factor in STANDING_OUT
            for state, null in (("", "NULL"), ("revoked_", "NOT NULL"))
        ),
        Index("sessions_revoked_at_idx", "revoked_at", postgresql_where=text("revoked_at IS NOT NULL")),
        Index(
            "sessions_lifetime_idx",  # in whole seconds, which take a quarter of the room of an interval
            text("(EXTRACT(epoch FROM expires_at - created_at)::bigint)"),
            postgresql_where=text("revoked_at IS NULL"),
        ),
        Index("sessions_device_name_idx", "device_name"),
        Index("sessions_user_agent_idx", "user_agent"),
        Index("sessions_amr_idx", "amr", postgresql_using="gin", postgresql_with={"fastupdate": "off"}),
        {"postgresql_with": {"fillfactor": 85}},
    )


class SessionCensus(Model):
    """One row: what was counted last over all sessions, by one replica for all of them."""

    __tablename__ = "session_census"

    singleton: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    counted_at: Mapped[datetime] = mapped_column(Time)
    took_ms: Mapped[int] = mapped_column(Integer)
    sessions: Mapped[int] = mapped_column(BigInteger)  # that were kept then, live or not
    figures: Mapped[object] = mapped_column(JSON)

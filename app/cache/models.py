"""The tables of the cache's rules."""

from datetime import datetime

from sqlalchemy import BigInteger, Identity, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models import Model, Time


class CacheOutbox(Model):
    """An entry that a committed change has made old and that may still be in Valkey; empty but for moments."""

    __tablename__ = "cache_outbox"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    key: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(Time, server_default=func.now())


class CacheEpoch(Model):
    """One row: whose memory is trusted. A Valkey server of another identity raises the epoch before it is used."""

    __tablename__ = "cache_epoch"

    singleton: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    epoch: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    identity: Mapped[str] = mapped_column(server_default=text("''"))  # run_id and master_replid of the server
    granted_at: Mapped[datetime] = mapped_column(Time, server_default=text("'-infinity'"))

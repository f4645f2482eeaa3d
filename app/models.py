"""The declarative base of all models. Only `db/`, other models and the lists of administration import SQLAlchemy."""

from typing import Any, ClassVar

from advanced_alchemy.base import CommonTableAttributes
from sqlalchemy import DateTime, MetaData, Text
from sqlalchemy.orm import DeclarativeBase


class Model(CommonTableAttributes, DeclarativeBase):
    """A table. Each belongs to one domain; foreign keys across domains are named by string."""

    metadata = MetaData(
        naming_convention={
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ck": "%(table_name)s_%(constraint_name)s_check",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "pk": "%(table_name)s_pkey",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {str: Text}


Time = DateTime(timezone=True)

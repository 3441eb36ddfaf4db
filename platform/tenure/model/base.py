"""What all tables share: naming of constraints, and the column types used again and again."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar

from sqlalchemy import MetaData, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, mapped_column

# Fixed names, so that migrations can name what they change.
_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The root of all tables."""

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text(),
        datetime: TIMESTAMP(timezone=True),
        dict[str, Any]: JSONB(),
    }


# Ids compare byte by byte: their order is the order of creation in every database locale.
IdText = Text(collation="C")
Key = Annotated[str, mapped_column(IdText, primary_key=True)]
# Machine time of the row's creation.
CreatedAt = Annotated[
    datetime, mapped_column(TIMESTAMP(timezone=True), server_default=func.clock_timestamp())
]
JsonObject = Annotated[dict[str, Any], mapped_column(JSONB(), server_default=text("'{}'::jsonb"))]

"""What all tables have in common: how values become columns."""

import math
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, Dialect, Double, Enum, MetaData, Text
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator, TypeEngine

from jobs.database.clock import UtcDateTime


class _SqliteReal(Double[float]):
    """A REAL column of SQLite, which turns a NaN into NULL but keeps any text that is no number: 'NaN'."""

    def bind_processor(self, dialect: Dialect) -> Any:
        return lambda value: "NaN" if value is not None and math.isnan(value) else value

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        return lambda value: None if value is None else float(value)


class Measured(TypeDecorator[float]):
    """A float that may be NaN or infinite, on both databases."""

    impl = Double
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(_SqliteReal() if dialect.name == "sqlite" else Double())


def words(enum: type[StrEnum], length: int) -> Enum:
    """The enum's values as plain text: a new member needs no migration."""
    return Enum(enum, native_enum=False, length=length, values_callable=lambda kind: [str(member) for member in kind])


class Base(DeclarativeBase):
    # SQLite changes a constraint by copying its table, and finds it by its name.
    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(none_as_null=True),
        dict[str, str]: JSON(none_as_null=True),
        dict[str, float | str]: JSON(none_as_null=True),
        list[str]: JSON(none_as_null=True),
        str: Text(),
    }

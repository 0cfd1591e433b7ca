"""What every table shares: its registry, the types of its columns, and its partial indexes."""

from typing import Any, ClassVar

from sqlalchemy import BigInteger, Index, Integer, MetaData, String, text
from sqlalchemy.orm import registry
from sqlmodel import SQLModel

SCHEMA_VERSION = "0001"  # the newest migration this code knows

naming = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=naming)

# Byte order: ids are compared a million times a day, and a locale's collation costs and may even change.
Id = String(36).with_variant(String(36, collation="C"), "postgresql")
Serial = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only its own INTEGER
Name = String(100).with_variant(String(100, collation="C"), "postgresql")


class Base(SQLModel, registry=registry(metadata=metadata)):
    """The root of our tables, apart from the application's."""

    metadata: ClassVar[MetaData] = metadata


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index over those rows alone for which `where` holds."""
    return Index(name, *columns, unique=unique, postgresql_where=text(where), sqlite_where=text(where))


def columns(table: type[Base]) -> Any:
    """The Core table behind a class, for claims and results."""
    return metadata.tables[str(table.__tablename__)]

"""Many rows in one parameter: a JSON list, read by the database as a table.

A batch of results is one statement with a fixed text this way, on both databases, however many rows it has.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Double,
    FromClause,
    Integer,
    Text,
    bindparam,
    case,
    cast,
    column,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB

_TYPES: dict[type, Any] = {str: Text(), int: BigInteger(), float: Double(), bool: Boolean()}


def table_of(dialect: str, parameter: str, columns: Mapping[str, type]) -> FromClause:
    """A table named `given` with these columns, read from the bound parameter that `encode` made."""
    if dialect == "postgresql":
        typed = [column(name, _TYPES[kind]) for name, kind in columns.items()]
        rows = func.jsonb_to_recordset(cast(bindparam(parameter, type_=Text()), JSONB()))
        return rows.table_valued(*typed, name="given").render_derived(with_types=True)
    each = func.json_each(bindparam(parameter, type_=Text())).table_valued("value", name="each")
    taken = [
        func.json_extract(each.c.value, f"$.{name}", type_=_TYPES[kind]).label(name) for name, kind in columns.items()
    ]
    return select(*taken).select_from(each).subquery("given")


def encode(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as the parameter's value."""
    return json.dumps(rows, separators=(",", ":"))


def later(one: ColumnElement[float], other: ColumnElement[float]) -> ColumnElement[float]:
    """The greater of two times, where a null is no time at all."""
    return case((one.is_(None), other), (other.is_(None), one), (one > other, one), else_=other)


def count_of(condition: ColumnElement[bool]) -> ColumnElement[int]:
    """How many rows of a group meet the condition."""
    return func.coalesce(func.sum(cast(case((condition, 1), else_=0), Integer)), 0)

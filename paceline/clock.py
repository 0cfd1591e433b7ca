"""The database's clock as a SQL expression: the one clock that all times in the tables are read from."""

from typing import Any

from sqlalchemy import Double
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class now(FunctionElement[float]):  # noqa: N801  # it reads as the SQL function that it is
    """Unix seconds by the database's clock, at the start of the statement (so that an index can serve a comparison)."""

    type = Double()
    inherit_cache = True
    name = "paceline_now"


@compiles(now, "postgresql")
def _postgresql(_element: now, _compiler: Any, **_options: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM statement_timestamp()) AS DOUBLE PRECISION)"


@compiles(now, "sqlite")
def _sqlite(_element: now, _compiler: Any, **_options: Any) -> str:
    # julianday is as old as SQLite and exact to a tenth of a millisecond.
    return "((julianday('now') - 2440587.5) * 86400.0)"

"""Telling PostgreSQL's planner what it cannot know: every statement of the pump touches a few rows, by index.

Its statistics lag behind a table that a million rows were just written to or taken from, and a plan that suits the
table of a minute ago reads all of today's.
"""

from typing import Any

from sqlalchemy import Engine, event

# A batch's JSON counts as a hundred rows to the planner, and hashing a whole table seems worth it to find those.
SETTINGS = (
    "SET enable_seqscan = off",
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
    "SET jit = off",
    # A generic plan does not know how few rows a LIMIT leaves.
    "SET plan_cache_mode = force_custom_plan",
)


def by_index(engine: Engine) -> Engine:
    """The engine, its new connections set so that statements go by index. SQLite's planner needs no telling."""
    if engine.dialect.name == "postgresql":
        event.listen(engine, "connect", _set)
    return engine


def _set(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute("; ".join(SETTINGS))
    connection.commit()

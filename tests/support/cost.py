"""What statements touch, counted by the database itself: a measure that a busy machine does not blur."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, event


def cost(engine: Engine, action: Callable[[], object]) -> float:
    """What the action's queries and changes touch: PostgreSQL's buffers, or SQLite's virtual machine steps in tens."""
    return _buffers(engine, action) if engine.dialect.name == "postgresql" else _steps(engine, action)


def _buffers(engine: Engine, action: Callable[[], object]) -> float:
    total = 0.0

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        nonlocal total
        if statement.startswith(("SELECT", "WITH", "UPDATE", "DELETE")):
            with connection.connection.driver_connection.cursor() as own:
                own.execute("SAVEPOINT probe")
                own.execute("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + statement, parameters)
                plan = own.fetchone()[0][0]["Plan"]
                own.execute("ROLLBACK TO SAVEPOINT probe")
            total += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]

    event.listen(engine, "before_cursor_execute", explain)
    try:
        action()
    finally:
        event.remove(engine, "before_cursor_execute", explain)
    return total


def _steps(engine: Engine, action: Callable[[], object]) -> float:
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    def watch(connection: Any, *_: Any) -> None:
        connection.connection.driver_connection.set_progress_handler(count, 10)

    event.listen(engine, "before_cursor_execute", watch)
    try:
        action()
    finally:
        event.remove(engine, "before_cursor_execute", watch)
        with engine.connect() as connection:
            connection.connection.driver_connection.set_progress_handler(None, 0)  # type: ignore[union-attr]
    return steps

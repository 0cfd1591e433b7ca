"""Many rows in one parameter, as both databases read them."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, literal, select

from paceline.connection import resolve
from paceline.database import engine
from worker.rows import count_of, encode, later, table_of

COLUMNS = {"name": str, "count": int, "share": float, "on": bool}


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    made = engine(resolve(database_url=database_url, broker_url="redis://nowhere", environ={}))
    yield made
    made.dispose()


def read(database: Engine, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    given = table_of(database.dialect.name, "rows", COLUMNS)
    with database.connect() as connection:
        found = connection.execute(select(given).order_by(given.c.name), {"rows": encode(rows)})
        return [dict(row._mapping) for row in found]


def test_rows_come_back_as_they_went(database: Engine) -> None:
    rows: list[dict[str, Any]] = [
        {"name": "a", "count": 0, "share": 0.1, "on": True},
        {"name": "b", "count": -(2**53), "share": 1_790_000_000.123456, "on": False},
        {"name": "c", "count": None, "share": None, "on": None},
    ]

    assert read(database, rows) == rows


def test_what_is_missing_is_null(database: Engine) -> None:
    assert read(database, [{"name": "a"}]) == [{"name": "a", "count": None, "share": None, "on": None}]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        '{"kind": "text"}',
        "[1]",
        "12",
        "1e3",
        "true",
        "O'Brien; DROP TABLE x --",
        '"\\',
        "é😀\u2028",
        "a\nb\t",
    ],
)
def test_text_is_text_whatever_it_looks_like(database: Engine, text: str) -> None:
    assert read(database, [{"name": text}])[0]["name"] == text


def test_no_rows_are_no_rows(database: Engine) -> None:
    assert read(database, []) == []


def test_a_thousand_rows_are_one_statement(database: Engine) -> None:
    rows = [{"name": f"{number:04}", "count": number, "share": 0.0, "on": True} for number in range(1000)]

    assert read(database, rows) == rows


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [(1.0, 2.0, 2.0), (2.0, 1.0, 2.0), (None, 1.0, 1.0), (1.0, None, 1.0), (None, None, None)],
)
def test_a_null_is_no_time_at_all(
    database: Engine, one: float | None, other: float | None, expected: float | None
) -> None:
    given = table_of(database.dialect.name, "rows", {"one": float, "other": float})
    with database.connect() as connection:
        found = connection.scalar(
            select(later(given.c.one, given.c.other)), {"rows": encode([{"one": one, "other": other}])}
        )
    assert found == expected


def test_counting_what_meets_a_condition(database: Engine) -> None:
    given = table_of(database.dialect.name, "rows", COLUMNS)
    query = select(count_of(given.c.count > 1), count_of(literal(value=False)))
    with database.connect() as connection:
        assert tuple(connection.execute(query, {"rows": encode([{"count": n} for n in (1, 2, 3)])}).one()) == (2, 0)
        assert tuple(connection.execute(query, {"rows": encode([])}).one()) == (0, 0)

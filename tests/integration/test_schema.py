"""Migrations: they make what the models say, on both databases, and refuse what they do not know."""

from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, text

from paceline import tables
from paceline.connection import resolve
from paceline.database import engine
from paceline.errors import DatabaseNotReady
from worker import schema


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    made = engine(resolve(database_url=database_url, broker_url="redis://nowhere", environ={}))
    yield made
    made.dispose()


def test_models_and_migrations_agree(database: Engine) -> None:
    with database.connect() as connection:
        options = {"version_table": "paceline_version", "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)

        assert compare_metadata(context, tables.metadata) == []


def test_partial_indexes_are_made_as_the_models_say(database: Engine) -> None:
    catalogue = {
        "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND name LIKE 'ix_paceline%'",
        "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE indexname LIKE 'ix_paceline%'",
    }
    with database.connect() as connection:
        made = {row[0]: row[1] for row in connection.execute(text(catalogue[database.dialect.name]))}

    partial = {name for name, sql in made.items() if "WHERE" in sql}
    assert partial == {
        index.name
        for table in tables.metadata.sorted_tables
        for index in table.indexes
        if index.dialect_options["sqlite"]["where"] is not None
    }
    assert "ix_paceline_message_ready" in partial


def test_migrating_again_changes_nothing(database: Engine) -> None:
    schema.migrate(database)

    with database.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM paceline_version")) == tables.SCHEMA_VERSION


def test_a_database_of_a_newer_version_is_refused(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text("UPDATE paceline_version SET version_num = '9999'"))

    with pytest.raises(DatabaseNotReady, match="newer Paceline"):
        schema.migrate(database)

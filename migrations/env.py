"""Alembic's entry: runs on the connection that `worker.database.migrate` hands over."""

from alembic import context

from paceline import tables

VERSION_TABLE = "paceline_version"


def ours(name: str | None, kind: str, _parents: object) -> bool:
    """True for our own tables: the database may hold an application's as well."""
    return kind != "table" or (name or "").startswith("paceline_")


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=tables.metadata,
    version_table=VERSION_TABLE,
    include_name=ours,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()

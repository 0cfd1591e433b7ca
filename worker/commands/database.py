"""`paceline migrate`."""

from pathlib import Path

from config.settings import Settings
from paceline import tables
from paceline.database import engine
from worker import schema
from worker.app import topology_of
from worker.commands.context import say, settings_of


def migrate(config: Path | None, *, sandbox: bool) -> None:
    """Migrate and publish, and say what is there now."""
    settings = settings_of(config, sandbox=sandbox)
    prepare(settings)
    accounts, routes = len(settings.accounts), len(settings.routes)
    say(f"The database stands at version {tables.SCHEMA_VERSION}; published: accounts {accounts}, routes {routes}.")


def prepare(settings: Settings) -> str:
    """Migrate and publish; the installation's name."""
    opened = engine(settings.connection)
    try:
        schema.migrate(opened)
        return schema.publish(opened, topology_of(settings))
    finally:
        opened.dispose()

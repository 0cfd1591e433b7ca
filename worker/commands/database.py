"""`paceline migrate`, `paceline purge` and `paceline encrypt`."""

from pathlib import Path

from config.settings import Settings
from paceline import tables
from paceline.database import engine
from paceline.producing import emit
from worker import schema
from worker.app import retention_of, topology_of
from worker.commands.context import database, say, settings_of
from worker.encryption import Encryption
from worker.planning import by_index


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


def encrypt(config: Path | None, *, sandbox: bool) -> None:
    """Publish the content keys, encrypt what is not under the first of them, and say how much it was."""
    settings = settings_of(config, sandbox=sandbox)
    prepare(settings)
    with database(settings) as opened:
        total = Encryption(by_index(opened)).run()
    say(f"Values encrypted: {total}. Everything is under the first key now; older ones can be taken away.")


def purge(config: Path | None, *, sandbox: bool, as_json: bool, dry_run: bool) -> None:
    """Forget what is old, as the workers do every night, and say how much."""
    settings = settings_of(config, sandbox=sandbox)
    with database(settings) as opened:
        retention = retention_of(settings, by_index(opened), topology_of(settings))
        counts = retention.count() if dry_run else retention.purge()
    if as_json:
        emit(counts)
        return
    width = max(map(len, counts))
    title = "would be forgotten" if dry_run else "forgotten"
    emit("\n".join([f"{title}:", *(f"  {name:<{width}}  {count}" for name, count in counts.items())]))

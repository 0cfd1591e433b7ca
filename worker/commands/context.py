"""What every command of the service begins with: the settings in force, and the database they name."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from sqlalchemy import Engine

from config.settings import Settings, load
from paceline.connection import find_config
from paceline.database import engine, read
from paceline.directory import check_present, check_version
from paceline.errors import BrokerNotReady, ConfigurationError
from worker.limits import UnsuitableServer, check_server

CHECKOUT = Path(__file__).resolve().parent.parent.parent
SANDBOX = "PACELINE_SANDBOX"  # what `--sandbox` is to the processes that a command starts


def settings_of(config: Path | None, *, sandbox: bool = False) -> Settings:
    """The settings in force. Raises `ConfigurationError` if there is no file, no account, or anything wrong."""
    file = find_config(config)
    if file is None:
        raise ConfigurationError(
            ["There is no paceline.toml in this directory; write one with `paceline init`, or name one with --config."]
        )
    settings = load(file, sandbox=sandbox)
    if not settings.accounts:
        raise ConfigurationError([f"{file}: accounts: at least one is needed, as in [accounts.aurogy-main]"])
    return settings


@contextmanager
def database(settings: Settings) -> Iterator[Engine]:
    """The database. Raises `DatabaseNotReady` if it is away or stands at another version."""
    check_present(settings.connection.database_url)
    opened = engine(settings.connection)
    try:
        with read(opened) as connection:
            check_version(connection)
        yield opened
    finally:
        opened.dispose()


def check_broker(redis: Redis) -> None:
    """Raise `BrokerNotReady` if it is of a kind that cannot keep limits, or redis-py's error if it is away."""
    try:
        check_server(redis)
    except UnsuitableServer as error:
        raise BrokerNotReady(str(error)) from None


def environment(settings: Settings, *, sandbox: bool) -> Mapping[str, str]:
    """The environment in which a process of ours reads the same settings and finds the checkout's packages."""
    assert settings.file is not None
    # The user's directory may hold packages that are named like ours.
    paths = [str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {
        "PACELINE_CONFIG": str(settings.file.absolute()),
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        SANDBOX: "1" if sandbox else "",
    }
    return {**os.environ, **own}


def say(line: str) -> None:
    """A line on stdout, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()

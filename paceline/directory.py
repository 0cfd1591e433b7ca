"""What a producer must know of the installation: accounts, routes, capabilities, lines, and the database's clock.

Read from the database, where `paceline migrate` publishes it, and kept for five seconds.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, column, inspect, make_url, select, table
from sqlalchemy.exc import SQLAlchemyError

from paceline import tables
from paceline.capabilities import Capabilities
from paceline.clock import now
from paceline.content import CLEAR, Content, content_of
from paceline.errors import DatabaseNotReady, UnknownAccount

FRESH_FOR = 5.0  # seconds
MISSED_FOR = 0.1  # seconds in which a name that was not found is not looked for again
VERSION = table("paceline_version", column("version_num"))
NO_TABLES = "The database has no Paceline tables; run `paceline migrate`."


def check_present(database_url: str) -> None:
    """Raise `DatabaseNotReady` if that is a SQLite file which is not there: who opened it would leave an empty one."""
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        raise DatabaseNotReady(NO_TABLES)


@dataclass(frozen=True, slots=True)
class Carrier:
    """An account that may carry a message, and the lane on which its sends wait."""

    account: str
    capabilities: Capabilities
    lane: str
    provider: str = ""


@dataclass(frozen=True, slots=True)
class Via:
    """What `via` stands for: one account, or a route's accounts in order."""

    name: str
    carriers: tuple[Carrier, ...]

    @property
    def lanes(self) -> tuple[str, ...]:
        """The lanes on which a message may leave."""
        return tuple(dict.fromkeys(carrier.lane for carrier in self.carriers))


@dataclass(frozen=True, slots=True)
class Directory:
    """One reading of the installation. `clock_offset` is what the database's clock is ahead of ours, in seconds;
    `content` how content is written there."""

    installation: str
    secret: bytes = field(repr=False)
    vias: Mapping[str, Via]
    streams: dict[tuple[str, int], int]
    clock_offset: float
    read_at: float
    content: Content = CLEAR

    def find(self, via: str) -> Via:
        """The account or route of that name, or `UnknownAccount`, naming those there are."""
        return find(self.vias, via)


def find(vias: Mapping[str, Via], name: object) -> Via:
    """The one of that name, or `UnknownAccount`, naming those there are."""
    found = vias.get(name) if isinstance(name, str) else None
    if found is None:
        raise UnknownAccount("via", f"must name an account or a route; there are {', '.join(sorted(vias))}")
    return found


class Directories:
    """Reads the directory, keeps it for a while, and reads it again for a name it does not hold. Thread-safe.

    `read` opens a transaction on the installation's database; `monotonic` is a clock in seconds.
    """

    def __init__(
        self,
        read: Callable[[], AbstractContextManager[Connection]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._directory: Directory | None = None
        self._migrated = False

    def current(self, via: str | None = None) -> Directory:
        """The directory, at most five seconds old; read again if it does not know `via`.

        Raises `DatabaseNotReady` if the database is away, not migrated, of another version, or has no accounts.
        """
        directory = self._directory
        if directory is None or self._stale(directory, via):
            with self._lock:
                if self._directory is directory:
                    self._directory = self._load()
                directory = self._directory
        assert directory is not None
        return directory

    def database_now(self, directory: Directory) -> float:
        """Unix seconds by the database's clock, as far as the last reading tells."""
        return self._monotonic() + directory.clock_offset

    def _stale(self, directory: Directory, via: str | None) -> bool:
        age = self._monotonic() - directory.read_at
        known = via is None or (isinstance(via, str) and via in directory.vias)
        return age > (FRESH_FOR if known else MISSED_FOR)

    def _load(self) -> Directory:
        try:
            with self._read() as connection:
                if not self._migrated:
                    check_version(connection)
                    self._migrated = True
                return _read(connection, self._monotonic)
        except SQLAlchemyError as error:
            raise unreachable(error) from None


def unreachable(error: Exception) -> DatabaseNotReady:
    """What to raise when the database failed. The driver's words are left out: they may hold what was sent."""
    cause = type(getattr(error, "orig", None) or error).__name__
    return DatabaseNotReady(
        f"The database failed ({cause}): check that it runs, that its URL is right and that it was migrated, and "
        "repeat the call; an idempotency key keeps a repetition from storing a message twice."
    )


def check_version(connection: Connection) -> None:
    """Raise `DatabaseNotReady` unless the database stands at the version that this package knows."""
    if not inspect(connection).has_table(VERSION.name):
        raise DatabaseNotReady(NO_TABLES)
    version = connection.scalar(select(VERSION.c.version_num))
    if version is None or version < tables.SCHEMA_VERSION:
        raise DatabaseNotReady(
            f"The database stands at version {version}, this package needs {tables.SCHEMA_VERSION}; "
            "run `paceline migrate`."
        )
    if version > tables.SCHEMA_VERSION:
        raise DatabaseNotReady(
            f"The database was migrated to version {version} by a newer Paceline, this package knows "
            f"{tables.SCHEMA_VERSION}; upgrade this package."
        )


def _read(connection: Connection, monotonic: Callable[[], float]) -> Directory:
    installation = tables.columns(tables.Installation)
    stream = tables.columns(tables.Stream)
    before = monotonic()
    row = connection.execute(select(installation.c.name, now())).one_or_none()
    after = monotonic()
    accounts = connection.execute(select(tables.columns(tables.Account))).all()
    if row is None or not accounts:
        raise DatabaseNotReady(
            "The database holds no accounts yet; run `paceline migrate` where the service's paceline.toml is, "
            "which publishes them."
        )
    routes = connection.execute(select(tables.columns(tables.Route))).all()
    streams = connection.execute(select(stream.c.via, stream.c.priority, stream.c.id).where(stream.c.broadcast == ""))
    content = content_of(connection)
    return Directory(
        installation=row[0],
        secret=content.secret,
        vias=_vias(accounts, routes),
        streams={(via, priority): line for via, priority, line in streams},
        clock_offset=row[1] - (before + after) / 2,
        read_at=after,
        content=content,
    )


def _vias(accounts: Sequence[Row[Any]], routes: Sequence[Row[Any]]) -> dict[str, Via]:
    carriers = {
        row.name: Carrier(row.name, Capabilities.from_json(json.loads(row.capabilities)), row.lane, row.provider)
        for row in accounts
    }
    vias = {name: Via(name, (carrier,)) for name, carrier in carriers.items()}
    for route in routes:
        members = tuple(carriers[name] for name in json.loads(route.accounts) if name in carriers)
        vias[route.name] = Via(route.name, members)
    return vias

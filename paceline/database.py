"""The database: how its address is checked, and an engine that keeps what it was told.

SQLite runs in WAL mode with `synchronous=FULL`, because a claim undone by a power cut is a message sent twice. Its
transactions begin as writers (BEGIN IMMEDIATE): one that reads first and then finds another writer ahead of it could
only fail. `read` and `reading` are for those that never write.
"""

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from sqlite3 import Connection as SQLite
from sqlite3 import OperationalError
from typing import Any

import sqlalchemy
from sqlalchemy import URL, Engine, ExceptionContext, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from paceline.addresses import Connection
from paceline.content import attach
from paceline.errors import ConfigurationError

DEFAULT = "sqlite:///.paceline/paceline.db"
BUSY_TIMEOUT = 15.0  # seconds a transaction waits for SQLite's one writer to end
THREADS = 32  # connections that one process may hold at once
CONNECT_TIMEOUT = 5  # seconds

_RULE = 'must be a URL such as "sqlite:///.paceline/paceline.db" or "postgresql+psycopg://user@host/database"'
_POSTGRESQL = ("postgresql+psycopg", "postgresql", "postgres")
_BEGIN = "paceline_begin"  # the execution option that holds a SQLite transaction's first statement

# libpq's, where the address does not set them: a thread would wait a quarter of an hour for a host that is gone.
_LIBPQ: dict[str, str | int] = {
    "application_name": "paceline",
    "connect_timeout": CONNECT_TIMEOUT,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,  # milliseconds
}


def checked(text: str, root: Path) -> str:
    """The address, its path made absolute. Raises ValueError, a sentence without its subject that does not quote it."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError(_RULE) from None
    if url.drivername in _POSTGRESQL:
        return url.set(drivername=_POSTGRESQL[0]).render_as_string(hide_password=False)
    if url.drivername != "sqlite" or url.host:
        raise ValueError(_RULE)
    if not url.database or url.database == ":memory:" or url.database.startswith("file:") or url.query:
        raise ValueError('must name a file and nothing else, as in "sqlite:///paceline.db": several processes share it')
    return url.set(database=os.path.normpath(root / url.database)).render_as_string()


def engine(connection: Connection) -> Engine:
    """An engine for as many threads as a process has. What a statement was given is in none of its errors.

    Raises `ConfigurationError` if SQLite's directory cannot be made or written, or if PostgreSQL's driver, or what
    encrypts content, is missing.
    """
    url = make_url(connection.database_url)
    made = _sqlite(url) if url.get_backend_name() == "sqlite" else _postgresql(url)
    return attach(made, connection.content_keys)


@contextmanager
def write(engine: Engine) -> Iterator[sqlalchemy.Connection]:
    """A transaction that may write: committed at the end, rolled back if the block raises."""
    with _turn(engine), engine.begin() as connection:
        yield connection


@contextmanager
def read(engine: Engine) -> Iterator[sqlalchemy.Connection]:
    """A transaction that only reads: in SQLite it neither waits for writers nor makes them wait."""
    with engine.connect() as connection:
        connection.execution_options(**{_BEGIN: "BEGIN"})
        with connection.begin():
            yield connection


def reading(engine: Engine) -> Engine:
    """The same engine and pool for sessions that only read, as `read` is for connections."""
    return engine.execution_options(**{_BEGIN: "BEGIN"})


def private_directory(directory: Path) -> Path:
    """The directory, made with mode 0700 if it was not there. Raises `ConfigurationError` if it cannot be made."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError([f"{directory}: this directory cannot be made: {error.strerror}"]) from None
    return directory


@contextmanager
def _turn(engine: Engine) -> Iterator[None]:
    # SQLite has its waiting writers ask again now and then, and whoever asks at the right moment is next: the others
    # may wait for seconds. So the threads of a process queue here, and only processes meet there.
    if engine.dialect.name != "sqlite":
        yield
        return
    writer = _writer(str(engine.url.database))
    mine = writer.acquire(timeout=BUSY_TIMEOUT)
    try:
        yield
    finally:
        if mine:
            writer.release()


@functools.cache
def _writer(_file: str) -> threading.Lock:
    """The right to write to this file: one lock for all engines of this process."""
    return threading.Lock()


def _sqlite(url: URL) -> Engine:
    file = Path(str(url.database))
    directory = private_directory(file.parent)
    if not os.access(directory, os.W_OK | os.X_OK) or (file.exists() and not os.access(file, os.W_OK)):
        raise ConfigurationError([f"{file}: this process must be allowed to write the database and its directory"])
    made = create_engine(
        url,
        hide_parameters=True,
        pool_size=THREADS,
        max_overflow=0,
        pool_use_lifo=True,
        connect_args={"timeout": BUSY_TIMEOUT},
    )
    event.listen(made, "connect", _configure)
    event.listen(made, "begin", _begin)
    return made


def _configure(connection: SQLite, _record: Any) -> None:
    connection.isolation_level = None  # Python begins no transactions of its own; `_begin` does
    with closing(connection.cursor()) as cursor:
        # Many processes that open a new file at once get "locked" here without SQLite's own wait.
        retrying = Retrying(
            retry=retry_if_exception_type(OperationalError),
            stop=stop_after_delay(BUSY_TIMEOUT),
            wait=wait_random_exponential(multiplier=0.01, max=0.5),
            reraise=True,
        )
        (mode,) = retrying(lambda: cursor.execute("PRAGMA journal_mode=WAL").fetchone())
        if mode != "wal":
            raise ConfigurationError(["database.url: must name a file on a local disk: this one's allows no WAL"])
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")


def _begin(connection: sqlalchemy.Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN IMMEDIATE"))


def _postgresql(url: URL) -> Engine:
    try:
        made = create_engine(
            url,
            hide_parameters=True,
            isolation_level="READ COMMITTED",
            pool_size=THREADS,
            max_overflow=0,
            pool_pre_ping=True,
            pool_use_lifo=True,
            connect_args={name: value for name, value in _LIBPQ.items() if name not in url.query},
        )
    except ImportError:
        raise ConfigurationError(
            ["database.url: PostgreSQL needs its driver: pip install 'paceline[postgresql]'"]
        ) from None
    event.listen(made, "handle_error", _keep_first_line)
    return made


def _keep_first_line(context: ExceptionContext) -> None:
    # What follows it (DETAIL, CONTEXT, in the server's language) quotes rows, and errors are logged.
    for error in (context.original_exception, context.sqlalchemy_exception):
        if error is not None and error.args:
            error.args = (str(error.args[0]).partition("\n")[0], *error.args[1:])

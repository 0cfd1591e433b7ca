"""One way to run our statements, whoever owns the transaction: we, a SQLAlchemy session, or a driver's connection.

Nothing here commits or rolls back what is the caller's.
"""

import functools
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, Protocol

from sqlalchemy import Connection, Dialect, Executable, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import StatementError, UnboundExecutionError
from sqlalchemy.orm import Session, scoped_session

from paceline import tables
from paceline.content import EMPTY, SAID_AND_SECRET, Content, Keyring, content_of, keyring_of

try:
    import psycopg
except ImportError:  # a producer on SQLite needs no driver
    psycopg = None  # type: ignore[assignment]

Parameters = Mapping[str, Any]


class Transaction(Protocol):
    """A transaction on the installation's database, in which statements can be run."""

    dialect: str

    @property
    def keys(self) -> Keyring:
        """What reads content; nothing encrypted where the connection is the caller's."""
        ...

    def content(self) -> Content:
        """How content is written on this database."""
        ...

    def run(self, statement: Executable, parameters: Parameters | None = None) -> Sequence[Sequence[Any]]:
        """Execute once; the rows it returns, if it returns any."""
        ...

    def run_many(self, statement: Executable, parameters: Sequence[Parameters]) -> None:
        """Execute once for each set of parameters."""
        ...

    def copy(self, statement: str, rows: Iterable[Sequence[Any]]) -> bool:
        """Stream rows with PostgreSQL's COPY; False, and nothing done, where the driver has no such thing."""
        ...

    def atomic(self) -> AbstractContextManager[None]:
        """All or nothing for what runs inside, even where the caller's connection commits every statement."""
        ...


class CoreTransaction:
    """Statements on a SQLAlchemy connection."""

    def __init__(self, connection: Connection) -> None:
        self.dialect = connection.dialect.name
        self._connection = connection

    def run(self, statement: Executable, parameters: Parameters | None = None) -> Sequence[Sequence[Any]]:
        with _discreet():
            result = self._connection.execute(statement, parameters or {})
        return result.all() if result.returns_rows else ()

    def run_many(self, statement: Executable, parameters: Sequence[Parameters]) -> None:
        with _discreet():
            self._connection.execute(statement, list(parameters))

    def copy(self, statement: str, rows: Iterable[Sequence[Any]]) -> bool:
        return _copy(self._driver(), statement, rows)

    def atomic(self) -> AbstractContextManager[None]:
        return _atomic(self, self._driver())

    @property
    def keys(self) -> Keyring:
        return keyring_of(self._connection)

    def content(self) -> Content:
        return content_of(self._connection)

    def _driver(self) -> object:
        return self._connection.connection.driver_connection


@contextmanager
def _discreet() -> Iterator[None]:
    try:
        yield
    except StatementError as error:
        error.hide_parameters = True  # the caller's engine may tell them, and they hold recipients and bodies
        raise


class DriverTransaction:
    """The same statements, compiled for a psycopg or sqlite3 connection."""

    def __init__(self, connection: Any, dialect: Dialect) -> None:
        self.dialect = dialect.name
        self._dialect = dialect
        self._connection = connection

    def run(self, statement: Executable, parameters: Parameters | None = None) -> Sequence[Sequence[Any]]:
        sql, bind = _compiled(statement, self._dialect)
        with self._cursor() as cursor:
            cursor.execute(sql, bind(parameters or {}))
            return cursor.fetchall() if cursor.description else ()

    def run_many(self, statement: Executable, parameters: Sequence[Parameters]) -> None:
        sql, bind = _compiled(statement, self._dialect)
        with self._cursor() as cursor:
            cursor.executemany(sql, [bind(item) for item in parameters])

    keys = EMPTY

    def content(self) -> Content:
        return self.keys.content(*self.run(SAID_AND_SECRET)[0])

    def copy(self, statement: str, rows: Iterable[Sequence[Any]]) -> bool:
        return _copy(self._connection, statement, rows)

    def atomic(self) -> AbstractContextManager[None]:
        return _atomic(self, self._connection)

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        # The driver's plain cursor, whatever kind the caller's connection makes: one that answers dictionaries, or
        # Django's, which writes parameters into the SQL, where a NULL has no type.
        if self.dialect == "postgresql":
            cursor: Any = psycopg.Cursor(self._connection, row_factory=psycopg.rows.tuple_row)
        else:
            cursor = sqlite3.Cursor(self._connection)
        with closing(cursor):
            yield cursor


def join(session: object) -> Transaction:
    """The transaction that the caller's `session` is in, or begins now.

    Takes a SQLAlchemy or SQLModel `Session` or `Connection`, a psycopg 3 or sqlite3 connection, or Django's.
    Raises `TypeError`, in a sentence, for anything else.
    """
    if isinstance(session, scoped_session):
        session = session()
    if isinstance(session, Session):
        session = _bound(session)
    if isinstance(session, Connection):
        return CoreTransaction(session)
    if is_django(session):
        session.ensure_connection()  # type: ignore[attr-defined]  # Django's DatabaseWrapper, which we do not import
        session = session.connection  # type: ignore[attr-defined]
    if isinstance(session, sqlite3.Connection):
        return DriverTransaction(session, _SQLITE)
    if psycopg is not None and isinstance(session, psycopg.Connection):
        return DriverTransaction(session, _POSTGRESQL)
    raise TypeError(_refusal(session))


def is_django(session: object) -> bool:
    """True for the `django.db.connection` of an application that uses Django."""
    return hasattr(session, "ensure_connection") and hasattr(session, "on_commit")


def _bound(session: Session) -> Connection:
    try:
        return session.connection(bind_arguments={"clause": tables.columns(tables.Message)})
    except UnboundExecutionError:
        raise TypeError(
            "session is bound to no engine for Paceline's tables: give the Session a bind, or pass its connection."
        ) from None


def _refusal(session: object) -> str:
    if any(base.__module__.startswith("sqlalchemy.ext.asyncio") for base in type(session).__mro__):
        return (
            "session is asynchronous, and enqueue is not: inside `await session.run_sync(…)` pass on the session "
            "that your function is given."
        )
    kind = f"{type(session).__module__.partition('.')[0]}.{type(session).__name__}"
    return (
        f"session cannot be a {kind}: pass a SQLAlchemy or SQLModel Session or Connection, a psycopg 3 or sqlite3 "
        "connection, or Django's connection over one of these."
    )


@functools.lru_cache(maxsize=64)
def _compiled(statement: Executable, dialect: Dialect) -> tuple[str, Callable[[Parameters], Any]]:
    compiled: Any = statement.compile(dialect=dialect)  # type: ignore[attr-defined]  # every statement of ours compiles
    # What SQLAlchemy would fill in when it executes: the columns' own defaults.
    defaults = {column.key: column.default.arg for column in compiled.insert_prefetch or ()}

    def filled(parameters: Parameters) -> Any:
        return compiled.construct_params({**defaults, **parameters})

    if not compiled.positional:
        return str(compiled), filled
    order = tuple(compiled.positiontup)

    def in_order(parameters: Parameters) -> tuple[Any, ...]:
        values = filled(parameters)
        return tuple(values[name] for name in order)

    return str(compiled), in_order


def _copy(driver: object, statement: str, rows: Iterable[Sequence[Any]]) -> bool:
    if psycopg is None or not isinstance(driver, psycopg.Connection):
        return False
    with driver.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        for row in rows:
            copy.write_row(row)
    return True


@contextmanager
def _atomic(transaction: Transaction, driver: Any) -> Iterator[None]:
    if isinstance(driver, sqlite3.Connection):
        _begin_as_sqlite3_would(driver)
        with _savepoint(transaction, driver):
            yield
    elif psycopg is not None and isinstance(driver, psycopg.Connection) and driver.autocommit:
        with driver.transaction():
            yield
    else:
        yield


def _begin_as_sqlite3_would(driver: sqlite3.Connection) -> None:
    # sqlite3 opens a transaction before an INSERT, but not before a SAVEPOINT, whose release would then be the commit
    # of a transaction that the caller still means to roll back.
    if driver.in_transaction or driver.isolation_level is None:
        return
    if getattr(driver, "autocommit", -1) == -1:  # Python 3.12 has other modes; both of them need nothing here
        driver.execute(f"BEGIN {driver.isolation_level}")


@contextmanager
def _savepoint(transaction: Transaction, driver: sqlite3.Connection) -> Iterator[None]:
    transaction.run(_SAVEPOINT)
    try:
        yield
    except BaseException:
        if driver.in_transaction:  # a full disk has rolled everything back already
            transaction.run(_ROLLBACK)
            transaction.run(_RELEASE)
        raise
    transaction.run(_RELEASE)


_SAVEPOINT, _ROLLBACK, _RELEASE = text("SAVEPOINT paceline"), text("ROLLBACK TO paceline"), text("RELEASE paceline")
_POSTGRESQL: Dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]  # SQLAlchemy's
_SQLITE: Dialect = SQLiteDialect_pysqlite()

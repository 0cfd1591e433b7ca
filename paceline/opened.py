"""What a client has open: the engine, the directory, the connections that wake workers."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar, cast

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from paceline import connection as connections
from paceline.directory import Directories, check_present, check_version, unreachable
from paceline.errors import DatabaseNotReady
from paceline.transactions import CoreTransaction, Transaction
from paceline.wakeup import Waker, open_waker

Result = TypeVar("Result")

SERIALIZATION_FAILURES = frozenset({"40001", "40P01"})  # PostgreSQL: serialization failure, deadlock


def passing(error: BaseException) -> bool:
    """True for a failure that a repetition may not meet: a lost connection, a deadlock."""
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or getattr(error.orig, "sqlstate", None) in SERIALIZATION_FAILURES


_repeating = Retrying(
    retry=retry_if_exception(passing),
    stop=stop_after_attempt(3),
    wait=wait_random_exponential(multiplier=0.05, max=0.5),
    reraise=True,
)


class Opened:
    """The open parts of one client in one process. Made when first needed; a forked child makes its own."""

    def __init__(self, connection: connections.Connection) -> None:
        self.process = os.getpid()
        self._connection = connection
        check_present(connection.database_url)
        self._engine = connections.engine(connection)
        self._lock = threading.Lock()
        self._waker: Waker | None = None
        self.directories = Directories(self._plain_read)
        self.dialect = self._engine.dialect.name

    def write(self, work: Callable[[Transaction], Result]) -> Result:
        """Run `work` in a transaction of ours and commit it; repeated after a lost connection, so it must bear that.

        Raises `DatabaseNotReady` if the database fails; whether the commit was kept is then not known.
        """
        try:
            return cast(Result, _repeating(self._write, work))
        except SQLAlchemyError as error:
            raise self._explained(error) from None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view of the database. Raises `DatabaseNotReady` if it fails."""
        try:
            with self._plain_read() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise self._explained(error) from None

    def wake(self, lanes: Sequence[str], high: bool) -> bool:
        """Wake the workers for these lanes, if the broker is there."""
        return self._open_waker().wake(lanes, high=high)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()
        if self._waker is not None:
            self._waker.close()

    def abandon(self) -> None:
        """Forget connections that belong to the parent process, without closing them under its feet."""
        self._engine.dispose(close=False)

    def _explained(self, error: SQLAlchemyError) -> DatabaseNotReady:
        """What to raise for it: that the tables are missing or of another version, if that is why."""
        try:
            with self._plain_read() as connection:
                check_version(connection)
        except DatabaseNotReady as known:
            return known
        except SQLAlchemyError:
            pass  # it is away: the first error says as much
        return unreachable(error)

    def _plain_read(self) -> AbstractContextManager[Connection]:
        return connections.read(self._engine)

    def _write(self, work: Callable[[Transaction], Result]) -> Result:
        with connections.write(self._engine) as connection:
            return work(CoreTransaction(connection))

    def _open_waker(self) -> Waker:
        with self._lock:
            if self._waker is None:
                self._waker = open_waker(self._connection, self.directories.current().installation)
            return self._waker

"""The engine: what SQLite and PostgreSQL are told, how transactions begin, and what errors leave out."""

import sqlite3
import stat
import sys
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm import Session

from paceline import database
from paceline.connection import engine, read, reading, resolve, write
from paceline.errors import ConfigurationError
from tests.support.servers import fresh_database


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    made = engine(resolve(database_url=url, environ={}))
    try:
        yield made
    finally:
        made.dispose()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Engine]:
    with opened(f"sqlite:///{tmp_path}/paceline.db") as made:
        with write(made) as connection:
            connection.execute(text("CREATE TABLE parcel (id INTEGER PRIMARY KEY, town TEXT UNIQUE)"))
            connection.execute(text("INSERT INTO parcel (town) VALUES ('Delft')"))
        yield made


@pytest.fixture
def postgresql(postgresql_server: str) -> Iterator[Engine]:
    with fresh_database(postgresql_server) as url, opened(url) as made:
        yield made


def towns(made: Engine) -> list[str]:
    with read(made) as connection:
        return list(connection.execute(text("SELECT town FROM parcel ORDER BY id")).scalars())


# SQLite


def test_sqlite_survives_a_power_cut_and_waits_for_others(sqlite: Engine) -> None:
    with read(sqlite) as connection:
        driver: Any = connection.connection.driver_connection
        assert driver.isolation_level is None  # Python begins no transaction behind our back
        told = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }

    assert told == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 15_000}


def test_the_databases_directory_is_made_and_closed_to_others(tmp_path: Path) -> None:
    with opened(f"sqlite:///{tmp_path}/deep/.paceline/paceline.db") as made, write(made):
        directory = tmp_path / "deep/.paceline"

    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ConfigurationError, match=r"file/below: this directory cannot be made: Not a directory"):
        engine(resolve(database_url=f"sqlite:///{tmp_path}/file/below/paceline.db", environ={}))


def test_a_database_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # the superuser, as whom tests may run, may write anywhere

    with pytest.raises(ConfigurationError, match=r"paceline.db: this process must be allowed to write the database"):
        engine(resolve(database_url=f"sqlite:///{tmp_path}/paceline.db", environ={}))


def test_a_block_that_raises_leaves_nothing(sqlite: Engine) -> None:
    def fail_halfway() -> None:
        with write(sqlite) as connection:
            connection.execute(text("INSERT INTO parcel (town) VALUES ('Gouda')"))
            connection.execute(text("CREATE TABLE crate (id INTEGER)"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()

    assert towns(sqlite) == ["Delft"]
    with write(sqlite) as connection:
        connection.execute(text("CREATE TABLE crate (id INTEGER)"))


def test_a_session_that_reads_before_it_writes_waits_for_the_other_writer(sqlite: Engine) -> None:
    with write(sqlite) as first:
        first.execute(text("INSERT INTO parcel (town) VALUES ('Gouda')"))
        began = threading.Event()
        second = threading.Thread(target=add_one_more, args=(sqlite, began))
        second.start()
        began.wait()
    second.join()

    assert towns(sqlite) == ["Delft", "Gouda", "town 2"]


def add_one_more(made: Engine, began: threading.Event) -> None:
    with Session(made) as session:
        began.set()
        count = session.execute(text("SELECT count(*) FROM parcel")).scalar_one()
        session.execute(text("INSERT INTO parcel (town) VALUES (:town)"), {"town": f"town {count}"})
        session.commit()


def test_readers_and_a_writer_do_not_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.1)
    with opened(f"sqlite:///{tmp_path}/paceline.db") as made:
        with write(made) as connection:
            connection.execute(text("CREATE TABLE parcel (id INTEGER PRIMARY KEY, town TEXT)"))

        with write(made) as writer:
            writer.execute(text("INSERT INTO parcel (town) VALUES ('Gouda')"))
            assert towns(made) == []
            with Session(reading(made)) as session:
                assert session.execute(text("SELECT count(*) FROM parcel")).scalar() == 0
            with pytest.raises(OperationalError, match="database is locked"), write(made):
                pass  # two writers cannot be

        with read(made) as reader:
            reader.execute(text("SELECT * FROM parcel"))
            with write(made) as writer:
                writer.execute(text("INSERT INTO parcel (town) VALUES ('Utrecht')"))
            assert reader.execute(text("SELECT count(*) FROM parcel")).scalar() == 1


def test_the_threads_of_a_process_write_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/paceline.db"
    with monkeypatch.context() as impatient:
        impatient.setattr(database, "BUSY_TIMEOUT", 0.0)  # SQLite refuses whoever does not wait elsewhere
        one, other = engine(resolve(database_url=url, environ={})), engine(resolve(database_url=url, environ={}))
    with write(one) as connection:
        connection.execute(text("CREATE TABLE parcel (id INTEGER PRIMARY KEY, town TEXT)"))

    def add(made: Engine) -> None:
        for _ in range(20):
            with write(made) as connection:
                connection.execute(text("INSERT INTO parcel (town) VALUES ('Gouda')"))

    with ThreadPoolExecutor() as threads:
        list(threads.map(add, [one, other] * 4))

    assert len(towns(one)) == 160
    one.dispose()
    other.dispose()


class Contested(sqlite3.Connection):
    """Finds the new file locked by another process that also opens it, once."""

    refusals = 1

    def cursor(self, *arguments: Any) -> Any:
        return super().cursor(ContestedCursor)


class ContestedCursor(sqlite3.Cursor):
    def execute(self, statement: str, *arguments: Any) -> "ContestedCursor":
        assert isinstance(self.connection, Contested)
        if "WAL" in statement and self.connection.refusals:
            self.connection.refusals -= 1
            raise sqlite3.OperationalError("database is locked")
        super().execute(statement, *arguments)
        return self


def test_processes_that_open_a_new_file_at_once_all_succeed(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "paceline.db", factory=Contested)

    database._configure(connection, None)

    assert connection.refusals == 0
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_file_that_allows_no_wal_is_refused() -> None:
    connection = sqlite3.connect(":memory:")  # as on a network's disk

    with pytest.raises(ConfigurationError, match="must name a file on a local disk"):
        database._configure(connection, None)
    connection.close()


# PostgreSQL


def test_postgresql_is_told_who_we_are_and_isolates_as_agreed(postgresql: Engine) -> None:
    with write(postgresql) as connection:
        assert connection.execute(text("SHOW transaction_isolation")).scalar() == "read committed"
        assert connection.execute(text("SHOW application_name")).scalar() == "paceline"


def test_the_address_prevails_over_what_we_would_tell(postgresql: Engine) -> None:
    url = postgresql.url.update_query_dict({"application_name": "billing"})

    with opened(url.render_as_string(hide_password=False)) as made, read(made) as connection:
        assert connection.execute(text("SHOW application_name")).scalar() == "billing"


def test_thirty_two_threads_hold_a_connection_each_and_a_restart_is_not_noticed(postgresql: Engine) -> None:
    together = threading.Barrier(32)

    def hold() -> None:
        with read(postgresql) as connection:
            connection.execute(text("SELECT 1"))
            together.wait(timeout=120)

    threads = [threading.Thread(target=hold) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not together.broken

    with write(postgresql) as connection:
        killed = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = :d"
        connection.execute(text(killed), {"d": make_url(postgresql.url).database})
    for _ in range(3):
        with read(postgresql) as one, read(postgresql) as other:
            assert one.execute(text("SELECT 1")).scalar() == other.execute(text("SELECT 1")).scalar()


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(ConfigurationError, match=r"pip install 'paceline\[postgresql\]'"):
        engine(resolve(database_url="postgresql://h/d", environ={}))


# What errors leave out

LETTER = "Dear Ann, your parcel is here"


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_no_error_quotes_what_a_statement_was_given(backend: str, request: pytest.FixtureRequest) -> None:
    made: Engine = request.getfixturevalue(backend)
    insert = text("INSERT INTO letter VALUES (:body)")
    with write(made) as connection:
        connection.execute(text("CREATE TABLE letter (body TEXT PRIMARY KEY)"))
        connection.execute(insert, {"body": LETTER})

    with pytest.raises(IntegrityError) as error, write(made) as connection:
        connection.execute(insert, {"body": LETTER})

    shown = "".join(traceback.format_exception(error.value)) + repr(error.value.orig)
    assert "INSERT INTO letter" in shown
    assert LETTER not in shown


def test_no_error_quotes_the_password() -> None:
    url = "postgresql://paceline:hunter2@127.0.0.1:1/d"

    with opened(url) as made, pytest.raises(DBAPIError) as error, read(made):
        pass

    assert "Connection refused" in str(error.value)
    assert "hunter2" not in "".join(traceback.format_exception(error.value)) + repr(made)

"""`enqueue(session=…)`: the message commits or vanishes with what the caller wrote, whatever the session is."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from psycopg.rows import dict_row
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlmodel import Session as SQLModelSession

from paceline import Client, IdempotencyConflict, InvalidMessage, Outgoing, Text, tables
from tests.integration.producers import HELLO, NOWHERE, connected, install, rows, sqlite_path


@pytest.fixture
def client(database_url: str) -> Iterator[Client]:
    install(database_url)
    with connected(database_url) as connection:
        connection.execute(sa.text("CREATE TABLE shop (item TEXT)"))
    with Client(database_url=database_url, broker_url=NOWHERE, environ={}) as made:
        made.enqueue(Text(to="+15550199", text="before"), via="main")
        yield made


class Transaction:
    """One way to hand a transaction over, and to end it."""

    def __init__(self, session: Any, run: Callable[[str], Any], commit: Any, rollback: Any) -> None:
        self.session, self.run, self.commit, self.rollback = session, run, commit, rollback


@contextmanager
def sqlalchemy_session(url: str, kind: type[Session] = Session) -> Iterator[Transaction]:
    engine = sa.create_engine(url)
    with kind(engine) as session:
        yield Transaction(
            session, lambda sql: session.connection().exec_driver_sql(sql), session.commit, session.rollback
        )
    engine.dispose()


@contextmanager
def sqlmodel_session(url: str) -> Iterator[Transaction]:
    with sqlalchemy_session(url, SQLModelSession) as transaction:
        yield transaction


@contextmanager
def registry_of_sessions(url: str) -> Iterator[Transaction]:
    engine = sa.create_engine(url)
    session = scoped_session(sessionmaker(engine))
    try:
        yield Transaction(
            session, lambda sql: session.connection().exec_driver_sql(sql), session.commit, session.rollback
        )
    finally:
        session.remove()
        engine.dispose()


@contextmanager
def sqlalchemy_connection(url: str) -> Iterator[Transaction]:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        yield Transaction(connection, connection.exec_driver_sql, connection.commit, connection.rollback)
    engine.dispose()


@contextmanager
def driver(url: str, **options: Any) -> Iterator[Transaction]:
    if url.startswith("sqlite"):
        connection: Any = sqlite3.connect(sqlite_path(url), **options)
        connection.row_factory = sqlite3.Row
    else:
        address = url.replace("+psycopg", "")
        connection = psycopg.connect(address, row_factory=dict_row, **options)
    with closing(connection):
        yield Transaction(connection, connection.execute, connection.commit, connection.rollback)


class DjangoWrapper:
    """What Django's `connection` looks like from here: the driver's connection inside, and hooks after the commit."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.connection, self.in_atomic_block = inner, None, True
        self.hooks: list[Callable[[], None]] = []

    def ensure_connection(self) -> None:
        self.connection = self.inner

    def on_commit(self, hook: Callable[[], None]) -> None:
        self.hooks.append(hook)

    def commit(self) -> None:
        self.inner.commit()
        for hook in self.hooks:
            hook()


@contextmanager
def django(url: str) -> Iterator[Transaction]:
    with driver(url) as plain:
        wrapper = DjangoWrapper(plain.session)
        yield Transaction(wrapper, plain.run, wrapper.commit, plain.rollback)


KINDS = [
    sqlalchemy_session,
    sqlmodel_session,
    registry_of_sessions,
    sqlalchemy_connection,
    driver,
    django,
]


def messages(database_url: str) -> int:
    return len(rows(database_url, tables.Message)) - 1


def bought(database_url: str) -> int:
    with connected(database_url) as connection:
        return connection.scalar(sa.text("SELECT count(*) FROM shop")) or 0


@pytest.mark.parametrize("kind", KINDS)
def test_it_commits_with_the_caller(client: Client, database_url: str, kind: Any) -> None:
    with kind(database_url) as caller:
        caller.run("INSERT INTO shop VALUES ('tea')")
        receipt = client.enqueue(HELLO, via="main", idempotency_key="k", session=caller.session)
        caller.commit()

    assert (messages(database_url), bought(database_url)) == (1, 1)
    assert client.status(idempotency_key="k").id == receipt.id


@pytest.mark.parametrize("first", ["the caller writes first", "the message is first"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_vanishes_with_the_caller(client: Client, database_url: str, kind: Any, first: str) -> None:
    with kind(database_url) as caller:
        if first == "the caller writes first":
            caller.run("INSERT INTO shop VALUES ('tea')")
        client.enqueue(HELLO, via="main", idempotency_key="k", session=caller.session)
        client.enqueue(HELLO, via="sms", priority="bulk", session=caller.session)  # a line that is not there yet
        caller.rollback()

    assert (messages(database_url), bought(database_url)) == (0, 0)
    assert not client.enqueue(HELLO, via="main", idempotency_key="k").replayed
    client.enqueue(HELLO, via="sms", priority="bulk")
    lines = {row.id for row in rows(database_url, tables.Stream)}
    assert {row.stream_id for row in rows(database_url, tables.Message)} == lines


@pytest.mark.parametrize("kind", KINDS)
def test_many_commit_or_vanish_with_the_caller(client: Client, database_url: str, kind: Any) -> None:
    items = [Outgoing(HELLO, "main", idempotency_key=f"k{number % 1100}") for number in range(1200)]

    with kind(database_url) as caller:
        caller.run("INSERT INTO shop VALUES ('tea')")
        client.enqueue_many(items, chunk=500, session=caller.session)
        caller.rollback()
        assert messages(database_url) == 0
        receipt = client.enqueue_many(items, chunk=500, session=caller.session)
        caller.commit()

    assert (receipt.enqueued, receipt.replayed, messages(database_url), bought(database_url)) == (1100, 100, 1100, 0)


def test_the_chunks_of_one_transaction_do_not_pile_up(client: Client, database_url: str) -> None:
    if database_url.startswith("sqlite"):
        pytest.skip("SQLite needs no table to copy into")
    with driver(database_url) as caller:
        client.enqueue_many([Outgoing(HELLO, "main") for _ in range(25)], chunk=10, session=caller.session)

        assert caller.run("SELECT count(*) AS rows FROM paceline_arriving").fetchone() == {"rows": 5}


@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_leaves_the_callers_transaction_alone(client: Client, database_url: str, kind: Any) -> None:
    client.enqueue(HELLO, via="main", idempotency_key="k")
    with kind(database_url) as caller:
        caller.run("INSERT INTO shop VALUES ('tea')")
        with pytest.raises(IdempotencyConflict):
            client.enqueue(HELLO, via="sms", idempotency_key="k", session=caller.session)
        with pytest.raises(InvalidMessage):
            client.enqueue(Text(to="", text=""), via="main", session=caller.session)
        caller.commit()

    assert (messages(database_url), bought(database_url)) == (1, 1)


def test_a_savepoint_takes_only_its_own_messages_with_it(client: Client, database_url: str) -> None:
    with sqlalchemy_session(database_url) as caller:
        caller.run("INSERT INTO shop VALUES ('tea')")
        client.enqueue(HELLO, via="main", session=caller.session)
        inner = caller.session.begin_nested()
        client.enqueue(HELLO, via="main", session=caller.session)
        inner.rollback()
        caller.commit()

    assert messages(database_url) == 1


def test_a_connection_that_commits_every_statement_stores_all_or_nothing(client: Client, database_url: str) -> None:
    options: dict[str, Any] = {"isolation_level": None} if database_url.startswith("sqlite") else {"autocommit": True}
    with driver(database_url, **options) as caller:
        client.enqueue(HELLO, via="main", idempotency_key="k", session=caller.session)
        client.enqueue_many([Outgoing(HELLO, "main", "a"), Outgoing(HELLO, "main", "b")], session=caller.session)
        assert messages(database_url) == 3

        with connected(database_url) as connection:
            connection.execute(sa.text("DROP TABLE paceline_message"))
        with pytest.raises((sqlite3.OperationalError, psycopg.Error)):
            client.enqueue(HELLO, via="main", idempotency_key="another", session=caller.session)

    assert "another" not in [row.key for row in rows(database_url, tables.IdempotencyKey)]


def test_an_error_in_the_callers_transaction_does_not_tell_what_was_sent(client: Client, database_url: str) -> None:
    with connected(database_url) as connection:
        connection.execute(sa.text("DROP TABLE paceline_message"))

    with sqlalchemy_session(database_url) as caller, pytest.raises(sa.exc.DBAPIError) as failure:
        client.enqueue(HELLO, via="main", session=caller.session)

    assert HELLO.to not in str(failure.value)


AsyncSession = type("AsyncSession", (), {"__module__": "sqlalchemy.ext.asyncio.session"})


@pytest.mark.parametrize(("session", "remedy"), [(AsyncSession(), "run_sync"), (object(), "psycopg 3 or sqlite3")])
def test_a_session_that_cannot_be_used_says_which_can(client: Client, session: object, remedy: str) -> None:
    with pytest.raises(TypeError, match=remedy):
        client.enqueue(HELLO, via="main", session=session)
    with pytest.raises(TypeError, match=remedy):
        client.enqueue_many([], session=session)


def test_a_session_without_an_engine_says_so(client: Client) -> None:
    with Session() as session, pytest.raises(TypeError, match="bound to no engine"):
        client.enqueue(HELLO, via="main", session=session)

"""Sessions of other people's frameworks, the real ones: Django's connection, and SQLAlchemy's AsyncSession."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import django
import pytest
from django.conf import settings
from django.db import connections
from django.db.transaction import Atomic
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from paceline import Client, Outgoing, tables
from paceline.announce import Announcer
from tests.integration.producers import HELLO, NOWHERE, install, rows

MANY = [Outgoing(HELLO, "sms", idempotency_key=f"k{number}", metadata={"a": "b"}) for number in range(30)]
DRIVERS = {"sqlite": ["sqlite+aiosqlite"], "postgresql": ["postgresql+psycopg", "postgresql+asyncpg"]}


@pytest.fixture
def client(database_url: str) -> Iterator[Client]:
    install(database_url)
    with Client(database_url=database_url, broker_url=NOWHERE, environ={}) as made:
        yield made


@pytest.fixture
def woken(client: Client) -> list[object]:
    """The wake-ups so far."""
    calls: list[object] = []
    client._announcer = Announcer(lambda lanes, high: calls.append(lanes))
    return calls


@pytest.fixture
def connection(database_url: str) -> Iterator[Any]:
    """Django's, as `django.db.connection` is in an application that shares the database."""
    url = make_url(database_url)
    if not settings.configured:
        settings.configure()
        django.setup()
    host, user = url.query.get("host", ""), url.username or ""
    kind = {"sqlite": "sqlite3"}.get(url.get_backend_name(), "postgresql")
    database = {"ENGINE": f"django.db.backends.{kind}", "NAME": url.database, "HOST": host, "USER": user}
    connections.settings = connections.configure_settings({"default": database})
    made = connections.create_connection("default")
    connections["default"] = made
    yield made
    made.close()


def atomic() -> Atomic:
    return Atomic(using="default", savepoint=True, durable=False)


def messages(database_url: str) -> int:
    return len(rows(database_url, tables.Message))


def enqueue_all(client: Client, session: object) -> None:
    client.enqueue(HELLO, via="main", session=session)
    client.enqueue(HELLO, via="main", idempotency_key="k", priority="bulk", session=session)
    client.enqueue_many(MANY, session=session)


class Changed(Exception):
    """The application changed its mind."""


def test_djangos_transaction_takes_the_messages_with_it(
    client: Client, connection: Any, database_url: str, woken: list[object]
) -> None:
    with contextlib.suppress(Changed), atomic():
        enqueue_all(client, connection)
        raise Changed
    assert (messages(database_url), woken) == (0, [])

    with atomic():
        enqueue_all(client, connection)
        assert woken == []
    assert messages(database_url) == 2 + len(MANY)
    assert set(woken) == {("main/send",), ("main/send", "backup/send")}
    assert client.enqueue(HELLO, via="main", idempotency_key="k", session=connection).replayed


def test_djangos_inner_block_takes_only_its_own(client: Client, connection: Any, database_url: str) -> None:
    with atomic():
        client.enqueue(HELLO, via="main", session=connection)
        with contextlib.suppress(Changed), atomic():
            enqueue_all(client, connection)
            raise Changed

    assert messages(database_url) == 1


def test_without_a_block_django_commits_at_once(
    client: Client, connection: Any, database_url: str, woken: list[object]
) -> None:
    enqueue_all(client, connection)

    assert messages(database_url) == 2 + len(MANY)
    assert woken


def with_session(database_url: str, use: Callable[[AsyncSession], Any]) -> None:
    """Run it with a session over each driver that there is."""

    async def main() -> None:
        url = make_url(database_url)
        for driver in DRIVERS[url.get_backend_name()]:
            engine = create_async_engine(url.set(drivername=driver))
            try:
                async with AsyncSession(engine) as session:
                    await use(session)
            finally:
                await engine.dispose()

    asyncio.run(main())


def test_an_async_session_takes_the_messages_with_it(client: Client, database_url: str, woken: list[object]) -> None:
    async def use(session: AsyncSession) -> None:
        await session.run_sync(lambda joined: enqueue_all(client, joined))
        await session.rollback()

    with_session(database_url, use)

    assert (messages(database_url), woken) == (0, [])


def test_an_async_session_commits_the_messages_and_wakes_the_workers(
    client: Client, database_url: str, woken: list[object]
) -> None:
    async def use(session: AsyncSession) -> None:
        before = messages(database_url)
        await session.run_sync(lambda joined: client.enqueue(HELLO, via="main", session=joined))
        await session.run_sync(
            lambda joined: client.enqueue_many([Outgoing(HELLO, "main") for _ in range(30)], session=joined)
        )
        assert woken == []
        await session.commit()
        assert messages(database_url) == before + 31
        assert woken == [("main/send",)]
        woken.clear()

    with_session(database_url, use)

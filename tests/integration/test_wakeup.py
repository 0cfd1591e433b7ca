"""Wake-ups: after the commit and never before, without a word of content, and for nothing if the broker is away."""

import contextlib
import socket
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from celery import Celery
from celery.worker.request import Request
from redis import Redis
from sqlalchemy.orm import Session

from paceline import Client, Outgoing, wakeup, wire
from paceline.connection import celery_url, resolve
from paceline.wakeup import KombuPublisher, Waker
from tests.integration.producers import HELLO, INSTALLATION, NOWHERE, install
from tests.support.servers import start_valkey

SHORT, REST = dict(wakeup.SHORT), wakeup.REST
DUE = wire.due_key(INSTALLATION)
PUMP = wire.pump_queue(INSTALLATION)
HIGH = wire.high_queue(INSTALLATION)


@pytest.fixture(autouse=True)
def _on_its_way(patience: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is on its way stays so, however busy the machine is."""
    monkeypatch.setattr(wakeup, "FLAG", 600_000)


@pytest.fixture
def client(database_url: str, valkey: Redis, valkey_url: str) -> Iterator[Client]:
    install(database_url)
    with Client(database_url=database_url, broker_url=valkey_url, environ={}) as made:
        yield made


@pytest.fixture
def session(database_url: str) -> Iterator[Session]:
    engine = sa.create_engine(database_url)
    with Session(engine) as made:
        yield made
    engine.dispose()


def due(valkey: Redis) -> dict[str, float]:
    """The lanes on file, and when each is due."""
    found: Any = valkey.zrange(DUE, 0, -1, withscores=True)
    return {lane.decode(): score for lane, score in found}


def test_a_message_files_its_lane_and_calls_a_pump(client: Client, valkey: Redis) -> None:
    client.enqueue(HELLO, via="main")

    assert list(due(valkey)) == ["main/send"]
    assert abs(due(valkey)["main/send"] - time.time()) < 60
    assert (valkey.llen(PUMP), valkey.llen(HIGH)) == (1, 0)


def test_a_route_files_every_lane_it_may_leave_by(client: Client, valkey: Redis) -> None:
    client.enqueue(HELLO, via="sms", priority="high")

    assert set(due(valkey)) == {"main/send", "backup/send"}
    assert (valkey.llen(PUMP), valkey.llen(HIGH)) == (0, 1)


def test_one_call_is_enough_until_a_pump_has_looked(client: Client, valkey: Redis) -> None:
    for _ in range(3):
        client.enqueue(HELLO, via="main")
    assert valkey.llen(PUMP) == 1

    valkey.delete(wire.wake_key(INSTALLATION, high=False))
    client.enqueue(HELLO, via="main")

    assert valkey.llen(PUMP) == 2


def test_a_lane_that_waits_for_its_limit_is_pulled_forward_for_high_alone(client: Client, valkey: Redis) -> None:
    later = time.time() + 600
    valkey.zadd(DUE, {"main/send": later})

    client.enqueue(HELLO, via="main")
    assert due(valkey)["main/send"] == pytest.approx(later, abs=0.01)

    client.enqueue(HELLO, via="main", priority="high")
    assert due(valkey)["main/send"] < later


def test_a_message_for_later_and_a_replay_wake_nobody(client: Client, valkey: Redis) -> None:
    client.enqueue(HELLO, via="main", send_at=datetime.now(UTC) + timedelta(hours=1), idempotency_key="k")
    client.enqueue(HELLO, via="main", idempotency_key="k")

    assert due(valkey) == {}


def test_every_chunk_of_many_wakes(client: Client, valkey: Redis) -> None:
    client.enqueue_many([Outgoing(HELLO, "main"), Outgoing(HELLO, "backup", priority="high")])

    assert set(due(valkey)) == {"main/send", "backup/send"}
    assert (valkey.llen(PUMP), valkey.llen(HIGH)) == (1, 1)


def test_the_session_wakes_after_its_commit(client: Client, valkey: Redis, session: Session) -> None:
    client.enqueue(HELLO, via="main", session=session)
    assert due(valkey) == {}

    session.commit()

    assert list(due(valkey)) == ["main/send"]


def test_the_release_of_a_savepoint_wakes_nobody_yet(client: Client, valkey: Redis, session: Session) -> None:
    with session.begin_nested():
        client.enqueue(HELLO, via="main", session=session)
    assert due(valkey) == {}

    session.commit()

    assert list(due(valkey)) == ["main/send"]


def test_what_was_rolled_back_wakes_nobody_later(client: Client, valkey: Redis, session: Session) -> None:
    client.enqueue(HELLO, via="main", session=session)
    session.rollback()
    client.enqueue(HELLO, via="backup", session=session)
    session.commit()

    assert list(due(valkey)) == ["backup/send"]


def test_the_owner_of_a_bare_connection_says_when(client: Client, valkey: Redis, database_url: str) -> None:
    engine = sa.create_engine(database_url)
    with engine.begin() as connection:
        client.enqueue(HELLO, via="main", session=connection)
    engine.dispose()
    assert due(valkey) == {}

    client.wake()

    assert list(due(valkey)) == ["main/send"]


class Django:
    """Django's `connection`, as far as wake-ups see it."""

    def __init__(self, connection: Any, *, atomic: bool) -> None:
        self.connection, self.in_atomic_block, self.hooks = connection, atomic, list[Any]()

    def ensure_connection(self) -> None:
        pass

    def get_autocommit(self) -> bool:
        return False

    def on_commit(self, hook: Any) -> None:
        self.hooks.append(hook)


@pytest.mark.parametrize("atomic", [True, False])
def test_djangos_on_commit_wakes_where_django_allows_it(
    client: Client, valkey: Redis, session: Session, atomic: bool
) -> None:
    django = Django(session.connection().connection.driver_connection, atomic=atomic)
    client.enqueue(HELLO, via="main", session=django)
    session.commit()
    assert due(valkey) == {}

    for hook in django.hooks:
        hook()
    client.wake()

    assert list(due(valkey)) == ["main/send"]
    assert len(django.hooks) == atomic


def pump() -> str:
    return "done"


def test_the_call_is_one_that_celery_understands_and_tells_nothing(
    client: Client, valkey: Redis, valkey_url: str, database_url: str
) -> None:
    client.enqueue(HELLO, via="main", metadata={"order": "4821"}, idempotency_key="order-4821")

    (raw,) = valkey.lrange(PUMP, 0, -1)
    for secret in (HELLO.to, HELLO.text, "4821", "main"):
        assert secret.encode() not in raw
    app = Celery(set_as_current=False, broker=celery_url(resolve(database_url=database_url, broker_url=valkey_url)))
    task = app.task(name=wire.PUMP, ignore_result=True)(pump)
    with app.connection() as connection, connection.SimpleQueue(PUMP) as queue:
        message = queue.get(timeout=60)
        request = Request(message, app=app, task=task, decoded=False)
        assert (request.name, request.args, request.kwargs, request.expires, request.eta) == (
            wire.PUMP,
            [],
            {},
            None,
            None,
        )
        assert request.task(*request.args, **request.kwargs) == "done"
        message.ack()


def test_a_wake_up_that_fails_does_not_undo_the_commit_before_it(
    client: Client, session: Session, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    receipt = client.enqueue(HELLO, via="main", session=session)
    client.close()
    monkeypatch.setattr(client, "_sources", (None, f"sqlite:///{file}/not-a-directory/paceline.db", "embedded", {}))

    session.commit()
    client.wake()

    monkeypatch.setattr(client, "_sources", (None, database_url, NOWHERE, {}))
    assert client.status(receipt.id).status == "queued"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_broker_that_is_away_costs_nothing_but_the_wake_up(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a broker that does not answer, when many messages follow each other, then the first alone waits for it."""
    install(database_url)
    monkeypatch.setitem(wakeup.SHORT, "socket_timeout", 0.1)
    monkeypatch.setattr(wakeup, "REST", 600.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        broker = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        with Client(database_url=database_url, broker_url=broker, environ={}) as client:
            receipts = [client.enqueue(HELLO, via="main") for _ in range(20)]

            assert client.status(receipts[-1].id).status == "queued"
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()  # it was asked once


def test_who_waits_for_a_broker_does_not_wait_long() -> None:
    assert SHORT == {"socket_connect_timeout": 0.25, "socket_timeout": 0.5}
    assert REST == 5.0


def test_after_a_failure_the_broker_is_left_alone_for_a_while(valkey: Redis, valkey_url: str) -> None:
    away = Redis.from_url(NOWHERE, socket_connect_timeout=0.2)
    here = Redis.from_url(valkey_url)
    clock = Clock()
    waker = Waker(away, None, INSTALLATION, clock)
    assert not waker.wake(["main/send"], high=False)

    waker._script = here.register_script(wakeup.WAKE)
    clock.now = wakeup.REST - 0.1
    assert not waker.wake(["main/send"], high=False)
    clock.now = wakeup.REST + 0.1
    assert waker.wake(["main/send"], high=False)
    assert list(due(valkey)) == ["main/send"]
    here.close()
    waker.close()


def test_without_celery_the_lane_is_filed_and_the_rest_is_the_ticks(
    client: Client, valkey: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeup, "kombu", None)

    client.enqueue(HELLO, via="main")

    assert list(due(valkey)) == ["main/send"]
    assert valkey.llen(PUMP) == 0


def test_a_publisher_goes_on_when_the_broker_comes_and_comes_back() -> None:
    with tempfile.TemporaryDirectory(prefix="plw") as directory:
        url = f"redis+socket://{directory}/valkey.sock"
        publisher = KombuPublisher(url)
        with pytest.raises(wakeup.FAILURES):
            publisher.publish(PUMP)
        for _ in range(2):
            with start_valkey(Path(directory)) as here, Redis.from_url(here) as valkey:
                publish_soon(publisher)
                assert valkey.llen(PUMP) == 1
        publisher.close()


def publish_soon(publisher: KombuPublisher) -> None:
    """The first try after a restart may find the connection that died with the old server."""
    with contextlib.suppress(*wakeup.FAILURES):
        publisher.publish(PUMP)
        return
    publisher.publish(PUMP)

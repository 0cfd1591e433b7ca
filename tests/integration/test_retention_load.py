"""A purge beside everybody else's work: bounded steps, rests, no look at what waits, and nobody who waits for it."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from paceline.ids import new_id
from tests.integration.retention_support import left, made, purge
from tests.support.cost import cost
from tests.support.installation import ACCOUNT, Installation, recipient, until
from worker.retention import CHUNK, Retention
from worker.store import Store
from worker.work import Batch, Order

Build = Callable[..., Installation]

DAY = 86_400.0
SEND = f"{ACCOUNT}/send"


@pytest.fixture
def built(build: Build) -> Installation:
    return build()


class Rests(threading.Event):
    """Remembers how long it was waited for, and waits for nobody; set after so many. `meanwhile` is done in each."""

    def __init__(self, most: int = 1_000_000, meanwhile: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.taken: list[float] = []
        self._most = most
        self._meanwhile = meanwhile

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.taken.append(timeout)
        self._meanwhile()
        if len(self.taken) >= self._most:
            self.set()
        return self.is_set()


def fill(built: Installation, count: int, status: str, days: float, **columns: Any) -> None:
    """So many messages, made by the database itself, a second apart."""
    [row] = built.rows("SELECT id FROM paceline_stream WHERE via = :via AND priority = 1", via=ACCOUNT)
    sqlite = built.engine.dialect.name == "sqlite"
    numbers = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count) SELECT i FROM n"
        if sqlite
        else "SELECT i FROM generate_series(1, :count) AS s(i)"
    )
    number = "printf('%012d', i)" if sqlite else "lpad(i::text, 12, '0')"
    values = {"attempt": 0, "failures": 0, "unresolved": False, "polls": 0} | columns
    built.run(
        f"INSERT INTO paceline_message (id, stream_id, position, status, payload, created_at, updated_at,"
        f" {', '.join(values)}) SELECT :prefix || {number}, :stream, i, :status, :payload, :at + i, :at + i,"
        f" {', '.join(':' + name for name in values)} FROM ({numbers}) AS numbered",
        prefix=new_id()[:24], stream=row["id"], status=status, count=count, at=time.time() - days * DAY - count,
        payload=json.dumps({"kind": "text", "to": recipient(0), "text": "x"}), **values,
    )  # fmt: skip


def test_it_goes_in_bounded_steps_and_rests_between_them(built: Installation) -> None:
    fill(built, 2 * CHUNK + 10, "delivered", 40)
    rests = Rests()

    counts = made(built).purge(rests)

    assert counts["contents"] == 2 * CHUNK + 10
    assert len(rests.taken) == 2
    assert min(rests.taken) >= 0.01


def test_a_shutdown_ends_it_after_the_step_it_is_in(built: Installation) -> None:
    fill(built, 3 * CHUNK, "delivered", 100)

    counts = made(built).purge(Rests(most=1))

    assert counts == {**dict.fromkeys(counts, 0), "contents": CHUNK}
    assert left(built) == {"message": 3 * CHUNK}


def test_equal_times_end_no_walk_early_and_keep_none_for_ever(built: Installation) -> None:
    """Given more messages of one instant than a step takes, as when a whole broadcast is cancelled."""
    fill(built, 2 * CHUNK + 1, "cancelled", 100)
    built.run("UPDATE paceline_message SET updated_at = 1000")

    assert purge(built) == {"contents": 2 * CHUNK + 1, "messages": 2 * CHUNK + 1}


def test_two_at_once_share_the_work(built: Installation) -> None:
    fill(built, 5 * CHUNK, "delivered", 100)
    counts: list[dict[str, int]] = []

    def run() -> None:
        counts.append(made(built).purge())

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [sum(one[name] for one in counts) for name in ("contents", "messages")] == [5 * CHUNK, 5 * CHUNK]
    assert left(built) == {}


def test_claims_go_on_while_it_purges(built: Installation) -> None:
    """Given a long purge, when claims are made all the while, then one is through after each of its steps, at the
    latest: none waits for more than one."""
    fill(built, 20 * CHUNK, "delivered", 100)
    fill(built, 2_000, "queued", 100)
    store, taken = Store(built.engine), list[int]()

    def claim() -> None:
        found = store.cycle(Batch(), Order(new_id(), built.topology.lanes[SEND], 1, 5, 5))
        assert found is not None
        taken.append(len(found.messages))

    def one_more() -> None:
        before = len(taken)
        until(lambda: len(taken) > before)

    def run() -> None:
        while not over.is_set():
            claim()

    over = threading.Event()
    claiming = threading.Thread(target=run)
    claiming.start()
    rests = Rests(meanwhile=one_more)
    try:
        made(built).purge(rests)
    finally:
        over.set()
        claiming.join()

    assert len(rests.taken) >= 2 * 19  # between the steps of contents, and of messages
    assert built.statuses().get("sending") == sum(taken)


@pytest.mark.timeout(240)
def test_it_never_reads_what_waits(built: Installation) -> None:
    """Given so many to forget, when a hundred times as many wait beside them, then a purge reads no more."""
    retention = made(built)
    fill(built, 100, "delivered", 40)
    fill(built, 2_000, "queued", 400)
    _analyze(built)
    few = _looks(built, retention)

    fill(built, 100_000, "queued", 400)
    fill(built, 100_000, "queued", 400, due_at=9e9)
    fill(built, 20_000, "accepted", 400, poll_at=9e9)
    fill(built, 20_000, "unknown", 400)
    fill(built, 50_000, "delivered", 5)
    _analyze(built)
    many = _looks(built, retention)

    print(f"cost of the looks: {few:g} beside 2,000, {many:g} beside 290,000")
    assert many <= few * 1.5 + 20


def _looks(built: Installation, retention: Retention) -> float:
    """What all first looks cost, and the locks on what they find."""

    def look() -> None:
        with built.engine.connect() as connection:
            for step in retention._steps():
                connection.execute(step.rows(), {"place": step.start}).all()

    look()  # what the first one reads of the catalogue counts for nobody
    return cost(built.engine, look)


def _analyze(built: Installation) -> None:
    with built.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE" if built.engine.dialect.name == "postgresql" else "ANALYZE"))


def test_a_second_beat_costs_nothing(built: Installation) -> None:
    service = built.service()
    service.retention = made(built)
    fill(built, 3, "delivered", 100)

    assert service.purge()["messages"] == 3
    fill(built, 3, "delivered", 100)
    assert service.purge() == {}
    assert built.service().purge() == {}
    assert left(built) == {"message": 3}

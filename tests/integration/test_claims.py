"""Claims: what they cost, whom they prefer, and that a lost commit neither doubles nor loses one."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from paceline.ids import new_id
from paceline.status import Priority
from sandbox.background import SandboxServer
from tests.support.installation import ACCOUNT, Installation, recipient, turn, until
from worker.store import Store
from worker.work import Batch, Claim, Order, Result

Build = Callable[..., Installation]
SEND = f"{ACCOUNT}/send"


def claim(built: Installation, high: int = 10, rest: int = 10, total: int = 10) -> Claim:
    order = Order(new_id(), built.topology.lanes[SEND], high, rest, total)
    found = Store(built.engine).cycle(Batch(), order)
    assert found is not None
    return found


def line(built: Installation, priority: str, broadcast: str = "", **fields: Any) -> int:
    """The stream of that priority, or a new one for a broadcast."""
    level = Priority(priority).level
    if broadcast:
        values = {"weight": 1.0, "passed": 0.0, "paused": False, "cancelled": False} | fields
        built.run(
            "INSERT INTO paceline_stream (via, priority, broadcast, weight, passed, paused, cancelled)"
            " VALUES (:via, :level, :broadcast, :weight, :passed, :paused, :cancelled)",
            via=ACCOUNT, level=level, broadcast=broadcast, **values,
        )  # fmt: skip
    [row] = built.rows(
        "SELECT id FROM paceline_stream WHERE via = :via AND priority = :level AND broadcast = :broadcast",
        via=ACCOUNT, level=level, broadcast=broadcast,
    )  # fmt: skip
    return int(row["id"])


def fill(built: Installation, stream: int, count: int, due_at: float | None = None) -> None:
    """So many waiting messages, made by the database itself."""
    payload = json.dumps({"kind": "text", "to": recipient(0), "text": "x"})
    numbers = {
        "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count) SELECT i FROM n",
        "postgresql": "SELECT i FROM generate_series(1, :count) AS s(i)",
    }[built.engine.dialect.name]
    prefix = new_id()[:24]
    number = "printf('%012d', i)" if built.engine.dialect.name == "sqlite" else "lpad(i::text, 12, '0')"
    built.run(
        "INSERT INTO paceline_message (id, stream_id, position, status, payload, created_at, updated_at, due_at,"
        f" attempt, failures, unresolved, polls) SELECT :prefix || {number}, :stream, i, 'queued', :payload, 1, 1,"
        f" CAST(:due_at AS DOUBLE PRECISION), 0, 0, :no, 0 FROM ({numbers}) AS numbered",
        prefix=prefix, stream=stream, payload=payload, due_at=due_at, count=count, no=False,
    )  # fmt: skip


def claim_cost(built: Installation) -> float:
    """What a claim touches: PostgreSQL's buffers, or SQLite's virtual machine steps."""
    claim(built)  # what the first one reads of the catalogue counts for nobody
    if built.engine.dialect.name == "postgresql":
        return _buffers(built)
    return _steps(built)


def _buffers(built: Installation) -> float:
    total = 0.0

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        nonlocal total
        if statement.startswith(("SELECT", "WITH", "UPDATE")) and "EXPLAIN" not in statement:
            with connection.connection.driver_connection.cursor() as own:
                own.execute("SAVEPOINT probe")
                own.execute("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + statement, parameters)
                plan = own.fetchone()[0][0]["Plan"]
                own.execute("ROLLBACK TO SAVEPOINT probe")
            total += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]

    event.listen(built.engine, "before_cursor_execute", explain)
    try:
        claim(built)
    finally:
        event.remove(built.engine, "before_cursor_execute", explain)
    return total


def _steps(built: Installation) -> float:
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    def watch(connection: Any, *_: Any) -> None:
        connection.connection.driver_connection.set_progress_handler(count, 10)

    event.listen(built.engine, "before_cursor_execute", watch)
    try:
        claim(built)
    finally:
        event.remove(built.engine, "before_cursor_execute", watch)
        with built.engine.connect() as connection:
            connection.connection.driver_connection.set_progress_handler(None, 0)  # type: ignore[union-attr]
    return steps


@pytest.mark.timeout(300)
def test_a_claim_costs_the_same_however_much_is_waiting(build: Build) -> None:
    """Given 10,000 waiting, when a million are, a million dated ahead and a paused million, then no more is read."""
    built = build()
    normal = line(built, "normal")
    fill(built, normal, 10_000)
    _analyze(built.engine)
    few = claim_cost(built)

    fill(built, normal, 990_000)
    fill(built, normal, 1_000_000, due_at=4e9)
    fill(built, line(built, "normal", "paused-broadcast", paused=True), 1_000_000)
    _analyze(built.engine)
    many = claim_cost(built)

    print(f"cost of a claim: {few:g} at 10,000, {many:g} at 1,000,000")
    assert many <= few * 1.5 + 20


def _analyze(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE paceline_message"))


def test_high_goes_before_normal_before_bulk(build: Build) -> None:
    built = build()
    for number, priority in enumerate(["bulk", "normal", "high", "bulk", "normal", "high"]):
        built.text(number, priority=priority)

    order = [message.priority for _ in range(3) for message in claim(built, 2, 2, 2).messages]

    assert order == [0, 0, 1, 1, 2, 2]


def test_room_for_high_alone_is_for_high_alone(build: Build) -> None:
    built = build()
    built.text(0, priority="normal")
    built.text(1, priority="high")

    found = claim(built, high=5, rest=0)

    assert [message.high for message in found.messages] == [True]
    assert found.more_rest
    assert not found.more_high


def test_streams_of_one_priority_share_by_weight(build: Build) -> None:
    """Given a stream of weight 3 beside one of weight 1, when 40 are claimed one by one, then 30 and 10 are."""
    built = build()
    heavy = line(built, "bulk", "heavy", weight=3.0)
    light = line(built, "bulk", "light", weight=1.0)
    fill(built, heavy, 100)
    fill(built, light, 100)

    for _ in range(40):
        claim(built, 1, 1, 1)

    taken = {row["stream_id"]: row["count"] for row in built.rows(
        "SELECT stream_id, count(*) AS count FROM paceline_message WHERE status = 'sending' GROUP BY stream_id"
    )}  # fmt: skip
    assert taken == {heavy: 30, light: 10}


def test_a_stream_that_was_idle_does_not_starve_the_others(build: Build) -> None:
    """Given one that has taken ten thousand while another slept, when it wakes, then both go on."""
    built = build()
    busy = line(built, "bulk", "busy", passed=10_000.0)
    fill(built, busy, 200)
    fill(built, line(built, "bulk", "idle"), 200)

    for _ in range(10):
        claim(built, 10, 10, 10)

    taken = built.rows(
        "SELECT count(*) AS count FROM paceline_message WHERE status = 'sending' AND stream_id = :s", s=busy
    )
    assert taken[0]["count"] >= 15


def test_a_paused_stream_waits_and_is_lost_to_nobody(build: Build) -> None:
    built = build()
    built.text()
    built.run("UPDATE paceline_stream SET paused = :yes WHERE id = :id", yes=True, id=line(built, "normal"))
    assert claim(built).messages == ()

    built.run("UPDATE paceline_stream SET paused = :no", no=False)

    assert len(claim(built).messages) == 1


def test_two_claims_never_take_the_same_message(build: Build) -> None:
    built = build()
    for number in range(30):
        built.text(number)

    taken = Counter(message.id for _ in range(5) for message in claim(built).messages)

    assert len(taken) == 30
    assert set(taken.values()) == {1}


def test_a_commit_whose_answer_was_lost_is_found_again(build: Build) -> None:
    """Given a claim that was committed unheard, when the cycle is repeated, then it is the same claim."""
    built = build()
    built.text(0)
    built.text(1)
    store, order = Store(built.engine), Order(new_id(), built.topology.lanes[SEND], 1, 1, 1)
    first = store.cycle(Batch(), order)

    again = store.cycle(Batch(), order, repeated=True)

    assert first is not None
    assert again is not None
    assert [message.id for message in again.messages] == [message.id for message in first.messages]
    assert built.statuses() == {"queued": 1, "sending": 1}
    assert len(built.rows("SELECT id FROM paceline_grant")) == 1


def test_a_repeated_result_changes_nothing_more(build: Build) -> None:
    built = build()
    receipt = built.text()
    [message] = claim(built).messages
    [grant] = built.rows("SELECT id FROM paceline_grant")
    result = Result(
        id=receipt.id, grant_id=grant["id"], attempt=message.attempt, status="accepted", account=ACCOUNT,
        outcome="accepted", poll_in=5.0, provider_message_id="msg_1",
    )  # fmt: skip
    store = Store(built.engine)

    store.cycle(Batch(results=[result]))
    store.cycle(Batch(results=[result]), repeated=True)

    view = built.client.status(receipt.id)
    assert [event_.status for event_ in view.events] == ["accepted"]
    assert len(view.attempts) == 1
    assert built.rows("SELECT closed FROM paceline_grant") == [{"closed": 1}]


def test_messages_without_a_token_go_back_to_their_place(build: Build, sandbox: SandboxServer) -> None:
    """Given room for two, when five are claimed, then three are queued again, in order, with no attempt counted."""
    built = build(limits={"send": ["2/minute"]})
    service = built.service()
    receipts = [built.text(number) for number in range(5)]

    until(lambda: turn(service) and built.statuses() == {"accepted": 2, "queued": 3})

    # Both leave at once, so either may arrive first.
    assert {entry.recipient for entry in sandbox.ledger("aurogy")} == {recipient(0), recipient(1)}
    assert built.rows("SELECT sum(attempt) AS attempts FROM paceline_message WHERE status = 'queued'") == [
        {"attempts": 0}
    ]
    assert not built.client.status(receipts[4].id).events

"""Steering what runs: pausing, cancelling, retrying, sharing a lane; and what that costs with many rows waiting."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event as listening
from sqlalchemy import text

from paceline import BroadcastNotFound, PacelineError, Text
from sandbox.background import SandboxServer
from tests.support.cost import cost
from tests.support.installation import ACCOUNT, Installation, recipient, turn, until
from worker.broadcasts.tick import Broadcasts
from worker.broadcasts.work import BroadcastWork
from worker.lanes.backlog import waiting_lanes
from worker.operate import resolve, retry
from worker.store import Store
from worker.work import Batch, Order

Build = Callable[..., Installation]

HI = Text(to="{id}", text="Hi")
MANY = 100_000


def rows(count: int, start: int = 0) -> list[dict[str, str]]:
    return [{"id": recipient(number)} for number in range(start, start + count)]


def claim(built: Installation, count: int, number: int = 0) -> dict[Any, int]:
    """Claim so many of the lane; by broadcast (or else priority), how many were taken."""
    lane = built.topology.lanes[f"{ACCOUNT}/send"]
    order = Order(f"op-{time.monotonic_ns()}-{number}", lane, count, count, count)
    found = Store(built.engine).cycle(Batch(), order)
    assert found is not None
    names = {
        row["id"]: row["name"] or row["priority"]
        for row in built.rows(
            "SELECT m.id, b.name, s.priority FROM paceline_message m JOIN paceline_stream s ON s.id = m.stream_id "
            "LEFT JOIN paceline_broadcast b ON b.id = s.broadcast WHERE m.status = 'sending'"
        )
    }
    taken: dict[Any, int] = {}
    for message in found.messages:
        taken[names[message.id]] = taken.get(names[message.id], 0) + 1
    return taken


def multiply(built: Installation, name: str, count: int) -> None:
    """Let so many more wait in a broadcast's line, as if they had been staged."""
    first = built.rows(
        "SELECT m.id, m.stream_id FROM paceline_message m JOIN paceline_stream s ON s.id = m.stream_id "
        "JOIN paceline_broadcast b ON b.id = s.broadcast WHERE b.name = :name LIMIT 1", name=name,
    )[0]  # fmt: skip
    numbers = (
        "SELECT generate_series(1, :count) AS n"
        if built.engine.dialect.name == "postgresql"
        else "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < :count) SELECT n FROM c"
    )
    others = "status, payload, created_at, updated_at, attempt, failures, unresolved, polls, broadcast"
    built.run(
        f"INSERT INTO paceline_message (id, stream_id, position, {others}) SELECT 'x' || :name || n.n, stream_id, "
        f"position + n.n, {others} FROM paceline_message, ({numbers}) AS n WHERE id = :id",
        id=first["id"], count=count, name=name,
    )  # fmt: skip
    built.run("UPDATE paceline_broadcast SET messages = messages + :count WHERE name = :name", count=count, name=name)
    if built.engine.dialect.name == "postgresql":
        built.run("ANALYZE paceline_message")


def test_two_share_a_lane_by_their_weight(build: Build) -> None:
    built = build()
    built.client.broadcast("one", HI, rows(300), ACCOUNT, weight=1)
    built.client.broadcast("three", HI, rows(300, 1000), ACCOUNT, weight=3)
    taken: dict[str, int] = {}
    for number in range(10):
        for name, count in claim(built, 16, number).items():
            taken[name] = taken.get(name, 0) + count
    assert 110 <= taken["three"] <= 130
    assert taken["one"] + taken["three"] == 160


def test_a_small_one_behind_a_large_one_begins_at_once_and_high_passes_both(build: Build) -> None:
    # given a large one that has been running for a while
    built = build()
    built.client.broadcast("large", HI, rows(1_000), ACCOUNT)
    multiply(built, "large", 20_000)
    for number in range(5):
        assert claim(built, 100, number) == {"large": 100}

    # when a small one comes, then it has its share of the next claim
    built.client.broadcast("small", HI, rows(20, 50_000), ACCOUNT)
    assert claim(built, 32)["small"] >= 8

    # and what is important goes before both
    built.text(99, priority="high")
    assert claim(built, 4)[0] == 1


def test_pause_resume_and_cancel_take_effect_at_the_next_claim_however_many_wait(build: Build) -> None:
    # given one of which ten wait, and one of which a hundred thousand do
    built = build()
    few = built.client.broadcast("few", HI, rows(10, 50_000), ACCOUNT)
    view = built.client.broadcast("b", HI, rows(10), ACCOUNT)
    engine = built.client._open()._engine
    small = [cost(engine, step) for step in (few.pause, few.resume, few.cancel)]
    BroadcastWork(built.engine, lambda _via: None).round()
    built.run("DELETE FROM paceline_message WHERE status = 'cancelled'")
    multiply(built, "b", MANY)

    def takes(step: Callable[[], Any], as_small: float) -> bool:
        return cost(engine, step) <= as_small * 1.5 + 50

    # then each is one row, which costs as much as ever, and the next claim takes nothing or something again
    assert takes(view.pause, small[0])
    assert claim(built, 8) == {}
    with built.engine.connect() as connection:
        assert waiting_lanes(connection, built.topology).lanes == []
    assert takes(view.resume, small[1])
    assert claim(built, 8) == {"b": 8}
    assert takes(view.cancel, small[2])
    assert claim(built, 8) == {}

    # and what had left is not called back, while the rest ends as cancelled in its time
    work = BroadcastWork(built.engine, lambda _via: None)
    until(lambda: (work.round(), built.statuses().get("queued", 0) == 0)[-1], 100)
    assert built.statuses() == {"sending": 8, "cancelled": MANY + 2}
    view = view.refresh()
    assert (view.status, view.counts["cancelled"]) == ("cancelled", MANY + 2)


def test_what_its_schedule_holds_is_not_claimed(build: Build) -> None:
    built = build()
    built.client.broadcast("b", HI, rows(3), ACCOUNT, send_at=datetime.now(UTC) + timedelta(hours=1))
    assert claim(built, 8) == {}
    built.run("UPDATE paceline_stream SET held = false")
    assert claim(built, 8) == {"b": 3}


def test_what_comes_back_to_a_cancelled_line_is_cancelled_too(build: Build) -> None:
    # given one that was on the wire when its broadcast was cancelled, and could not be sent after all
    built = build()
    view = built.client.broadcast("b", HI, rows(2), ACCOUNT)
    claim(built, 1)
    view.cancel()
    work = BroadcastWork(built.engine, lambda _via: None)
    work.round()
    assert built.statuses() == {"sending": 1, "cancelled": 1}
    built.run("UPDATE paceline_message SET status = 'queued' WHERE status = 'sending'")
    work.round()
    assert built.statuses() == {"cancelled": 2}
    assert view.refresh().counts["cancelled"] == 2


def test_what_an_operator_queues_again_opens_a_finished_one(build: Build) -> None:
    built = build()
    view = built.client.broadcast("b", HI, rows(2), ACCOUNT)
    built.run("UPDATE paceline_message SET status = 'failed', reason = 'INVALID_RECIPIENT'")
    steering = Broadcasts(built.engine)
    steering.steer()
    assert (view.refresh().status, view.refresh().reason) == ("finished", "2 failed")

    retry(built.engine, built.rows("SELECT id FROM paceline_message")[0]["id"])
    steering.work()
    assert view.refresh().status == "running"
    assert claim(built, 8) == {"b": 1}


def test_nothing_of_a_cancelled_one_is_queued_again_by_hand(build: Build) -> None:
    # given a broadcast of which one failed and another is unknown, and which is cancelled
    built = build()
    view = built.client.broadcast("b", HI, rows(2), ACCOUNT)
    first, second = (row["id"] for row in built.rows("SELECT id FROM paceline_message ORDER BY id"))
    built.run("UPDATE paceline_message SET status = 'failed' WHERE id = :id", id=first)
    built.run("UPDATE paceline_message SET status = 'unknown', unresolved = true WHERE id = :id", id=second)
    view.cancel()

    # then that is said, and both stay as they are
    sentence = "The broadcast 'b' is cancelled: nothing of it is sent any more; enqueue it anew."
    with pytest.raises(PacelineError, match=re.escape(sentence)):
        retry(built.engine, first)
    with pytest.raises(PacelineError, match=re.escape(sentence)):
        resolve(built.engine, second, "resend")
    assert built.statuses() == {"failed": 1, "unknown": 1}
    resolve(built.engine, second, "failed")
    assert built.statuses() == {"failed": 2}


def test_failed_ones_are_retried_by_their_reason_but_never_one_that_may_have_arrived(build: Build) -> None:
    built = build()
    view = built.client.broadcast("b", HI, rows(5), ACCOUNT)
    ids = [row["id"] for row in built.rows("SELECT id FROM paceline_message ORDER BY id")]
    built.run("UPDATE paceline_message SET status = 'failed', reason = 'RATE: too many'")
    built.run("UPDATE paceline_message SET reason = 'BLOCKED' WHERE id = :id", id=ids[0])
    built.run("UPDATE paceline_message SET accepted_at = 1 WHERE id = :id", id=ids[1])
    built.run("UPDATE paceline_message SET unresolved = true WHERE id = :id", id=ids[2])
    built.run("UPDATE paceline_message SET payload = '{}' WHERE id = :id", id=ids[3])
    Broadcasts(built.engine).steer()

    assert built.client.retry_broadcast("b", "RATE") == 1
    assert built.statuses() == {"failed": 4, "queued": 1}
    assert view.refresh().status == "running"
    assert built.client.retry_broadcast("b") == 1
    assert [event.reason for event in built.client.status(ids[4]).events] == ["retried by an operator"]


def test_what_is_over_cannot_be_steered_and_what_is_not_there_is_said(build: Build) -> None:
    built = build()
    view = built.client.broadcast("b", HI, rows(1), ACCOUNT)
    view.cancel()
    assert view.cancel().status == "cancelled"
    for step in (view.pause, view.resume):
        with pytest.raises(PacelineError, match="The broadcast 'b' is cancelled"):
            step()
    with pytest.raises(PacelineError, match="nothing of it is sent any more"):
        built.client.retry_broadcast("b")
    with pytest.raises(BroadcastNotFound):
        built.client.get_broadcast("c")


def test_every_step_is_an_event(build: Build) -> None:
    built = build()
    view = built.client.broadcast("b", HI, rows(1), ACCOUNT)
    view.pause()
    view.resume()
    built.run("UPDATE paceline_message SET status = 'delivered'")
    service = built.service()
    service.tick()
    service.relay.run()
    steps = [event for event in built.client.events() if event.kind == "broadcast"]
    assert [event.data["status"] for event in steps] == ["running", "paused", "resumed", "finished"]
    assert {(event.data["id"], event.data["name"]) for event in steps} == {(view.id, "b")}


def test_a_test_goes_to_ones_own_address_once_as_an_ordinary_message(build: Build, sandbox: SandboxServer) -> None:
    built = build()
    message = Text(to="{id}", text="Hi {name}")
    asked: Any = {"name": "b", "message": message, "recipients": [{"id": recipient(1), "name": "Ada"}], "via": ACCOUNT}
    first = built.client.broadcast_test(to=[recipient(500), recipient(501)], **asked)
    again = built.client.broadcast_test(to=[recipient(501)], **asked)
    assert [receipt.replayed for receipt in (*first, *again)] == [False, False, True]
    assert built.client.broadcasts() == []
    payloads = built.rows("SELECT payload, idempotency_key FROM paceline_message ORDER BY id")
    assert "Hi Ada" in payloads[0]["payload"]
    assert recipient(500) in payloads[0]["payload"]
    assert recipient(500) not in payloads[0]["idempotency_key"]


def test_steering_twenty_costs_the_same_however_many_wait_and_reads_by_index(build: Build) -> None:
    # given twenty open ones
    built = build()
    for number in range(20):
        built.client.broadcast(
            f"b{number}", HI, rows(2, 10 * number), ACCOUNT, ramp_up={"first": 1} if number == 3 else None
        )
    steering = Broadcasts(built.engine)
    steering.steer()
    few = cost(built.engine, steering.steer)

    # when one of them has a hundred thousand rows, then looking after them all costs no more
    multiply(built, "b0", MANY)
    assert steering.steer() == 20
    assert cost(built.engine, steering.steer) <= few * 1.5 + 50

    # then each probe walks the index of broadcasts' messages
    plan = "EXPLAIN" if built.engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
    probe = "SELECT id FROM paceline_message WHERE broadcast AND stream_id IN (1, 2) AND status = 'queued' LIMIT 1"
    with built.engine.connect() as connection:
        said = " ".join(str(row) for row in connection.execute(text(f"{plan} {probe}")))
    assert "ix_paceline_message_broadcast" in said or "ix_paceline_message_ready" in said
    assert "Seq Scan" not in said
    assert "SCAN paceline_message" not in said


def test_with_nothing_open_steering_is_one_query(build: Build) -> None:
    built = build()
    asked: list[str] = []
    listening.listen(built.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    assert Broadcasts(built.engine).steer() == 0
    assert len([statement for statement in asked if statement.startswith("SELECT")]) == 1


def test_counting_takes_at_most_a_fiftieth_of_the_time(build: Build) -> None:
    built = build()
    for name in ("a", "b"):
        built.client.broadcast(name, HI, rows(1), ACCOUNT)
    work = BroadcastWork(built.engine, lambda _via: None)
    assert work.round()["counted"] == 2
    # each took ten seconds, and both together are a fiftieth of a thousand
    built.run("UPDATE paceline_broadcast SET count_seconds = 10, counted_at = counted_at - 800")
    assert work.round()["counted"] == 0
    built.run("UPDATE paceline_broadcast SET count_seconds = 10, counted_at = counted_at - 300")
    assert work.round()["counted"] == 2


def test_it_runs_to_its_end_between_pauses_and_everybody_is_written_to_once(
    build: Build, sandbox: SandboxServer
) -> None:
    # given a lane that lets twenty go at a time
    built = build(limits={"send": ["20/minute"]})
    view = built.client.broadcast("b", HI, rows(80), ACCOUNT)
    sent = 0

    def some_more_went() -> bool:
        a_minute_later(built)
        return len(posted(sandbox)) > sent

    for _ in range(3):
        until(some_more_went)
        sent = len(posted(sandbox))

        # when it is paused, then nothing goes, though there is room for twenty more
        view.pause()
        assert view.refresh().status == "paused"
        a_minute_later(built)
        assert len(posted(sandbox)) == sent
        assert built.statuses()["queued"] == 80 - sent
        view.resume()

    until(lambda: a_minute_later(built) and view.refresh().status == "finished")
    assert len({entry.recipient for entry in posted(sandbox)}) == len(posted(sandbox)) == 80


def a_minute_later(built: Installation) -> bool:
    """Let what was sent be so long ago that it counts against no limit, and a worker work that knows nothing of it."""
    built.run("DELETE FROM paceline_grant")
    built.redis.flushall()
    return turn(built.service(), 0.3)


def posted(sandbox: SandboxServer) -> list[Any]:
    return [entry for entry in sandbox.ledger("aurogy") if entry.method == "POST" and entry.accepted]

"""A process' tick and sweep: what nobody announced is found, what Redis forgot is filed again, one beat is enough."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from redis.exceptions import RedisError
from sqlalchemy import event

from sandbox.background import SandboxServer
from tests.integration.test_claims import fill, line
from tests.support.installation import ACCOUNT, Installation, until
from worker import service as services
from worker.lanes.backlog import waiting_lanes
from worker.service import TICK_FLAG_MS, Service
from worker.sweep import CHUNK

Build = Callable[..., Installation]
SEND = f"{ACCOUNT}/send"


@pytest.fixture
def built(build: Build) -> Installation:
    return build()


def tick(service: Service) -> dict[str, int]:
    """A tick, whenever the last one was."""
    service.redis.delete(service._tick_key)
    return service.tick()


@pytest.fixture
def flagged(monkeypatch: pytest.MonkeyPatch) -> int:
    """A tick's flag that stands for longer than any machine takes for two lines; in milliseconds."""
    monkeypatch.setattr(services, "TICK_FLAG_MS", 600_000)
    return 600_000


@pytest.mark.usefixtures("flagged")
def test_a_second_tick_behind_the_first_is_one_too_many(built: Installation) -> None:
    """Given two beats, when both tick, then the work is done once."""
    one, other = built.service(), built.service()
    built.text()

    assert one.tick()["lanes"] == 1
    assert other.tick() == {}
    assert one.tick() == {}
    assert built.woken == 1


def test_half_a_second_later_a_tick_is_none_too_many(built: Installation) -> None:
    """Given a beat that has ticked, when its flag has gone by itself, then the other beat's tick does the work."""
    one, other = built.service(), built.service()
    assert one.tick() != {}

    until(lambda: other.tick() != {})
    assert 0 < TICK_FLAG_MS <= 500


@pytest.mark.parametrize("chore", ["tick", "sweep", "broadcast"])
def test_what_is_called_again_before_it_has_ended_is_not_begun_twice(
    built: Installation, monkeypatch: pytest.MonkeyPatch, chore: str
) -> None:
    """Given a chore that takes long, when it is called again, then that call ends at once, and the next one after the
    first has ended does the work again."""
    service, entered, released = built.service(), threading.Event(), threading.Event()
    rooms = {"tick": (service.sweeper, "stage_due"), "sweep": (service.sweeper, "end_leases")}
    room, step = rooms.get(chore, (service.broadcasts, "work"))
    work, begun = getattr(room, step), []

    def slow() -> object:
        begun.append(1)
        entered.set()
        released.wait(60)
        return work()

    monkeypatch.setattr(room, step, slow)
    first = threading.Thread(target=getattr(service, chore))
    first.start()
    assert entered.wait(60)
    service.redis.delete(service._tick_key)

    assert getattr(service, chore)() == {}
    assert len(begun) == 1

    released.set()
    first.join(60)
    getattr(service, chore)()
    assert len(begun) == 2


def test_a_flag_from_a_clock_that_was_turned_back_stops_no_tick(built: Installation, flagged: int) -> None:
    """Given a flag that stands for hours, since the server's clock was turned back by so much, then the next tick is
    done, and its own flag stands for as long as any other's."""
    service = built.service()
    service.redis.set(service._tick_key, "1", px=3 * 3_600_000)

    assert service.tick() != {}
    assert service.tick() == {}
    assert 0 < service.redis.pttl(service._tick_key) <= flagged


def test_a_tick_files_what_redis_forgot(built: Installation, sandbox: SandboxServer) -> None:
    service = built.service()
    built.text()
    built.redis.flushall()
    assert service.due.take().lane is None

    service.tick()

    assert service.due.take().lane == SEND


def test_a_tick_without_work_wakes_nobody(built: Installation) -> None:
    assert built.service().tick()["lanes"] == 0
    assert built.woken == 0


def test_a_lane_that_is_filed_for_later_wakes_nobody(built: Installation) -> None:
    service = built.service()
    built.text()
    built.redis.flushall()
    service.due.file({SEND: 30.0})

    service.tick()

    assert built.woken == 0


def test_a_process_that_stops_calls_no_more_slices(built: Installation) -> None:
    service = built.service()
    built.text()
    service.pump.stop()

    service.tick()

    assert built.woken == 0


def test_what_is_due_is_staged_and_leaves(built: Installation, sandbox: SandboxServer) -> None:
    service = built.service()
    built.text(send_at=datetime.now(UTC) + timedelta(hours=1))
    found = tick(service)
    assert (found["staged"], found["lanes"]) == (0, 0)

    built.run("UPDATE paceline_message SET due_at = due_at - 3601")

    found = tick(service)
    assert (found["staged"], found["lanes"]) == (1, 1)


def test_high_that_nobody_announced_does_not_wait_for_the_others_tokens(built: Installation) -> None:
    """Given a lane that is filed for midnight, when a message of high priority falls due, then the lane is due."""
    service = built.service()
    built.text(1)
    built.text(2, priority="high")
    built.redis.flushall()
    service.due.file({SEND: 36_000.0})

    tick(service)

    assert service.due.take().lane == SEND


def test_what_waits_is_found_by_lane_and_urgency(build: Build, sandbox: SandboxServer) -> None:
    second = f'[accounts.second]\nprovider = "aurogy"\nbase_url = "{sandbox.base_url("aurogy")}"\n'
    route = 'api_key = "auro_test_sk_secondsecond"\n[routes]\nboth = ["aurogy-main", "second"]\n'
    built = build(accounts=second + route)

    def found() -> tuple[set[str], set[str]]:
        with built.engine.connect() as connection:
            waiting = waiting_lanes(connection, built.topology)
        return set(waiting.lanes), set(waiting.urgent)

    assert found() == (set(), set())
    receipt = built.text(1)
    assert found() == ({SEND}, set())
    [line] = built.rows("SELECT id FROM paceline_stream WHERE via = 'both' AND priority = 0")
    built.run("UPDATE paceline_message SET stream_id = :line", line=line["id"])
    assert found() == ({SEND, "second/send"}, {SEND, "second/send"})

    built.run(
        "UPDATE paceline_message SET status = 'accepted', account = 'second', poll_at = 1 WHERE id = :id", id=receipt.id
    )
    assert found() == ({"second/status"}, set())


def test_all_that_is_due_is_staged_at_once(built: Installation) -> None:
    """Given more than one transaction takes, when their time has come, then one tick stages them all."""
    fill(built, line(built, "normal"), CHUNK + 100, due_at=5.0)

    assert built.service().tick()["staged"] == CHUNK + 100


@pytest.mark.parametrize("column", ["paused", "cancelled"])
def test_a_line_that_is_held_is_not_found(built: Installation, column: str) -> None:
    built.text()
    built.run(f"UPDATE paceline_stream SET {column} = :yes", yes=True)

    assert built.service().tick()["lanes"] == 0


def test_a_tick_without_redis_fails_alone(built: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    service = built.service()
    built.text()

    def away(*_: object, **__: object) -> None:
        raise RedisError

    monkeypatch.setattr(service.redis, "set", away)
    with pytest.raises(RedisError):
        service.tick()

    monkeypatch.undo()
    assert tick(service)["lanes"] == 1


def test_a_sweep_counts_what_it_moved(built: Installation) -> None:
    service = built.service()
    over, late = built.text(1), built.text(2)
    _lose(built, over.id)
    built.run("UPDATE paceline_message SET expires_at = 1 WHERE id = :id", id=late.id)

    found = service.sweep()
    assert (found["leases_ended"], found["expired"], found["given_up"]) == (1, 1, 0)
    assert set(service.sweep().values()) == {0}
    assert built.statuses() == {"unknown": 1, "expired": 1}


def test_a_lease_without_its_grant_is_too_old_for_anybody_to_recognise(built: Installation) -> None:
    """Given a provider that recognises repeats for an hour, and a grant that was purged, then it is not sent again."""
    for each in built.topology.senders.values():
        object.__setattr__(each, "provider", _recognising(each.provider))
    receipt = built.text(1)
    _lose(built, receipt.id)

    built.service().sweep()

    assert built.client.status(receipt.id).status == "unknown"


def _lose(built: Installation, id_: str) -> None:
    """Its worker has died, and nothing is left of the grant."""
    built.run(
        "UPDATE paceline_message SET status = 'sending', lease_until = 1, account = :account, grant_id = 'purged',"
        " attempt = 1 WHERE id = :id",
        id=id_,
        account=ACCOUNT,
    )


def _recognising(provider: object) -> object:
    return replace(provider, deduplicates_for=3600.0)  # type: ignore[type-var]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_sweeps_and_ticks_go_by_index(built: Installation) -> None:
    """Given messages that are on their way or done, when nothing has ended, then no sweep or tick reads them all."""
    seen: list[tuple[str, object]] = []
    service = built.service()
    event.listen(built.engine, "before_cursor_execute", lambda *given: seen.append((given[2], given[3])))
    service.sweep()
    service.tick()
    plans = [
        row["detail"]
        for sql, values in list(seen)
        if sql.startswith(("SELECT", "WITH", "UPDATE")) and "paceline_message" in sql
        for row in _explain(built, sql, values)
    ]

    assert any("ix_paceline_message_lease" in plan for plan in plans)
    assert not [plan for plan in plans if plan.startswith("SCAN paceline_message")]


def _explain(built: Installation, sql: str, values: object) -> list[dict[str, str]]:
    with built.engine.connect() as connection:
        found = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)  # type: ignore[arg-type]
        return [dict(row._mapping) for row in found]

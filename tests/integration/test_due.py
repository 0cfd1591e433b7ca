"""The due set: the most overdue lane first, in one pair of hands, and forgotten at no cost."""

import threading
import time

import pytest
from redis import Redis

from paceline import wakeup, wire
from paceline.wakeup import Waker
from worker.lanes import due as lanes_due
from worker.lanes.due import LOOK_AGAIN, Due


@pytest.fixture
def due(valkey: Redis) -> Due:
    return Due(valkey, "t")


def test_the_most_overdue_lane_is_taken_first_and_is_out_of_the_set(due: Due) -> None:
    due.file({"b": -1.0, "a": -2.0, "c": 6000.0})

    assert due.take().lane == "a"
    assert due.take().lane == "b"
    left = due.take()
    assert left.lane is None
    assert left.wait == pytest.approx(6000, abs=60)


def test_an_empty_set_has_nothing_to_wait_for(due: Due) -> None:
    assert due.take().wait is None
    assert due.peek().wait is None


def test_a_lane_that_waits_is_not_taken(due: Due) -> None:
    due.file({"a": 3000.0})

    assert due.take().lane is None
    assert due.peek().lane == "a"


def test_a_lane_keeps_the_earlier_of_two_times(due: Due) -> None:
    due.file({"a": 3000.0})
    due.file({"a": 6000.0})
    assert due.peek().wait == pytest.approx(3000, abs=60)

    due.file({"a": 1000.0})
    assert due.peek().wait == pytest.approx(1000, abs=60)


def test_a_lane_that_holds_its_share_lets_the_others_go_first(due: Due) -> None:
    """Given a lane with its share of slots beside two without, then those go first, and it goes when they are gone."""
    due.file({"crowded": -9.0, "a": -2.0, "b": -1.0, "later": 3000.0})

    taken = [due.take(["crowded"]) for _ in range(4)]

    assert [(found.lane, found.others) for found in taken] == [
        ("a", True),
        ("b", False),
        ("crowded", False),
        (None, False),
    ]
    assert taken[3].wait == pytest.approx(3000, abs=60)


def test_a_lane_in_its_share_waits_for_one_that_is_due(due: Due) -> None:
    due.file({"a": 0.0, "b": 0.0})

    assert due.take(["c"]).others is True


def test_a_lane_alone_has_no_others(due: Due) -> None:
    due.file({"a": 0.0, "later": 3000.0})

    assert due.take().others is False


def test_looking_takes_nothing(due: Due) -> None:
    due.file({"a": 0.0})

    assert (due.peek().lane, due.peek().wait) == ("a", 0.0)
    assert due.take().lane == "a"


def test_what_redis_forgot_is_filed_again_and_what_is_filed_keeps_its_time(
    due: Due, valkey: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes_due, "LOOK_AGAIN", 6000.0)
    due.file({"a": 3000.0})
    due.refill(["a", "b"])
    assert due.take().lane == "b"
    assert due.peek().wait == pytest.approx(3000, abs=60)

    valkey.flushall()
    due.refill(["a", "b"])
    assert {due.take().lane, due.take().lane} == {"a", "b"}


def test_a_lane_with_something_waiting_is_looked_at_again_within_a_minute(due: Due) -> None:
    """Given a lane that is filed for midnight, when the tick goes on, then it is not left alone until then."""
    due.file({"a": 36_000.0})

    due.refill(["a"])

    wait = due.peek().wait
    assert wait is not None
    assert LOOK_AGAIN / 2 < wait <= LOOK_AGAIN


def test_nothing_to_file_is_no_command(valkey: Redis) -> None:
    due = Due(Redis(port=1), "t")

    due.file({})
    due.refill([])


def test_lowered_flags_let_the_next_enqueue_call(due: Due, valkey: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wakeup, "FLAG", 600_000)  # it stands until it is lowered
    calls: list[str] = []

    class Publisher:
        def publish(self, queue: str) -> None:
            calls.append(queue)

        def close(self) -> None: ...

    waker = Waker(valkey, Publisher(), "t")
    waker.wake(["a"], high=False)
    waker.wake(["a"], high=False)
    waker.wake(["a"], high=True)
    assert calls == [wire.pump_queue("t"), wire.high_queue("t")]

    due.lower_flags()
    waker.wake(["a"], high=False)

    assert len(calls) == 3


def test_high_makes_a_lane_due_that_is_filed_for_the_others(due: Due, valkey: Redis) -> None:
    waker = Waker(valkey, None, "t")
    due.file({"a": 600.0})
    waker.wake(["a"], high=False)
    assert due.take().lane is None

    waker.wake(["a"], high=True)

    assert due.take().lane == "a"


def test_a_lane_is_in_one_pair_of_hands(due: Due) -> None:
    """Given 200 lanes, when four threads take, then each lane is taken once."""
    due.file({f"lane{number}": -float(number) for number in range(200)})
    taken: list[str] = []

    def take() -> None:
        while (lane := due.take().lane) is not None:
            taken.append(lane)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(taken) == len(set(taken)) == 200


def test_lanes_are_due_by_the_servers_clock(due: Due, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)

    due.file({"a": 0.0})
    due.refill(["b"])

    assert {due.take().lane, due.take().lane} == {"a", "b"}

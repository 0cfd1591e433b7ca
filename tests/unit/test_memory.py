"""What a process remembers of a lane, on a clock that the test moves."""

import math
import time

import pytest

from worker.lanes.memory import NEWS_INTERVAL, RECENT, Budget, LaneMemory, Recovery


class Clock:
    """A monotonic clock in the test's hands."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made)
    return made


@pytest.fixture
def memory(clock: Clock) -> LaneMemory:
    return LaneMemory()


def test_one_message_is_claimed_where_nothing_is_known(memory: LaneMemory) -> None:
    assert memory.budget() == Budget(1, 1)


def test_no_more_is_claimed_than_the_room_last_reported(memory: LaneMemory, clock: Clock) -> None:
    memory.answered(clock.now, (7, 3), (0.0, 0.0))

    assert memory.budget() == Budget(7, 3)


def test_a_lane_without_room_is_left_alone_until_its_next_token(memory: LaneMemory, clock: Clock) -> None:
    memory.answered(clock.now, (0, 0), (0.5, 1.5))
    assert memory.budget() == Budget(0, 0, 0.5)

    clock.now += 0.5
    assert memory.budget() == Budget(1, 0)

    clock.now += 1.0
    assert memory.budget() == Budget(1, 1)


def test_an_answer_is_believed_for_two_seconds(memory: LaneMemory, clock: Clock) -> None:
    memory.answered(clock.now, (0, 0), (3600.0, math.inf))
    assert memory.budget() == Budget(0, 0, RECENT)

    clock.now += RECENT + 0.01

    assert memory.budget() == Budget(1, 1)


def test_a_lane_found_closed_is_left_alone(memory: LaneMemory, clock: Clock) -> None:
    memory.shut(1.0)

    assert memory.closed()
    assert memory.budget() == Budget(0, 0, 1.0)
    clock.now += 1.01
    assert not memory.closed()


def test_closed_by_an_operator_is_for_ever(memory: LaneMemory, clock: Clock) -> None:
    memory.shut(None)

    clock.now += 1e9

    assert memory.closed()


def test_a_later_closing_never_shortens_an_earlier_one(memory: LaneMemory, clock: Clock) -> None:
    memory.close(60.0, 0)
    memory.close(1.0, 0)
    memory.shut(0.5)  # found by a claim that began before the first

    clock.now += 59.0
    assert memory.closed()
    clock.now += 1.01
    assert not memory.closed()


def test_an_answer_asked_for_after_the_closing_ends_it_and_an_earlier_one_does_not(
    memory: LaneMemory, clock: Clock
) -> None:
    before = clock.now
    clock.now += 1
    memory.close(None, 0)

    memory.answered(before, (5, 5), (0.0, 0.0))
    assert memory.closed()

    clock.now += 1
    memory.answered(clock.now, (5, 5), (0.0, 0.0))
    assert not memory.closed()
    assert memory.success() is not Recovery.NOTHING_NEW


def test_requests_that_left_together_are_one_refusal(memory: LaneMemory, clock: Clock) -> None:
    """Given three on the wire, when all are refused, then the first counts, and one sent afterwards is the second."""
    sent = clock.now
    clock.now += 1
    memory.close(0.5, memory.refusals_for(sent))
    clock.now += 0.1
    assert memory.refusals_for(sent) == 1
    memory.close(0.5, memory.refusals_for(sent))

    clock.now += 1
    assert memory.refusals_for(clock.now) == 2
    assert memory.refusals_for(None) == 2  # one that never connected left after all of them


def test_the_database_may_know_of_more_refusals(memory: LaneMemory, clock: Clock) -> None:
    memory.refused_before(4)

    assert memory.refusals_for(clock.now) == 5


def test_a_success_ends_a_backoff(memory: LaneMemory, clock: Clock) -> None:
    memory.close(60.0, 3)
    clock.now += 1

    assert memory.success() is Recovery.OPENS

    assert not memory.closed()
    assert memory.refusals_for(clock.now) == 1
    assert memory.budget() == Budget(1, 1)
    assert memory.succeeded_at == clock.now


@pytest.mark.parametrize("promise", [60.0, None], ids=["a date", "an operator"])
@pytest.mark.parametrize("backoff_comes", ["before", "after"])
def test_a_success_never_ends_a_promise(
    memory: LaneMemory, clock: Clock, promise: float | None, backoff_comes: str
) -> None:
    """Given a closing with a date beside a backoff, when one that left earlier succeeds, then the date still holds."""
    if backoff_comes == "before":
        memory.close(1.0, 1)
    memory.close(promise, 0)
    if backoff_comes == "after":
        memory.close(1.0, 1)
    memory.refused_before(2)  # a claim that read the database before it heard of the date

    assert memory.success() is Recovery.NOTHING_NEW

    assert memory.closed()


def test_a_probe_that_succeeds_opens_though_no_refusal_is_remembered(memory: LaneMemory, clock: Clock) -> None:
    """Given a backoff, then a date, when the probe after both succeeds, then the limiter is told to open."""
    memory.close(1.0, 1)
    memory.close(2.0, 0)
    clock.now += 3
    memory.refused_before(0)
    memory.probes()

    assert memory.success() is Recovery.OPENS
    assert memory.success() is Recovery.NOTHING_NEW


def test_that_a_lane_works_is_noted_once_a_second(memory: LaneMemory, clock: Clock) -> None:
    assert memory.success() is Recovery.NOTE
    clock.now += NEWS_INTERVAL
    assert memory.success() is Recovery.NOTHING_NEW
    clock.now += 0.01
    assert memory.success() is Recovery.NOTE

"""Counting for metrics: what is gathered, when it is written, and what a broker that is away does to it."""

from collections.abc import Mapping
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as Away

from worker.watch.counters import BOUNDS, QUIET, REST, SharedTally, Tally, read_counters

HERE = "testing"


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tally(valkey: Redis, clock: Clock) -> SharedTally:
    return SharedTally(valkey, HERE, monotonic=clock)


def known(valkey: Redis) -> Mapping[tuple[str, ...], int]:
    return {name: count for name, count in read_counters(valkey, HERE).items() if name != ("last_cycle_ms",)}


def test_a_duration_is_in_its_bucket_and_in_the_sum() -> None:
    tally = Tally()

    for seconds in (0.001, 0.005, 0.0051, 3600.0):
        tally.observe("request", seconds, "a/send")

    last = str(len(BOUNDS))
    assert tally.counts == {
        ("request_bucket", "a/send", "0"): 2,
        ("request_bucket", "a/send", "1"): 1,
        ("request_bucket", "a/send", last): 1,
        ("request_us", "a/send"): 3_600_011_100,
    }


def test_what_two_workers_count_is_added_up(valkey: Redis, tally: SharedTally) -> None:
    other = SharedTally(valkey, HERE)
    for each in (tally, tally, other):
        each.add("requests", "a/send", "a", "accepted")
        each.flush()

    assert known(valkey)["requests", "a/send", "a", "accepted"] == 3
    assert known(valkey)[("cycles",)] == 3
    assert read_counters(valkey, HERE)[("last_cycle_ms",)] > 1_700_000_000_000


def test_what_is_written_is_counted_once(valkey: Redis, tally: SharedTally) -> None:
    tally.add("closures", "a/send", "lane", "date")
    tally.flush()
    tally.add("closures", "a/send", "key", "operator")
    tally.flush()

    assert known(valkey)["closures", "a/send", "lane", "date"] == 1


def test_a_pump_that_only_goes_round_says_so_once_a_second(valkey: Redis, tally: SharedTally, clock: Clock) -> None:
    for _ in range(5):
        tally.flush()
    assert known(valkey) == {("cycles",): 1}

    clock.now += QUIET
    tally.flush()
    assert known(valkey) == {("cycles",): 6}


def test_a_broker_that_is_away_is_left_alone_and_told_later(
    valkey: Redis, tally: SharedTally, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a broker that does not answer
    asked: list[Any] = []

    def away(*_: object) -> None:
        asked.append(1)
        raise Away

    with monkeypatch.context() as patched:
        patched.setattr(tally, "_write", away)
        for _ in range(3):
            tally.add("requests", "a/send", "a", "unknown")
            tally.flush()
        assert len(asked) == 1

    # when it is back, but not yet asked again, then nothing is written; and then everything
    tally.flush()
    assert known(valkey) == {}
    clock.now += REST
    tally.flush()
    assert known(valkey) == {("requests", "a/send", "a", "unknown"): 3, ("cycles",): 5}


def test_a_broker_that_forgot_counts_anew(valkey: Redis, tally: SharedTally) -> None:
    tally.add("requests", "a/send", "a", "accepted")
    tally.flush()
    valkey.flushall()
    assert read_counters(valkey, HERE) == {}

    tally.add("requests", "a/send", "a", "accepted")
    tally.flush()
    assert known(valkey)["requests", "a/send", "a", "accepted"] == 1

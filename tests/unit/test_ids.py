"""Ids are UUIDv7: they sort by the time they were made, also within a millisecond and across threads."""

import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from paceline import ids


def test_an_id_is_a_uuid_of_version_7_and_the_standard_variant() -> None:
    made = [uuid.UUID(text) for text in ids.new_ids(100)]

    assert {(one.version, one.variant) for one in made} == {(7, uuid.RFC_4122)}
    assert str(made[0]) == str(made[0]).lower()


def test_an_id_begins_with_the_milliseconds_at_which_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_last", 0)
    monkeypatch.setattr(time, "time_ns", lambda: 1_776_090_600_123_500_000)

    made = uuid.UUID(ids.new_id()).int

    assert made >> 80 == 1_776_090_600_123
    assert made >> 64 & 0xFFF == 4096 // 2  # rand_a: half of the millisecond was over


def test_ids_ascend_while_the_clock_stands_still_and_after_it_was_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now)
    # more than the 4096 steps of one millisecond
    still = ids.new_ids(10_000)

    monkeypatch.setattr(time, "time_ns", lambda: now - 3_600_000_000_000)
    back = ids.new_ids(10)

    assert still + back == sorted(still + back)
    assert len(set(still + back)) == 10_010
    assert all(uuid.UUID(text).version == 7 for text in still)


def test_an_id_of_a_given_time_bears_it_and_no_clock_pushes_it_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given ids by a clock that is hours ahead, when some are made of a time that is told, then they bear that one."""
    monkeypatch.setattr(ids, "_last_at", 0)
    at = 1_776_090_600.1235
    monkeypatch.setattr(time, "time_ns", lambda: int((at + 6 * 3600) * 1e9))
    ids.new_id()

    first, second, later, back = (ids.new_id(moment) for moment in (at, at, at + 1, at))

    assert [uuid.UUID(made).int >> 80 for made in (first, second, later)] == [1_776_090_600_123] * 2 + [1776090601123]
    assert first < second < later < back
    assert uuid.UUID(first).version == 7


def test_a_list_has_as_many_ids_as_were_asked_for() -> None:
    assert ids.new_ids(0) == []
    assert len(ids.new_ids(3)) == 3


def test_threads_get_different_ids_and_each_thread_ascending_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    # a clock that stands still and a switch of threads after every few instructions
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            lists = list(pool.map(lambda _: [ids.new_id() for _ in range(6_000)], range(8)))
    finally:
        sys.setswitchinterval(interval)

    every = [text for made in lists for text in made]
    assert len({text[:18] for text in every}) == len(every)  # different before their random bits
    assert all(made == sorted(made) for made in lists)


def test_what_follows_the_time_is_random() -> None:
    tails = {uuid.UUID(text).int & ((1 << 62) - 1) for text in ids.new_ids(1_000)}

    assert len(tails) == 1_000
    assert max(tails).bit_length() > 52  # the highest bits are used too

"""The sandbox's clock."""

import time

import pytest

from sandbox.clock import Clock


def test_both_clocks_follow_the_host_and_move_forward_together() -> None:
    clock = Clock()
    for ahead in (0.0, 3600.0):
        clock.advance(ahead)
        for tells, host in ((clock.now, time.time), (clock.monotonic, time.monotonic)):
            before, told, after = host(), tells() - ahead, host()
            assert before - 1e-3 <= told <= after + 1e-3


def test_those_who_watch_are_told_of_each_advance() -> None:
    clock, told = Clock(), []
    clock.watch(lambda: told.append(clock.offset))
    clock.advance(1.0)
    clock.advance(2.0)
    assert told == [1.0, 3.0]


def test_the_clock_does_not_run_backwards() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        Clock().advance(-1.0)

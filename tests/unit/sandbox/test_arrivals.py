"""When a request arrived, by both clocks."""

from types import SimpleNamespace

import pytest

from sandbox import arrivals


def test_a_pause_between_two_readings_sets_the_clocks_not_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a machine that stands still after it read one clock, then it reads both again."""
    monotonic, wall = iter([10.0, 13.0, 13.0, 13.0]), iter([1010.0, 1013.0])
    monkeypatch.setattr(arrivals, "time", SimpleNamespace(monotonic=lambda: next(monotonic), time=lambda: next(wall)))

    assert arrivals._now() == (1013.0, 13.0)

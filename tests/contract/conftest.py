"""A sandbox's time in a test's hands."""

import time
from types import SimpleNamespace

import pytest

from sandbox import arrivals, clock


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> float:
    """Time stands still in every sandbox, and moves by `advance` alone, however long the machine takes for a line; the
    Unix second at which it stands."""
    now, monotonic = float(int(time.time())), float(int(time.monotonic()))
    stands = SimpleNamespace(time=lambda: now, monotonic=lambda: monotonic)
    for module in (arrivals, clock):
        monkeypatch.setattr(module, "time", stands)
    return now

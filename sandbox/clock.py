"""The sandbox's time: the host's, plus what a test has advanced it by."""

import time
from collections.abc import Callable


class Clock:
    """Wall and monotonic time in seconds; both move forward together when a test advances them."""

    def __init__(self) -> None:
        self.offset = 0.0
        self._watchers: list[Callable[[], None]] = []

    def now(self) -> float:
        """Unix seconds."""
        return time.time() + self.offset

    def monotonic(self) -> float:
        """Seconds of the host's monotonic clock, which all its processes share, plus the offset."""
        return time.monotonic() + self.offset

    def advance(self, seconds: float) -> None:
        """Moves both clocks forward, and lets what has fallen due happen.

        Raises:
            ValueError: `seconds` is negative; a provider's clock does not run backwards.
        """
        if seconds < 0:
            raise ValueError("`advance` must not be negative: give the seconds by which the clock moves forward.")
        self.offset += seconds
        for watcher in self._watchers:
            watcher()

    def watch(self, watcher: Callable[[], None]) -> None:
        """Calls `watcher` after each advance."""
        self._watchers.append(watcher)

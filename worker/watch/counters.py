"""Counts of what was done: gathered in a process, and added up by all workers in one Redis hash.

Whoever serves metrics reads them there. Redis may forget them: Prometheus knows a counter that begins anew.
"""

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from typing import cast

from redis import Redis
from redis.exceptions import RedisError

from paceline import wire

# Upper bounds in seconds: a webhook takes milliseconds, a provider's answer up to its timeout.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

REST = 5.0  # seconds in which Redis is left alone after it failed
QUIET = 1.0  # seconds between two notes that the pump goes round, when there is nothing else to write

Counts = Mapping[tuple[str, ...], int]

CYCLES, LAST_CYCLE = "cycles", "last_cycle_ms"


class Tally:
    """Counts by name and labels. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, ...]] = Counter()

    def add(self, name: str, *labels: str) -> None:
        """Count one."""
        with self._lock:
            self._counts[name, *labels] += 1

    def observe(self, name: str, seconds: float, *labels: str) -> None:
        """Count a duration: in its bucket, and in the sum of microseconds."""
        bucket = str(bisect_left(BOUNDS, seconds))
        with self._lock:
            self._counts[f"{name}_bucket", *labels, bucket] += 1
            self._counts[f"{name}_us", *labels] += round(seconds * 1e6)

    @property
    def counts(self) -> Counts:
        """What was counted so far."""
        with self._lock:
            return dict(self._counts)


class SharedTally(Tally):
    """Counts that are added to the installation's."""

    def __init__(self, redis: Redis, installation: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._redis = redis
        self._key = wire.counters_key(installation)
        self._monotonic = monotonic
        self._written_at = self._quiet_until = float("-inf")

    def flush(self) -> None:
        """Note that the pump goes round, and write what was counted, in one round trip. Never raises for Redis."""
        now = self._monotonic()
        with self._lock:
            idle = not self._counts.keys() - {(CYCLES,)}
            self._counts[(CYCLES,)] += 1
            if now < self._quiet_until or (idle and now - self._written_at < QUIET):
                return
            self._written_at = now
            counts, self._counts = self._counts, Counter()
        try:
            self._write(counts)
        except RedisError:
            # Should only the answer be lost, these are counted twice: that is better than an outage without a trace.
            with self._lock:
                self._counts.update(counts)
                self._quiet_until = self._monotonic() + REST

    def _write(self, counts: Counts) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for field, count in counts.items():
            pipeline.hincrby(self._key, "\t".join(field), count)
        pipeline.hset(self._key, LAST_CYCLE, round(time.time() * 1000))
        pipeline.execute()


def read_counters(redis: Redis, installation: str) -> Counts:
    """What all workers have counted since Redis last forgot."""
    found = cast("dict[bytes, bytes]", redis.hgetall(wire.counters_key(installation)))
    return {tuple(field.decode().split("\t")): int(count) for field, count in found.items()}

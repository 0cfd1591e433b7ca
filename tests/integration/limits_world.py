"""Virtual time for the limiter: the real script on a real server, with the clock and the run id in the test's hands."""

import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

from redis import Redis

from paceline.limit import Limit
from worker.limits import SCRIPT, Argument, Bucket, LaneLimits, Limiter, fields_of, tabbed

NOON = 1_790_000_000.0

_TIME = """  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
"""
_RUN_ID = "  return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')\n"


def ruled(script: str = SCRIPT) -> str:
    """The script with its two reads of the server, of the time and of the run id, replaced by arguments."""
    assert script.count(_TIME) == 1
    assert script.count(_RUN_ID) == 1
    return script.replace(_TIME, "  return tonumber(ARGV[2])\n").replace(_RUN_ID, "  return ARGV[3]\n")


@dataclass
class World:
    """True time, the server's wrong idea of it, and how long a command takes to get there and back."""

    now: float = NOON
    server_ahead: float = 0.0
    run_id: str = "run0"
    latency: Iterable[float] = field(default_factory=lambda: itertools.repeat(0.0))

    def travel(self) -> None:
        """Let the time of one way over the network pass."""
        self.now += next(iter(self.latency))


class RuledLimiter(Limiter):
    """A limiter on one host of a World."""

    def __init__(
        self,
        redis: Redis,
        world: World,
        host: str = "host",
        script: str = SCRIPT,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.world = world
        self.boot = random.Random(host).uniform(0, 1e6)
        super().__init__(
            redis,
            "t:",
            host=host,
            monotonic=lambda: world.now - self.boot,
            wall=lambda: world.now,
            chance=chance,
            script=ruled(script),
        )

    def _run(self, base: str, arguments: Sequence[Argument]) -> list[str]:
        self.world.travel()
        answer = fields_of(self._script(keys=[base], args=self._ruled(arguments)))
        self.world.travel()
        return answer

    def _once(self, base: str, arguments: Sequence[Argument]) -> list[str]:
        return self._run(base, arguments)

    def _ruled(self, arguments: Iterable[Argument]) -> list[Argument]:
        return [tabbed(arguments), round((self.world.now + self.world.server_ahead) * 1e6), self.world.run_id]

    def true_time(self, monotonic: float) -> float:
        """When this host's monotonic clock stood at `monotonic`."""
        return monotonic + self.boot


def lane_of(*limits: str, key: str = "k", lane_class: str = "send", reserve: float = 0.0) -> LaneLimits:
    """A lane with these limits and the default guards."""
    return LaneLimits(key, lane_class, tuple(Bucket.of(Limit.parse(text), reserve=reserve) for text in limits))


def dump(redis: Redis) -> dict[bytes, bytes]:
    """All that the server holds, as a file of it would keep it."""
    names = cast("list[bytes]", redis.keys())
    return {name: cast("bytes", redis.dump(name)) for name in names}


def restore(redis: Redis, file: dict[bytes, bytes]) -> None:
    """Start again from an older file. The run id is the caller's to change."""
    redis.flushdb()
    for name, value in file.items():
        redis.restore(name, 0, value)


def most_in_any_window(arrivals: Iterable[float], window: float) -> int:
    """The most arrivals in any half-open interval as long as the window."""
    times, most, first = sorted(arrivals), 0, 0
    for last, time in enumerate(times):
        while time - times[first] >= window:
            first += 1
        most = max(most, last - first + 1)
    return most


def most_in_aligned_windows(arrivals: Iterable[float], window: float, phase: float) -> int:
    """The most arrivals in one of the windows that begin every `window` seconds, from `phase`."""
    cells: dict[int, int] = {}
    for time in arrivals:
        cell = int((time - phase) // window)
        cells[cell] = cells.get(cell, 0) + 1
    return max(cells.values(), default=0)


def most_in_first_hit_windows(arrivals: Iterable[float], window: float) -> int:
    """The most arrivals in one window, where the first arrival after a window opens the next one."""
    most = count = 0
    opened = float("-inf")
    for time in sorted(arrivals):
        opened, count = (time, 1) if time >= opened + window else (opened, count + 1)
        most = max(most, count)
    return most


def bucket_overflows(arrivals: Iterable[float], count: int, window: float) -> bool:
    """Whether a provider's own bucket, `count` deep and refilled in one window, would have refused one of them."""
    level, before = float(count), float("-inf")
    for time in sorted(arrivals):
        level = min(float(count), level + (time - before) * count / window)
        before, level = time, level - 1
        if level < -1e-6:
            return True
    return False

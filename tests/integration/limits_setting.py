"""A lane under pumps in virtual time, with an exact ledger of every token, and the providers' ways of counting."""

import random
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from redis import Redis

from tests.integration.limits_world import (
    RuledLimiter,
    World,
    bucket_overflows,
    most_in_aligned_windows,
    most_in_any_window,
    most_in_first_hit_windows,
)
from worker.limits import SCRIPT, Grant, Image, LaneLimits, Spent, signature_of


@dataclass
class Token:
    """One token, with the true times between which its request may reach the provider."""

    granted: float
    until: float
    high: bool


@dataclass
class Setting:
    """One lane, hosts that pump it, and the exact ledger of what they were granted."""

    redis: Redis
    lane: LaneLimits
    hosts: int = 1
    script: str = SCRIPT
    world: World = field(default_factory=World)
    tokens: list[Token] = field(default_factory=list)
    operations: int = 0
    last: dict[int, Grant] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.redis.flushdb()
        self.limiters = [self.limiter(number) for number in range(self.hosts)]
        self.signature = signature_of([self.lane])
        self.nonce = "n0"
        self.reseed(self.limiters[0], expected=None)

    def limiter(self, number: int) -> RuledLimiter:
        """A limiter on a host of that number."""
        return RuledLimiter(self.redis, self.world, f"host{number}", self.script)

    def reseed(self, limiter: RuledLimiter, expected: str | None) -> None:
        """Seed the key from the ledger. A token's age counts from when its request may have arrived at the latest."""
        now = self.world.now
        spent = [Spent(self.lane.lane_class, max(0.0, now - it.until), 1, int(not it.high)) for it in self.tokens]
        assert limiter.seed(
            [self.lane], signature=self.signature, expected=expected, nonce=self.nonce, image=Image(tuple(spent))
        )

    def take(self, host: int, high: int, rest: int) -> Grant:
        """Acquire as a pump does: seed first if the key asks for it."""
        limiter = self.limiters[host]
        self.operations += 1
        for _ in range(3):
            answer = limiter.acquire(
                self.lane,
                signature=self.signature,
                nonce=self.nonce,
                caller=f"caller{host}",
                operation_id=f"op{self.operations}",
                high=high,
                rest=rest,
                probe_hold=30,
            )
            if isinstance(answer, Grant):
                until = max(self.world.now, limiter.true_time(answer.since) + self.lane.token_life)
                granted = self.world.now  # nothing arrives before the answer
                self.tokens += [Token(granted, until, high=True) for _ in range(answer.high)]
                self.tokens += [Token(granted, until, high=False) for _ in range(answer.rest)]
                self.last[host] = answer
                return answer
            before = limiter.seeded(self.lane.key, signature=self.signature).nonce
            self.nonce = f"n{self.operations}-{self.world.now}"
            self.reseed(limiter, before)
        raise AssertionError("a key that was just seeded is unseeded")

    def arrivals(self, chance: random.Random) -> list[float]:
        """When the requests reached the provider: any time between the grant and the end of the token's life."""
        return [chance.choice((it.granted, it.until, chance.uniform(it.granted, it.until))) for it in self.tokens]


def judge(setting: Setting, chance: random.Random) -> None:
    """No provider, however it counts, saw more than its limit."""
    for bucket in setting.lane.limits:
        arrivals = setting.arrivals(chance)
        count, window = bucket.limit.count, bucket.limit.window
        if window is None:
            zone = ZoneInfo(str(bucket.limit.zone))
            days = [datetime.fromtimestamp(time, zone).date() for time in arrivals]
            assert all(days.count(day) <= count for day in set(days))
            continue
        assert most_in_any_window(arrivals, window) <= count
        assert most_in_aligned_windows(arrivals, window, chance.uniform(0, window)) <= count
        assert most_in_first_hit_windows(arrivals, window) <= count
        assert not bucket_overflows(arrivals, count, window)

"""A pace that varies: tokens that return later by chance, and never sooner than the limit says."""

import itertools
import random
from typing import cast

import pytest
from redis import Redis

from paceline.limit import Limit
from tests.integration.limits_setting import Setting, judge
from tests.integration.limits_world import RuledLimiter, World
from worker.limits import Bucket, Grant, Image, LaneLimits, signature_of

JITTER = 0.4


def lane_of(*texts: str, jitter: float = JITTER) -> LaneLimits:
    return LaneLimits("k", "one/send", tuple(Bucket.of(Limit.parse(text), jitter=jitter) for text in texts))


def gaps(setting: Setting, tokens: int = 200) -> list[float]:
    """The time between two tokens of a pump that asks again at the instant it was told of."""
    times: list[float] = []
    while len(times) < tokens:
        grant = setting.take(0, 0, 1)
        times += [setting.world.now] * grant.rest
        setting.world.now += max(grant.wait_rest, 1e-6)
    return [later - earlier for earlier, later in itertools.pairwise(times)]


def test_the_spacing_varies_between_the_window_and_so_much_more(valkey: Redis) -> None:
    """Given one each three seconds, 40 % jitter, then no two are closer than the window, and none too far apart."""
    setting = Setting(valkey, lane_of("1/3s"))
    guard = setting.lane.limits[0].guard

    found = gaps(setting)

    assert 3 + guard <= min(found) < 3.2 + guard
    assert 4.0 + guard < max(found) <= 3 * (1 + JITTER) + guard + 0.01
    assert len({round(gap, 2) for gap in found}) > 50


@pytest.mark.parametrize(("chance", "gap"), [(0.0, 3.3), (0.5, 3.9), (1.0, 4.5)])
def test_the_chance_is_the_callers(valkey: Redis, chance: float, gap: float) -> None:
    world, lane = World(), lane_of("1/3s")
    limiter = RuledLimiter(valkey, world, chance=lambda: chance)
    signature = signature_of([lane])
    limiter.seed([lane], signature=signature, expected=None, nonce="n", image=Image())

    grant = limiter.acquire(
        lane, signature=signature, nonce="n", caller="me", operation_id="one", high=0, rest=1, probe_hold=30
    )

    assert isinstance(grant, Grant)
    assert grant.wait_rest == pytest.approx(gap)


def test_without_jitter_nothing_is_later(valkey: Redis) -> None:
    setting = Setting(valkey, lane_of("1/3s", jitter=0.0))

    assert {round(gap, 3) for gap in gaps(setting, 20)} == {3.3}


@pytest.mark.parametrize("limits", [("1/3s",), ("5/10s",), ("3/2s", "20/30s"), ("4/5s", "100/day")])
@pytest.mark.parametrize("seed", range(3))
def test_no_provider_however_it_counts_sees_more(valkey: Redis, limits: tuple[str, ...], seed: int) -> None:
    """Given several hosts, batches of any size and pauses, with data lost in between, then the limit holds."""
    chance = random.Random(seed)
    setting = Setting(valkey, lane_of(*limits), hosts=2)
    for _ in range(150):
        grant = setting.take(chance.randrange(2), chance.choice((0, 0, 1)), chance.randint(1, 6))
        if chance.random() < 0.03:
            valkey.flushall()
        setting.world.now += chance.choice((0.01, 0.2, 1.0, min(grant.wait_rest, 20.0)))

    judge(setting, chance)
    assert len(setting.tokens) > 20


def test_a_log_stays_in_order_whatever_the_chances_are(valkey: Redis) -> None:
    """Given tokens whose delays fall, then each returns no sooner than those spent before it, so none is forgotten."""
    delays = iter([1.0, 0.0, 0.9, 0.1, 0.5])
    world, lane = World(), lane_of("5/10s")
    limiter = RuledLimiter(valkey, world, chance=lambda: next(delays))
    signature = signature_of([lane])
    limiter.seed([lane], signature=signature, expected=None, nonce="n", image=Image())
    began = world.now
    for number in range(5):
        limiter.acquire(
            lane, signature=signature, nonce="n", caller="me", operation_id=f"{number}", high=0, rest=1, probe_hold=30
        )
        world.now += 0.5

    entries = cast("list[bytes]", valkey.lrange("t:{k}:log:one/send/5/10s", 0, -1))
    log = [[int(field) for field in entry.split(b":")] for entry in entries]

    assert [entry[1] for entry in log] == sorted(entry[1] for entry in log)
    assert min(entry[1] for entry in log) == round((began + 4) * 1e6)  # the first was logged for then, and still is
    assert sum(entry[2] for entry in log) == 5


# How many can go within a time


def within(setting: Setting, seconds: float) -> tuple[int, int]:
    found = setting.limiters[0].within(setting.lane, seconds, signature=setting.signature, nonce=setting.nonce)
    assert isinstance(found, tuple)
    return found


@pytest.mark.parametrize("limits", [("10/minute",), ("3/2s", "50/minute"), ("7/10s", "40/hour")])
@pytest.mark.parametrize("spent", [0, 3, 30])
def test_what_can_go_within_a_time_does_go(valkey: Redis, limits: tuple[str, ...], spent: int) -> None:
    """Given a lane in any state, when it is used to the full for so long, then as many went as were foretold, but for
    what merging costs."""
    setting = Setting(valkey, lane_of(*limits, jitter=0.0))
    for _ in range(spent):
        setting.take(0, 0, 1)
        setting.world.now += 1.3
    for seconds in (0.0, 5.0, 100.0, 200.0):
        foretold = within(setting, seconds)[1]
        end, went = setting.world.now + seconds, 0
        while setting.world.now <= end:
            grant = setting.take(0, 0, 1000)
            went += grant.rest
            setting.world.now += max(grant.wait_rest, 1e-6)

        assert foretold * 0.9 - 1 <= went <= foretold


def test_what_is_reserved_is_not_for_the_rest(valkey: Redis) -> None:
    lane = LaneLimits("k", "send", (Bucket.of(Limit.parse("10/minute"), reserve=0.3),))
    setting = Setting(valkey, lane)
    setting.take(0, 2, 4)

    assert within(setting, 0.0) == (4, 3)
    assert within(setting, 60.0) == (4, 3)
    assert within(setting, 61.0) == (4 + 10, 3 + 7)


def test_a_days_quota_comes_again_at_midnight(valkey: Redis) -> None:
    setting = Setting(valkey, LaneLimits("k", "send", (Bucket.of(Limit.parse("10/day")),)))
    setting.take(0, 0, 8)

    assert within(setting, 0.0)[1] == 2
    assert within(setting, 86_400.0)[1] == 12
    assert within(setting, 2 * 86_400.0)[1] == 22

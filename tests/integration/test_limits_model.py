"""The limiter against an exact model that keeps every token by itself, in virtual time."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from tests.integration.limits_setting import Setting, judge
from tests.integration.limits_world import dump, lane_of, most_in_any_window, restore
from worker.limits import Bucket

QUICK = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

ROLLING = ["1/second", "3/second", "2/3s", "10/10s", "7/minute", "50/minute", "40/5m", "100/hour"]
DAYS = ["25/day", "60/day@Europe/London", "40/day@Asia/Kathmandu"]


def exact_room(setting: Setting, bucket: Bucket, span: float) -> tuple[int, int]:
    """Room for high and for the rest if every token came back exactly `span` after it was granted."""
    now = setting.world.now
    out = [it for it in setting.tokens if it.granted > now - span]
    rest_out = sum(not it.high for it in out)
    high = bucket.limit.count - len(out)
    return max(0, high), max(0, min(high, bucket.limit.count - bucket.reserve - rest_out))


waits = st.one_of(st.floats(0, 0.3), st.floats(0, 8), st.floats(0, 90), st.floats(0, 4000))
takes = st.tuples(st.integers(0, 3), st.integers(0, 12), st.integers(0, 60))


@QUICK
@given(
    limits=st.lists(st.sampled_from(ROLLING), min_size=1, max_size=3, unique=True),
    reserve=st.sampled_from([0.0, 0.1, 0.5]),
    hosts=st.integers(1, 4),
    steps=st.lists(st.tuples(waits, takes), min_size=1, max_size=25),
)
def test_a_grant_is_what_the_exact_log_allows(
    valkey: Redis,
    limits: list[str],
    reserve: float,
    hosts: int,
    steps: list[tuple[float, tuple[int, int, int]]],
) -> None:
    # given hosts that the key knows, and clocks that run true
    setting = Setting(valkey, lane_of(*limits, reserve=reserve), hosts)
    for host in (*range(hosts), *range(hosts)):
        setting.take(host, 0, 0)
    # when they take what they get, then each grant lies between what the exact log allows with merging and without
    for pause, (host, high, rest) in steps:
        setting.world.now += pause
        least_high, least_rest, most_high, most_rest = high, rest, high, rest
        for bucket in setting.lane.limits:
            stingy = exact_room(setting, bucket, bucket.span * (1 + 1 / 1024) + 1e-5)
            exact = exact_room(setting, bucket, bucket.span - 1e-5)
            least_high, most_high = min(least_high, stingy[0]), min(most_high, exact[0])
            least_rest = min(least_rest, stingy[1], max(0, stingy[0] - high))
            most_rest = min(most_rest, exact[1])
        grant = setting.take(host % hosts, high, rest)
        assert least_high <= grant.high <= most_high
        assert least_rest <= grant.rest <= most_rest
    judge(setting, random.Random(1))


@QUICK
@given(
    limits=st.lists(st.sampled_from(ROLLING + DAYS), min_size=1, max_size=3, unique=True),
    hosts=st.integers(1, 4),
    steps=st.lists(
        st.tuples(waits, takes, st.sampled_from(["", "", "", "lost", "restored", "resent"])), min_size=1, max_size=25
    ),
    seed=st.integers(0, 10**6),
)
def test_no_window_is_exceeded_though_data_is_lost(
    valkey: Redis,
    limits: list[str],
    hosts: int,
    steps: list[tuple[float, tuple[int, int, int], str]],
    seed: int,
) -> None:
    chance = random.Random(seed)
    setting = Setting(valkey, lane_of(*limits), hosts)
    setting.world.latency = iter(lambda: chance.choice((0.0, 0.001, 0.04, 0.4)), None)
    file: dict[bytes, bytes] = {}
    for pause, (host, high, rest), event in steps:
        setting.world.now += pause * chance.choice((1, 1, 30))
        if event == "lost":
            valkey.flushdb()
        elif event == "restored" and file:
            # a server that starts from an older file has a new run id
            restore(valkey, file)
            setting.world.run_id = f"run{setting.operations}"
        elif event == "resent":
            before, earlier = len(setting.tokens), setting.last.get(host % hosts)
            setting.operations -= 1
            again = setting.take(host % hosts, high, rest)
            if (
                earlier and again.since == earlier.since
            ):  # the kept answer: its tokens were counted when they were granted
                del setting.tokens[before:]
        else:
            setting.take(host % hosts, high, rest)
        if chance.random() < 0.3:
            file = dump(valkey)
    judge(setting, chance)


@pytest.mark.parametrize("limit", ["50/minute", "1000/minute", "3/2m", "100/hour", "20000/hour"])
@pytest.mark.parametrize("batch", [1, 7, 10**6])
def test_a_backlog_uses_nearly_all_of_the_limit(valkey: Redis, limit: str, batch: int) -> None:
    # given a backlog that asks as soon as it is told to, and four windows' time
    setting = Setting(valkey, lane_of(limit))
    bucket = setting.lane.limits[0]
    window, count = bucket.limit.window, bucket.limit.count
    assert window is not None
    batch = min(count, max(batch, count // 200))
    began = setting.world.now
    while setting.world.now < began + 4 * window:
        grant = setting.take(0, 0, batch)
        setting.world.now += max(grant.wait_rest, 0.001)
    # then no window is exceeded, and 97 of 100 tokens are used
    arrivals = [token.granted for token in setting.tokens if token.granted < began + 4 * window]
    assert most_in_any_window(arrivals, window) <= count
    assert len(arrivals) >= 0.97 * 4 * count


@pytest.mark.parametrize("reserve", [0.1, 0.25, 1.0])
def test_the_reserve_is_there_for_high_at_any_time(valkey: Redis, reserve: float) -> None:
    # given the rest of the messages taking all they can get
    setting = Setting(valkey, lane_of("40/minute", "300/hour", reserve=reserve))
    chance = random.Random(7)
    for _ in range(300):
        grant = setting.take(0, 0, 40)
        # then the reserve is left for high
        assert grant.room_high >= min(bucket.reserve for bucket in setting.lane.limits) or grant.wait_high > 0
        assert grant.wait_high == 0
        setting.world.now += chance.choice((0.5, 3.0, 40.0))
    judge(setting, chance)

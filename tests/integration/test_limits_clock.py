"""The server's clock steps in both directions, and true time is what the windows are measured in."""

import random

import pytest
from redis import Redis

from tests.integration.limits_setting import Setting
from tests.integration.limits_world import lane_of, most_in_any_window
from worker.limits import SCRIPT

RUNS = 150
COUNT, WINDOW = 5, 10.0
STEPS = (0.2, 0.5, 3.0, 9.0, 10.0, 11.0, 60.0, 1000.0, 1e6)


def most_arrivals(valkey: Redis, seed: int, script: str = SCRIPT) -> tuple[int, int]:
    """Hosts, of which some come late, under a clock that steps and steps back; the worst window, and the tokens."""
    chance = random.Random(seed)
    setting = Setting(valkey, lane_of(f"{COUNT}/10s"), hosts=4, script=script)
    setting.world.latency = iter(lambda: chance.choice((0.0, 0.001, 0.02)), None)
    hosts = chance.randint(1, 3)
    for _ in range(80):
        setting.world.now += chance.choice((0.0, 0.05, 0.5, 1.0, 4.0, 10.6))
        if chance.random() < 0.3:
            size = chance.choice(STEPS)
            setting.world.server_ahead += chance.choice((size, -size, -setting.world.server_ahead))
        if chance.random() < 0.05:
            hosts = min(4, hosts + 1)
        setting.take(chance.randrange(hosts), 0, chance.choice((1, COUNT)))
    return most_in_any_window(setting.arrivals(chance), WINDOW), len(setting.tokens)


def test_no_window_is_exceeded_in_true_time(valkey: Redis) -> None:
    tokens = 0
    for seed in range(RUNS):
        most, granted = most_arrivals(valkey, seed)
        assert most <= COUNT, f"run {seed}"
        tokens += granted
    # and the clock did not stop the lane
    assert tokens > RUNS * COUNT * 5


@pytest.mark.parametrize(
    ("check", "without", "first"),
    [
        pytest.param("at = math.max(at - ahead, seen)", "", 0, id="steps forward are not counted"),
        pytest.param(" or behind > tolerance then", " then", 0, id="after a step back the others are careful"),
        pytest.param("at = (doubted or not anchor)", "at = not anchor", 800, id="who must be careful is"),
        pytest.param("at = (doubted or not anchor)", "at = doubted", 100, id="a newcomer cannot vouch for the past"),
        pytest.param("if not anchor or ahead > tolerance or", "if", 0, id="a newcomer makes the others careful"),
    ],
)
def test_each_rule_about_the_clock_is_needed(valkey: Redis, check: str, without: str, first: int) -> None:
    # given the script without the rule, when the clock steps, then some window is exceeded, soon after the first run
    assert SCRIPT.count(check) == 1
    weaker = SCRIPT.replace(check, without)
    assert any(most_arrivals(valkey, seed, weaker)[0] > COUNT for seed in range(first, first + 1000))


def test_a_step_back_stops_nothing_for_long(valkey: Redis) -> None:
    # given a full limit, and a clock that goes back by a year
    setting = Setting(valkey, lane_of("5/10s"))
    assert setting.take(0, 0, 5).rest == 5
    setting.world.server_ahead -= 365 * 86400.0
    # when the window has passed in true time, then tokens are there again, a call's gap later at most
    assert setting.take(0, 0, 5).rest == 0
    setting.world.now += 10.6
    assert setting.take(0, 0, 5).rest == 5


def test_a_closure_does_not_end_early_when_the_clock_steps_forward(valkey: Redis) -> None:
    setting = Setting(valkey, lane_of("5/10s"))
    setting.take(0, 0, 0)
    setting.limiters[0].close(setting.lane, 60.0, "429", signature=setting.signature, nonce=setting.nonce)
    setting.world.server_ahead += 3600
    setting.world.now += 59
    assert setting.take(0, 0, 1).rest == 0
    setting.world.now += 1.2
    assert setting.take(0, 0, 1).rest == 1


def test_a_slow_call_is_not_taken_for_a_step(valkey: Redis) -> None:
    # given a full limit and a call that takes long to arrive
    setting = Setting(valkey, lane_of("5/10s"))
    setting.take(0, 0, 0)
    setting.take(0, 0, 5)
    setting.world.now += 8
    setting.world.latency = iter([2.0])
    # when it is asked again, quickly, then no time has been lost
    setting.world.latency = iter([2.0, *[0.0] * 20])
    assert setting.take(0, 0, 5).rest == 0
    setting.world.now += 0.6
    assert setting.take(0, 0, 5).rest == 5


def test_clocks_that_drift_apart_cost_next_to_nothing(valkey: Redis) -> None:
    # given a server whose clock gains half a second an hour on ours
    setting = Setting(valkey, lane_of("100/hour"))
    began = setting.world.now
    while setting.world.now < began + 4 * 3600:
        grant = setting.take(0, 0, 5)
        pause = min(max(grant.wait_rest, 1.0), 60.0)
        setting.world.now += pause
        setting.world.server_ahead += pause * 0.5 / 3600
    # then no hour has more than its hundred, and four hours have nearly four hundred
    granted = [token.granted for token in setting.tokens if token.granted < began + 4 * 3600]
    assert most_in_any_window(granted, 3600) <= 100
    assert len(granted) >= 0.97 * 400

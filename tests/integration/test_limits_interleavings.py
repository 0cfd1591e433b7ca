"""Random schedules of all that claims, seeds, dies, stops and forgets: no window ever holds more than its limit."""

import pytest
from redis import Redis

from tests.integration.limits_protocol import COUNT, Universe
from worker.limits import SCRIPT

SCHEDULES = 1000
STEPS = 260


def test_no_schedule_goes_over_the_limit(valkey: Redis) -> None:
    arrivals = 0
    for seed in range(SCHEDULES):
        universe = Universe(valkey, seed)
        assert universe.run(STEPS) <= COUNT, f"schedule {seed}"
        arrivals += len(universe.arrivals)
    # and the schedules were not idle
    assert arrivals > SCHEDULES * 5


def test_no_schedule_goes_over_the_limit_when_the_clock_steps_as_well(valkey: Redis) -> None:
    for seed in range(200):
        universe = Universe(valkey, seed, clock_steps=True)
        assert universe.run(STEPS) <= COUNT, f"schedule {seed}"


NONCE = "seed[1] == nonce and "
RUN_ID = "local same_run = seed[2] == run_id"
RESTAMPED = "for _, limit in ipairs(limits) do charge(limit, high + rest, rest) end\n  return { 'OK' }"
RELEASED = "if last + limit.kept > at then break end"


@pytest.mark.parametrize(
    ("guard", "without"),
    [
        pytest.param(NONCE, "", id="the nonce"),
        pytest.param(RUN_ID, "local same_run = true", id="the run id"),
        pytest.param(RESTAMPED, "return { 'OK' }", id="the second stamp"),
        pytest.param(RELEASED, "if last + limit.kept > at + 700000 then break end", id="the whole window"),
    ],
)
def test_the_schedules_show_what_each_check_is_for(valkey: Redis, guard: str, without: str) -> None:
    # given the script without one of its checks
    assert SCRIPT.count(guard) == 1
    weaker = SCRIPT.replace(guard, without)
    # when the same schedules run, then one of them goes over the limit
    assert any(Universe(valkey, seed, weaker).run(STEPS) > COUNT for seed in range(SCHEDULES))

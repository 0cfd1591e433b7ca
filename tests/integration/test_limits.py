"""What the limiter grants, refuses and remembers, told case by case; its bounds are proven in test_limits_model.py."""

import math
from typing import Any
from uuid import uuid4

import pytest
import redis
from redis import Redis

from paceline.limit import Limit
from tests.integration.limits_setting import Setting
from tests.integration.limits_world import RuledLimiter, World, dump, lane_of
from worker.limits import (
    KEY,
    Bucket,
    Closure,
    Grant,
    Image,
    LaneLimits,
    Limiter,
    Spent,
    Unseeded,
    signature_of,
)

LANE = lane_of("10/minute")
SIGNATURE = signature_of([LANE])


def seeded(valkey: Redis, lane: LaneLimits = LANE, world: World | None = None) -> Limiter:
    """A limiter with a fresh seed; in a world, time stands still."""
    limiter = Limiter(valkey, "t:") if world is None else RuledLimiter(valkey, world)
    assert limiter.seed([lane], signature=signature_of([lane]), expected=None, nonce="n", image=Image())
    return limiter


def ask(limiter: Limiter, high: int = 0, rest: int = 0, lane: LaneLimits = LANE, **changes: Any) -> Grant:
    answer = raw(limiter, high, rest, lane, **changes)
    assert isinstance(answer, Grant)
    return answer


def raw(limiter: Limiter, high: int, rest: int, lane: LaneLimits = LANE, **changes: Any) -> Grant | Unseeded:
    given = {"signature": signature_of([lane]), "nonce": "n", "caller": "me", "operation_id": uuid4().hex}
    return limiter.acquire(lane, high=high, rest=rest, probe_hold=30, **(given | changes))


def test_high_goes_first_and_its_reserve_is_kept(valkey: Redis) -> None:
    # given ten a minute, of which three are kept for high
    lane = lane_of("10/minute", reserve=0.3)
    limiter = seeded(valkey, lane)
    # when more is asked for than there is, then the rest gets what is not reserved, and high what is left
    first = ask(limiter, high=1, rest=20, lane=lane)
    assert (first.high, first.rest, first.room_high, first.room_rest) == (1, 7, 2, 0)
    assert first.wait_high == 0
    assert 59 < first.wait_rest <= 60.5
    second = ask(limiter, high=20, rest=20, lane=lane)
    assert (second.high, second.rest, second.binds) == (2, 0, "send/10/minute")


def test_all_limits_of_a_lane_are_charged_at_once(valkey: Redis) -> None:
    lane = lane_of("4/minute", "9/hour")
    setting = Setting(valkey, lane)
    assert [setting.take(0, 0, 9).rest for _ in range(2)] == [4, 0]
    setting.world.now += 61
    assert setting.take(0, 0, 9).rest == 4
    setting.world.now += 61
    last = setting.take(0, 0, 9)
    assert (last.rest, last.binds) == (1, "send/9/hour")
    assert 3400 < last.wait_rest < 3600.5


def test_lanes_of_a_key_share_what_has_the_same_scope(valkey: Redis) -> None:
    # given two sessions with a pace of their own and one quota
    pace, quota = Bucket.of(Limit.parse("2/minute")), Bucket.of(Limit.parse("3/hour"), scope="send")
    lanes = [LaneLimits("k", f"send:{name}", (pace, quota)) for name in ("a", "b")]
    signature = signature_of(lanes)
    limiter = Limiter(valkey, "t:")
    spent = (Spent("send:a", 1800.0, 1, 1), Spent("send:b", 1700.0, 0, 0))
    assert limiter.seed(lanes, signature=signature, expected=None, nonce="n", image=Image(spent))
    # then what one spends, and what the ledger says it spent, is gone for the other
    assert ask(limiter, rest=5, lane=lanes[0], signature=signature).rest == 2
    other = ask(limiter, rest=5, lane=lanes[1], signature=signature)
    assert (other.rest, other.binds) == (0, "send/3/hour")


def test_a_command_that_is_sent_again_gets_the_same_answer(valkey: Redis) -> None:
    limiter = seeded(valkey)
    first = ask(limiter, rest=4, operation_id="one")
    again = ask(limiter, rest=4, operation_id="one")
    # then nothing is spent twice, and the tokens are no younger than they were
    assert (again.rest, again.room_rest, again.since) == (4, 6, first.since)
    # and another caller's operation, or the same caller's next, is another one
    assert ask(limiter, rest=4, operation_id="one", caller="you").room_rest == 2
    assert ask(limiter, rest=4, operation_id="two").rest == 2


def test_without_a_valid_seed_nothing_is_granted(valkey: Redis) -> None:
    limiter = Limiter(valkey, "t:")
    assert raw(limiter, 1, 0) == Unseeded()
    assert raw(limiter, 1, 0, nonce="") == Unseeded()
    limiter = seeded(valkey)
    assert isinstance(raw(limiter, 1, 0), Grant)
    # another nonce, other limits, other data: nothing
    assert raw(limiter, 1, 0, nonce="m") == Unseeded()
    assert raw(limiter, 1, 0, signature="else") == Unseeded()
    assert not limiter.stamp(LANE, signature=SIGNATURE, nonce="m", high=1, rest=0)
    valkey.hset("t:{k}:seed", "run_id", "of another run")
    assert raw(limiter, 1, 0) == Unseeded()
    assert not limiter.seeded("k", signature=SIGNATURE).current
    valkey.flushdb()
    assert raw(limiter, 1, 0) == Unseeded()


def test_a_host_that_nobody_knows_after_a_silence_needs_a_new_seed(valkey: Redis) -> None:
    # given a key that one host used an hour ago
    setting = Setting(valkey, lane_of("100/hour"), hosts=2)
    setting.take(0, 0, 100)
    setting.world.now += 3601
    # when another host comes, then it takes the ages from the ledger, not from a clock it cannot check
    nonce = setting.nonce
    assert setting.take(1, 0, 100).rest == 100
    assert setting.nonce != nonce


def test_a_seed_replaces_only_the_state_it_expected(valkey: Redis) -> None:
    limiter = seeded(valkey, world=World())
    image = Image((Spent("send", 10.0, 3, 3), Spent("send", 59.0, 2, 0), Spent("send", 61.0, 4, 4)))
    assert not limiter.seed([LANE], signature=SIGNATURE, expected=None, nonce="m", image=image)
    assert not limiter.seed([LANE], signature=SIGNATURE, expected="other", nonce="m", image=image)
    assert limiter.seeded("k", signature=SIGNATURE).nonce == "n"
    assert limiter.seed([LANE], signature=SIGNATURE, expected="n", nonce="m", image=image)
    grant = ask(limiter, rest=20, nonce="m")
    assert grant.rest == 5
    assert grant.wait_rest == pytest.approx(1.5)


def test_a_seed_is_sent_once_though_its_answer_is_lost(valkey: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    limiter = Limiter(valkey, "t:")
    before = valkey.info("commandstats").get("cmdstat_eval", {}).get("calls", 0)
    # given a network that swallows the answer
    connection = valkey.connection_pool.get_connection()
    valkey.connection_pool.release(connection)

    def swallow(*_: Any, **__: Any) -> None:
        raise redis.exceptions.ConnectionError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "read_response", swallow)
        with pytest.raises(redis.exceptions.ConnectionError):
            limiter.seed([LANE], signature=SIGNATURE, expected=None, nonce="n", image=Image())
    # then the server saw it once, and the connection is not used with an answer still to come
    assert limiter.seeded("k", signature=SIGNATURE).nonce == "n"
    assert valkey.info("commandstats")["cmdstat_eval"]["calls"] == before + 1


def test_a_stamp_needs_no_room(valkey: Redis) -> None:
    limiter = seeded(valkey)
    assert ask(limiter, rest=10).rest == 10
    assert limiter.stamp(LANE, signature=SIGNATURE, nonce="n", high=0, rest=2)
    levels = limiter.levels(LANE, signature=SIGNATURE, nonce="n")
    assert not isinstance(levels, Unseeded)
    assert (levels.limits[0].used, levels.limits[0].room_high) == (12, 0)


class TestClosures:
    """A lane or its key is closed, and opens by itself, by a probe or by hand."""

    def close(self, setting: Setting, seconds: float | None, reason: str = "429", **how: Any) -> None:
        assert setting.limiters[0].close(
            setting.lane, seconds, reason, signature=setting.signature, nonce=setting.nonce, **how
        )

    def open(self, setting: Setting, **how: Any) -> None:
        assert setting.limiters[0].open(setting.lane, signature=setting.signature, nonce=setting.nonce, **how)

    def test_a_closed_lane_says_until_when_and_why(self, valkey: Redis) -> None:
        setting = Setting(valkey, LANE)
        self.close(setting, 30, "asked to\twait")
        setting.world.now += 10
        grant = setting.take(0, 1, 1)
        assert (grant.high, grant.rest, grant.room_high, grant.closed_reason) == (0, 0, 0, "asked to wait")
        assert grant.closed_for == grant.wait_high == grant.wait_rest == 20
        setting.world.now += 20
        assert setting.take(0, 1, 1).high == 1

    def test_the_later_end_wins_unless_forced(self, valkey: Redis) -> None:
        setting = Setting(valkey, LANE)
        self.close(setting, 30)
        self.close(setting, 10)
        assert setting.take(0, 1, 0).closed_for == 30
        self.close(setting, None, "forbidden")
        self.close(setting, 1000)
        assert (setting.take(0, 1, 0).closed_for, setting.take(0, 1, 0).closed_reason) == (math.inf, "forbidden")
        self.close(setting, 10, "by hand", force=True)
        assert setting.take(0, 1, 0).closed_for == 10
        self.open(setting)
        assert setting.take(0, 1, 0).high == 1

    def test_a_closed_key_closes_all_its_lanes(self, valkey: Redis) -> None:
        setting = Setting(valkey, LANE)
        self.close(setting, None, "payment required", whole_key=True)
        self.open(setting)
        assert setting.take(0, 1, 0).closed_for == math.inf
        self.open(setting, whole_key=True)
        assert setting.take(0, 1, 0).high == 1

    def test_after_a_backoff_one_probe_at_a_time(self, valkey: Redis) -> None:
        # given a lane that wants a probe
        setting = Setting(valkey, LANE)
        self.close(setting, 10, "503", probe=True)
        setting.world.now += 10
        # then one token goes, and none while it is held
        grant = setting.take(0, 5, 5)
        assert (grant.high, grant.rest, grant.probe, grant.closed_for) == (1, 0, True, 30)
        self.close(setting, 5, "503", probe=True)  # an older request's failure
        setting.world.now += 6
        assert setting.take(0, 5, 5).high == 0
        # when the probe is refused, its own backoff holds, and then the next probe goes
        self.close(setting, 10, "503", probe=True, probed=True)
        setting.world.now += 10
        assert setting.take(0, 0, 5).rest == 1
        # and when nobody ever says how it went, another one goes in the end
        setting.world.now += 30
        assert setting.take(0, 0, 5).rest == 1
        # when one succeeds, the lane is open
        self.open(setting)
        assert setting.take(0, 0, 5).rest == 5

    def test_a_seed_brings_closures_back(self, valkey: Redis) -> None:
        setting = Setting(valkey, LANE)
        image = Image(closures=(Closure("send", 20.0, "429", probe=True), Closure(KEY, 5.0, "busy")))
        limiter = setting.limiters[0]
        assert limiter.seed([LANE], signature=SIGNATURE, expected=setting.nonce, nonce="n9", image=image)
        setting.nonce = "n9"
        assert setting.take(0, 1, 1).closed_for == 20
        setting.world.now += 20
        assert setting.take(0, 1, 1).probe


def test_reading_the_levels_changes_nothing(valkey: Redis) -> None:
    # given a clock that runs ahead for a moment, in which somebody looks
    setting = Setting(valkey, LANE)
    setting.take(0, 0, 10)
    before = dump(valkey)
    setting.world.server_ahead = 100
    levels = setting.limiters[0].levels(LANE, signature=SIGNATURE, nonce=setting.nonce)
    assert not isinstance(levels, Unseeded)
    assert levels.limits[0].used == 0
    assert dump(valkey) == before


def test_a_full_log_is_about_a_thousand_entries(valkey: Redis) -> None:
    # given a million an hour, spent in small pieces over the whole hour
    setting = Setting(valkey, lane_of("1000000/hour"))
    for _ in range(5000):
        setting.world.now += 0.75
        setting.take(0, 0, 1)
    # then the log is bounded, in entries and in bytes
    assert 900 < valkey.llen("t:{k}:log:send/1000000/hour") <= 1026
    assert (valkey.memory_usage("t:{k}:log:send/1000000/hour", samples=0) or 0) in range(1, 100_000)


def test_a_client_that_decodes_answers_will_do(valkey_url: str) -> None:
    with redis.Redis.from_url(valkey_url, decode_responses=True) as decoding:
        decoding.flushdb()
        assert ask(seeded(decoding), rest=3).rest == 3


def test_one_round_trip_an_acquire(valkey: Redis) -> None:
    lane = lane_of("10/minute", "100/day")
    limiter = seeded(valkey, lane, World())
    ask(limiter, lane=lane)
    before = valkey.info("commandstats")["cmdstat_evalsha"]["calls"]
    for _ in range(5):
        ask(limiter, rest=1, lane=lane)
    assert valkey.info("commandstats")["cmdstat_evalsha"]["calls"] == before + 5


def test_a_lane_without_limits_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^lane k/send has no limit: .*\.$"):
        LaneLimits("k", "send", ())


def test_hosts_are_told_apart(valkey: Redis) -> None:
    world = World()
    assert RuledLimiter(valkey, world, "one").boot != RuledLimiter(valkey, world, "two").boot
    assert Limiter(valkey, "t:")._host == Limiter(valkey, "u:")._host

"""Calendar quotas, and what a provider says is left of a long window."""

import random
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from redis import Redis

from tests.integration.limits_setting import Setting, judge
from tests.integration.limits_world import World, lane_of
from worker.limits import Image, Spent


class TestDays:
    """A calendar quota: the new day opens late, and near midnight both days are charged."""

    LANE = lane_of("100/day@Europe/London")

    def at(self, valkey: Redis, local: str) -> Setting:
        now = datetime.fromisoformat(local).replace(tzinfo=ZoneInfo("Europe/London")).timestamp()
        return Setting(valkey, self.LANE, world=World(now=now))

    def test_the_new_day_opens_five_seconds_late(self, valkey: Redis) -> None:
        setting = self.at(valkey, "2026-10-24 12:00:00")
        assert setting.take(0, 0, 100).rest == 100
        assert setting.take(0, 0, 1).wait_rest == pytest.approx(12 * 3600 + 5)
        setting.world.now += 12 * 3600 + 4.9
        assert setting.take(0, 0, 1).rest == 0
        setting.world.now += 0.2
        assert setting.take(0, 0, 100).rest == 100
        # and this day has twenty-five hours
        assert setting.take(0, 0, 1).wait_rest == pytest.approx(25 * 3600 - 0.1)
        setting.world.now += 25 * 3600
        assert setting.take(0, 0, 200).rest == 100

    @pytest.mark.parametrize("before", [4.9, -4.9])
    def test_near_midnight_both_days_are_charged(self, valkey: Redis, before: float) -> None:
        setting = self.at(valkey, "2026-06-10 00:00:00")
        setting.world.now -= before
        assert setting.take(0, 0, 60).rest == 60
        setting.world.now += before + 5.1
        assert setting.take(0, 0, 100).rest == 40

    def test_what_fills_both_days_waits_for_the_third(self, valkey: Redis) -> None:
        setting = self.at(valkey, "2026-06-09 23:59:56")
        assert setting.take(0, 0, 100).wait_rest == pytest.approx(4 + 24 * 3600 + 5)

    def test_days_gone_by_are_forgotten(self, valkey: Redis) -> None:
        setting = self.at(valkey, "2026-06-09 12:00:00")
        for _ in range(9):
            assert setting.take(0, 0, 100).rest == 100
            setting.world.now += 24 * 3600
        assert valkey.hlen("t:{k}:limit:send/100/day@Europe/London") <= 2 * 3

    def test_a_seed_sorts_the_ledger_by_days(self, valkey: Redis) -> None:
        setting = self.at(valkey, "2026-06-10 01:00:00")
        image = Image((Spent("send", 30.0, 10, 10), Spent("send", 3600.0, 5, 5), Spent("send", 7200.0, 80, 80)))
        limiter = setting.limiters[0]
        assert limiter.seed([self.LANE], signature=setting.signature, expected=setting.nonce, nonce="n9", image=image)
        setting.nonce = "n9"
        assert setting.take(0, 0, 100).rest == 85
        judge(setting, random.Random(1))


class TestCaps:
    """What the provider says is left only ever takes away."""

    LANE = lane_of("100/hour")

    def say(self, setting: Setting, remaining: int, reset_in: float, age: float = 0.0) -> None:
        limiter, bucket = setting.limiters[0], setting.lane.limits[0]
        told = {"remaining": remaining, "reset_in": reset_in, "age": age}
        assert limiter.cap(setting.lane, bucket, signature=setting.signature, nonce=setting.nonce, **told)  # type: ignore[arg-type]

    def test_no_more_goes_than_the_provider_has_left(self, valkey: Redis) -> None:
        setting = Setting(valkey, self.LANE)
        assert setting.take(0, 0, 10).rest == 10
        setting.world.now += 5
        self.say(setting, 20, 1000)
        first = setting.take(0, 0, 50)
        assert (first.rest, first.wait_rest) == (20, 1000)
        # until the reset: then our own log counts alone
        setting.world.now += 1000
        assert setting.take(0, 0, 100).rest == 70

    def test_what_was_granted_since_the_request_left_is_taken_off(self, valkey: Redis) -> None:
        setting = Setting(valkey, self.LANE)
        setting.take(0, 0, 10)
        setting.world.now += 60
        setting.take(0, 0, 15)
        self.say(setting, 20, 1000, age=30)
        assert setting.take(0, 0, 50).rest == 5

    def test_it_never_adds_to_our_own_room(self, valkey: Redis) -> None:
        setting = Setting(valkey, self.LANE)
        setting.take(0, 0, 95)
        setting.world.now += 60
        self.say(setting, 90, 1000)
        assert setting.take(0, 0, 50).rest == 5

    def test_an_answer_from_before_the_last_reset_or_of_an_older_request_is_ignored(self, valkey: Redis) -> None:
        setting = Setting(valkey, self.LANE)
        setting.world.now += 100
        self.say(setting, 20, 3000, age=1)
        self.say(setting, 0, 10)
        self.say(setting, 0, 3000, age=2)
        assert setting.take(0, 0, 10).rest == 10
        setting.world.now += 10
        self.say(setting, 15, 2990)
        assert setting.take(0, 0, 50).rest == 15

    def test_the_reserve_is_kept_of_what_is_left(self, valkey: Redis) -> None:
        setting = Setting(valkey, lane_of("100/hour", reserve=0.1))
        self.say(setting, 30, 1000)
        first = setting.take(0, 0, 50)
        assert (first.rest, first.room_rest, first.wait_rest, first.room_high) == (20, 0, 1000, 10)
        assert setting.take(0, 50, 50).high == 10

    def test_short_windows_are_not_capped(self, valkey: Redis) -> None:
        setting = Setting(valkey, lane_of("100/minute"))
        self.say(setting, 0, 1000)
        assert setting.take(0, 0, 50).rest == 50

    def test_a_day_is_capped_too(self, valkey: Redis) -> None:
        setting = Setting(valkey, lane_of("100/day"))
        setting.take(0, 0, 10)
        setting.world.now += 1
        self.say(setting, 7, 1000)
        assert setting.take(0, 0, 50).rest == 7

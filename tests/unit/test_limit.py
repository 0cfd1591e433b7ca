"""Limits and durations as an operator writes them, and where days begin."""

from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.limit import Limit, day_bounds, guard_for, parse_duration, tightest


@pytest.mark.parametrize(
    ("text", "count", "window", "zone"),
    [
        ("5/second", 5, 1.0, None),
        ("100/minute", 100, 60.0, None),
        ("100/hour", 100, 3600.0, None),
        ("1/3s", 1, 3.0, None),
        ("20/5m", 20, 300.0, None),
        ("7/2h", 7, 7200.0, None),
        ("1000/day", 1000, None, "UTC"),
        ("1000/day@Europe/London", 1000, None, "Europe/London"),
    ],
)
def test_a_limit_is_a_count_and_a_window(text: str, count: int, window: float | None, zone: str | None) -> None:
    limit = Limit.parse(text)
    assert (limit.count, limit.window, limit.zone, limit.text) == (count, window, zone, text)
    assert limit.is_day == (window is None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "100",
        "/minute",
        "0/minute",
        "-1/minute",
        "1.5/minute",
        "1/0s",
        "1/week",
        "1/minutes",
        "1/s",
        "1/day@",
        "1/5d",
    ]
    + [
        "\u0661/minute",
        " 1/minute",
        "1/minute ",
        "1/day@Europe",
        "1/day@Mars/Olympus",
        "1/day@../etc/passwd",
        "1 / minute",
    ],
)
def test_anything_else_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*: write [^\n]*\.$"):
        Limit.parse(text)


@pytest.mark.parametrize(
    ("text", "guard"), [("1/second", 0.1), ("1/3s", 0.3), ("1/5s", 0.5), ("100/hour", 0.5), ("5/day", 5.0)]
)
def test_the_guard_is_a_tenth_of_the_window_and_half_a_second_at_most(text: str, guard: float) -> None:
    assert guard_for(Limit.parse(text)) == pytest.approx(guard)


def test_a_guard_may_be_set_and_a_day_adds_the_skew() -> None:
    assert guard_for(Limit.parse("100/minute"), 2.0) == 2.0
    assert guard_for(Limit.parse("100/day"), 2.0, skew=-1.5) == 6.5


@pytest.mark.parametrize(
    ("local", "zone", "hours"),
    [
        ("2026-06-15 12:00", "UTC", (24, 24, 24)),
        ("2026-03-29 12:00", "Europe/London", (24, 23, 24)),  # the clocks go forward at one
        ("2026-03-29 00:30", "Europe/London", (24, 23, 24)),
        ("2026-10-25 12:00", "Europe/London", (24, 25, 24)),  # and back at two
        ("2026-10-26 00:00", "Europe/London", (25, 24, 24)),
        ("2018-11-04 12:00", "America/Sao_Paulo", (24, 23, 24)),  # midnight itself is skipped: the day begins at one
        ("2011-12-31 12:00", "Pacific/Apia", (24, 24, 24)),  # a whole day was skipped the day before
    ],
)
def test_days_begin_where_the_zone_says(local: str, zone: str, hours: tuple[int, int, int]) -> None:
    where = ZoneInfo(zone)
    now = datetime.fromisoformat(local).replace(tzinfo=where).timestamp()
    bounds = day_bounds(now, zone)
    lengths = tuple((later - earlier) / 3600 for earlier, later in pairwise(bounds))
    assert bounds[1] <= now < bounds[2]
    if zone != "Pacific/Apia":
        assert lengths == hours
    assert datetime.fromtimestamp(bounds[1], where).date() == datetime.fromtimestamp(now, where).date()
    assert datetime.fromtimestamp(bounds[2] - 1, where).date() == datetime.fromtimestamp(now, where).date()


@given(
    st.floats(0, 4e9),
    st.sampled_from(["UTC", "Europe/London", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
def test_any_moment_lies_in_its_day(now: float, zone: str) -> None:
    previous, start, end, following = day_bounds(now, zone)
    assert previous < start <= now < end < following
    where = ZoneInfo(zone)
    today = datetime.fromtimestamp(now, where).date()
    assert datetime.fromtimestamp(end, where).date() == today + timedelta(days=1)


def test_of_two_accounts_the_tighter_limit_holds() -> None:
    one = [Limit.parse("100/minute"), Limit.parse("1000/day")]
    two = [
        Limit.parse("60/60s"),
        Limit.parse("5000/day"),
        Limit.parse("900/day@Europe/London"),
        Limit.parse("5/second"),
    ]
    assert [limit.text for limit in tightest([one, two])] == ["5/second", "60/60s", "1000/day", "900/day@Europe/London"]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30s", 30.0),
        ("10m", 600.0),
        ("72h", 259200.0),
        ("1.5h", 5400.0),
        ("30d", 2592000.0),
        ("7", 7.0),
        (2, 2.0),
        (0.5, 0.5),
    ],
)
def test_a_duration_is_seconds_or_has_a_unit(value: str | float, seconds: float) -> None:
    assert parse_duration(value) == seconds


@pytest.mark.parametrize("value", ["", "s", "3w", "-1s", "1h30m", " 1s", True, -1, float("nan"), float("inf")])
def test_anything_else_is_no_duration(value: str | float) -> None:
    with pytest.raises(ValueError, match=r"is not a duration: write .*\.$"):
        parse_duration(value)

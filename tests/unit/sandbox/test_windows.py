"""Rate windows: given arrivals, each kind admits, refuses and reports as a provider of that kind would."""

from itertools import permutations

import pytest

from sandbox.windows import (
    Limit,
    RateLimits,
    Reading,
    Window,
    WindowKind,
    open_window,
    parse_limit,
    rate_headers,
    wait_seconds,
)

TEN = Limit(10, 60.0)


def admitted(window: Window, times: list[float]) -> list[bool]:
    return [window.hit(at).admitted for at in times]


def test_fixed_windows_are_aligned_to_the_epoch_and_start_anew_at_each_minute() -> None:
    window = open_window("fixed", TEN)
    assert admitted(window, [6059.0] * 11) == [True] * 10 + [False]
    # Then the next minute is open at once, so that twenty fit into two seconds.
    assert admitted(window, [6060.0] * 11) == [True] * 10 + [False]


def test_a_fixed_window_reports_the_instant_at_which_it_ends() -> None:
    window = open_window("fixed", TEN)
    assert window.hit(6059.5) == Reading(True, 10, 9, 6060.0, 6059.5)


def test_a_request_judged_late_counts_in_the_minute_in_which_it_arrived() -> None:
    window = open_window("fixed", Limit(1, 60.0))
    assert admitted(window, [6060.1, 6059.9, 6059.8, 6060.2]) == [True, True, False, False]


def test_whatever_is_older_than_the_last_minute_counts_in_that_one() -> None:
    window = open_window("fixed", Limit(1, 60.0))
    assert admitted(window, [6060.1, 5900.0, 6059.9]) == [True, True, False]


def test_a_first_hit_window_runs_from_the_keys_own_first_request() -> None:
    window = open_window("first-hit", TEN)
    assert admitted(window, [6059.0] * 11) == [True] * 10 + [False]
    # The minute's end changes nothing; the window's own does.
    assert window.hit(6061.0).admitted is False
    assert window.hit(6118.9) == Reading(False, 10, 0, 6119.0, 6119.0)
    assert window.hit(6119.0) == Reading(True, 10, 9, 6179.0, 6119.0)


def test_a_first_hit_window_begins_with_who_came_first_and_not_with_who_was_judged_first() -> None:
    window = open_window("first-hit", Limit(2, 10.0))
    assert admitted(window, [100.3, 100.1]) == [True, True]
    assert window.hit(110.0).free == 110.1
    assert window.hit(110.1).admitted is True


def test_a_request_judged_late_counts_in_the_first_hit_window_before() -> None:
    window = open_window("first-hit", Limit(2, 10.0))
    assert admitted(window, [100.0, 110.2, 109.9, 109.8]) == [True, True, True, False]


def test_the_order_of_judging_changes_nothing_where_no_interval_holds_too_many() -> None:
    arrivals = [100.0, 101.0, 109.9, 110.0, 111.0, 119.9, 120.0]
    for order in permutations(arrivals):
        assert all(admitted(open_window("sliding", Limit(3, 10.0)), list(order))), order


def test_a_request_judged_late_may_be_one_too_many_for_those_after_it() -> None:
    window = open_window("sliding", Limit(2, 10.0))
    assert admitted(window, [105.0, 109.0, 104.0, 98.0]) == [True, True, False, True]


def test_a_sliding_window_never_lets_more_through_any_interval() -> None:
    window = open_window("sliding", TEN)
    assert admitted(window, [100.0 + i for i in range(11)]) == [True] * 10 + [False]
    # One place is free when the first entry is a whole window old, and not before.
    assert window.hit(159.9) == Reading(False, 10, 0, 160.0, 160.0)
    assert window.hit(160.0).admitted is True
    assert window.hit(160.5).admitted is False


def test_a_bucket_starts_full_and_refills_evenly() -> None:
    window = open_window("bucket", TEN)
    assert admitted(window, [100.0] * 11) == [True] * 10 + [False]
    # A token comes back every six seconds.
    assert admitted(window, [105.9, 106.0, 106.1]) == [False, True, False]
    reading = window.hit(110.0)
    assert reading.admitted is False
    assert reading.free == pytest.approx(112.0)


def test_a_bucket_lets_nearly_twice_the_limit_through_one_window() -> None:
    window = open_window("bucket", TEN)
    burst = admitted(window, [100.0] * 10)
    steady = admitted(window, [100.0 + 6.0 * i for i in range(1, 10)])
    assert sum(burst) + sum(steady) == 19


@pytest.mark.parametrize("kind", ["fixed", "first-hit", "sliding", "bucket"])
def test_a_refused_request_takes_nothing(kind: WindowKind) -> None:
    window = open_window(kind, Limit(2, 10.0))
    assert admitted(window, [100.0, 100.0]) == [True, True]
    for i in range(50):
        window.hit(100.0 + i / 100)
    assert window.hit(110.0).admitted is True


@pytest.mark.parametrize("kind", ["fixed", "first-hit", "sliding", "bucket"])
def test_waiting_as_long_as_told_is_enough_and_a_second_less_is_not(kind: WindowKind) -> None:
    window = open_window(kind, Limit(3, 10.0))
    for _ in range(3):
        window.hit(101.5)
    wait = wait_seconds(window.hit(101.5), 101.5)
    assert window.hit(101.5 + wait - 1.0).admitted is False
    assert window.hit(101.5 + wait).admitted is True


def test_keys_and_groups_have_windows_of_their_own() -> None:
    limits = RateLimits("fixed", {"send": Limit(1, 60.0), "status": Limit(1, 60.0)})
    assert limits.hit("a", "send", 100.0).admitted
    assert limits.hit("a", "status", 100.0).admitted
    assert limits.hit("b", "send", 100.0).admitted
    assert not limits.hit("a", "send", 100.0).admitted


def test_changed_limits_start_only_their_own_windows_afresh() -> None:
    limits = RateLimits("fixed", {"send": Limit(1, 60.0), "status": Limit(1, 60.0)})
    limits.hit("a", "send", 100.0)
    limits.hit("a", "status", 100.0)
    limits.change("fixed", {"send": Limit(2, 60.0), "status": Limit(1, 60.0)})
    assert limits.hit("a", "send", 100.0) == Reading(True, 2, 1, 120.0, 100.0)
    assert not limits.hit("a", "status", 100.0).admitted


def test_the_headers_give_the_reset_as_an_instant_rounded_up() -> None:
    assert rate_headers(Reading(True, 100, 99, 1795197960.2, 0.0)) == {
        "X-RateLimit-Limit": "100",
        "X-RateLimit-Remaining": "99",
        "X-RateLimit-Reset": "1795197961",
    }


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("100/minute", Limit(100, 60.0)),
        ("60/10s", Limit(60, 10.0)),
        ("5/0.5s", Limit(5, 0.5)),
        ("3000/2m", Limit(3000, 120.0)),
        ("1/1h", Limit(1, 3600.0)),
        ("20000/day", Limit(20000, 86400.0)),
        ("1/700h", Limit(1, 2_520_000.0)),
    ],
)
def test_a_limit_is_read_and_written(text: str, limit: Limit) -> None:
    assert parse_limit(text) == limit
    assert parse_limit(str(limit)) == limit


@pytest.mark.parametrize("text", ["", "100", "0/minute", "100/0s", "100/0.0s", "1/week", "-1/minute", 100, None])
def test_what_is_no_limit_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="a limit"):
        parse_limit(text)

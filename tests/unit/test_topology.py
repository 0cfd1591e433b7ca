"""Keys, their lanes, and who draws on what."""

import pytest

from paceline.errors import PacelineError
from paceline.limit import Limit
from tests.support.senders import paced, sender, topology
from worker.lanes.topology import LEASE_SLACK, lane_name
from worker.operate import lanes_named

MAIN, OTHER, SPARE = sender("main"), sender("other"), sender("spare")
ALIAS = sender("alias", key="main")


def test_each_key_has_a_lane_for_each_class_of_endpoint() -> None:
    built = topology([MAIN, OTHER])

    assert {(lane.name, lane.lane_class, bool(lane.senders), bool(lane.pollers)) for lane in built.lanes.values()} == {
        ("main/send", "send", True, False),
        ("main/status", "status", False, True),
        ("other/send", "send", True, False),
        ("other/status", "status", False, True),
    }
    assert {lane.name for lane in built.lanes_of("main")} == {"main/send", "main/status"}


def test_accounts_of_one_key_share_its_lanes_under_the_first_ones_name() -> None:
    built = topology([MAIN, ALIAS])

    assert set(built.lanes) == {"main/send", "main/status"}
    assert dict(built.lanes["main/send"].senders) == {"main": MAIN, "alias": ALIAS}
    assert ALIAS.lane == "main/send"
    assert ALIAS.poll_lane == "main/status"
    assert set(built.senders) == {"main", "alias"}


def test_a_lease_outlasts_the_slowest_account_and_the_guard() -> None:
    built = topology([MAIN, sender("alias", key="main", timeout=25.0)])

    assert built.lanes["main/send"].lease == 25.0 + 0.5 + LEASE_SLACK


@pytest.mark.parametrize(("limits", "slack"), [(("5/second",), 0.1), (("5/second", "9/day"), 5.0)])
def test_the_widest_guard_stretches_a_lease(limits: tuple[str, ...], slack: float) -> None:
    built = topology([MAIN], send=limits)

    assert built.lanes["main/send"].lease == pytest.approx(10.0 + slack + LEASE_SLACK)


def test_a_routes_messages_wait_on_the_lane_of_each_of_its_accounts_in_order() -> None:
    built = topology([MAIN, OTHER, SPARE], routes={"sms": ("other", "main", "spare")})

    assert built.lanes["main/send"].senders["sms"] is MAIN
    assert built.lanes["other/send"].behind["sms"] == ()
    assert built.lanes["main/send"].behind["sms"] == ("other/send",)
    assert built.lanes["spare/send"].behind["sms"] == ("other/send", "main/send")
    assert "sms" not in built.lanes["main/status"].senders


def test_of_two_accounts_of_one_key_in_a_route_the_first_sends() -> None:
    built = topology([MAIN, ALIAS, OTHER], routes={"sms": ("alias", "main", "other")})

    assert built.lanes["main/send"].senders["sms"] is ALIAS
    assert built.lanes["main/send"].behind["sms"] == ()
    assert built.lanes["other/send"].behind["sms"] == ("main/send",)


def test_a_route_leaves_lanes_alone_that_it_does_not_name() -> None:
    built = topology([MAIN, OTHER], routes={"sms": ("other",)})

    assert set(built.lanes["main/send"].senders) == {"main"}


def test_a_lane_for_calls_has_no_messages() -> None:
    lane = topology([MAIN], profile=["10/minute"]).lanes["main/profile"]

    assert not lane.senders
    assert not lane.pollers


def test_limits_guards_and_reserves_are_in_the_keys_signature() -> None:
    plain = topology([MAIN]).lanes["main/send"].signature

    assert plain == topology([MAIN]).lanes["main/status"].signature
    assert plain != topology([MAIN], send=["99/minute"]).lanes["main/send"].signature
    assert plain != topology([MAIN], guard=0.3).lanes["main/send"].signature
    assert plain != topology([MAIN], reserve=0.1).lanes["main/send"].signature


@pytest.mark.parametrize(
    ("limit", "reserve", "kept"),
    [
        ("5/minute", 0.25, 2),
        ("10/minute", 0.3, 3),
        ("2/minute", 0.5, 1),
        # Rounded up they would take everything from normal and bulk.
        ("1/3s", 0.1, 0),
        ("1/3s", 0.99, 0),
        ("2/minute", 0.6, 1),
        ("3/minute", 0.9, 2),
        ("1/3s", 1.0, 1),  # everything was asked for
        ("1/3s", 0.0, 0),
    ],
)
def test_a_reserve_is_whole_tokens_rounded_up_unless_that_is_all(limit: str, reserve: float, kept: int) -> None:
    [bucket] = topology([MAIN], send=[limit], reserve=reserve).lanes["main/send"].limits.limits

    assert bucket.reserve == kept


# Senders with a pace of their own within a key

ONE, TWO = paced("one", "first"), paced("two", "second", key="one")
AGAIN = paced("again", "second", key="one")
PACED = ("1/3s", "500/24h", "1000/day")


def test_each_sender_of_a_key_has_a_send_lane_named_after_its_first_account() -> None:
    built = topology([ONE, TWO, AGAIN], send=PACED)

    assert set(built.lanes) == {"one/send", "two/send", "one/status"}
    assert set(built.lanes["one/send"].senders) == {"one"}
    assert set(built.lanes["two/send"].senders) == {"two", "again"}
    assert [built.senders[name].lane for name in ("one", "two", "again")] == ["one/send", "two/send", "two/send"]
    assert built.senders["again"].poll_lane == "one/status"
    assert built.senders["two"].lane_for("status") == "one/status"
    assert {lane.name for lane in built.lanes_of("one")} == set(built.lanes)
    assert len({lane.pace for lane in built.lanes.values()}) == 3
    assert "second" not in built.lanes["two/send"].pace


def test_a_pace_is_the_lanes_own_and_a_days_quota_the_keys() -> None:
    built = topology([ONE, TWO], send=PACED)
    first, second = (built.lanes[name].limits for name in ("one/send", "two/send"))

    names = [[limits.name_of(bucket) for bucket in limits.limits] for limits in (first, second)]

    assert names == [
        ["one/send/1/3s", "one/send/500/24h", "send/1000/day"],
        ["two/send/1/3s", "two/send/500/24h", "send/1000/day"],
    ]
    assert (first.key, second.key) == ("one", "one")
    assert built.lanes["one/send"].signature == built.lanes["one/status"].signature


def test_the_jitter_is_of_short_windows_and_only_where_the_provider_asks_for_it() -> None:
    """Of windows of a minute and longer nearly everything is promised."""
    [lane, plain] = topology([ONE, OTHER], send=[*PACED, "20/minute"]).lanes["one/send"], topology([OTHER], send=PACED)

    assert [bucket.jitter for bucket in lane.limits.limits] == [0.4, 0.0, 0.0, 0.0]
    assert {bucket.jitter for bucket in plain.lanes["other/send"].limits.limits} == {0.0}


def test_limits_of_each_pace_are_its_own() -> None:
    limits = {"one": [Limit.parse("1/3s")], "two": [Limit.parse("1/5s")]}
    built = topology([ONE, TWO], send=PACED, paces={"one": limits})

    assert [bucket.limit.text for bucket in built.lanes["two/send"].limits.limits] == ["1/5s"]


def test_a_route_tries_the_senders_of_one_key_in_turn() -> None:
    built = topology([ONE, TWO], send=PACED, routes={"chat": ("two", "one")})

    assert built.lanes["two/send"].behind["chat"] == ()
    assert built.lanes["one/send"].behind["chat"] == ("two/send",)
    assert built.lanes["one/send"].senders["chat"].name == "one"


def test_an_account_names_its_own_lane_and_its_key_all_of_them() -> None:
    built = topology([ONE, TWO, AGAIN], send=PACED)

    assert [lane.name for lane in lanes_named(built, "again/send")] == ["two/send"]
    assert [lane.name for lane in lanes_named(built, "one/send")] == ["one/send"]
    assert [lane.name for lane in lanes_named(built, "two/status")] == ["one/status"]
    assert {lane.name for lane in lanes_named(built, "two")} == set(built.lanes)
    with pytest.raises(PacelineError, match="it has send, status"):
        lanes_named(built, "two/mail")


def test_a_lanes_name_is_its_keys_and_its_class() -> None:
    assert lane_name("main", "send") == "main/send"

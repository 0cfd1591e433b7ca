"""Keys, their lanes, and who draws on what."""

import pytest

from tests.support.senders import sender, topology
from worker.topology import LEASE_SLACK, Work, lane_name

MAIN, OTHER, SPARE = sender("main"), sender("other"), sender("spare")
ALIAS = sender("alias", key="main")


def test_each_key_has_a_lane_for_each_class_of_endpoint() -> None:
    built = topology([MAIN, OTHER])

    assert {(lane.name, lane.work) for lane in built.lanes.values()} == {
        ("main/send", Work.SEND),
        ("main/status", Work.POLL),
        ("other/send", Work.SEND),
        ("other/status", Work.POLL),
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

    assert lane.work is Work.CALL
    assert not lane.senders


def test_limits_guards_and_reserves_are_in_the_keys_signature() -> None:
    plain = topology([MAIN]).lanes["main/send"].signature

    assert plain == topology([MAIN]).lanes["main/status"].signature
    assert plain != topology([MAIN], send=["99/minute"]).lanes["main/send"].signature
    assert plain != topology([MAIN], guard=0.3).lanes["main/send"].signature
    assert plain != topology([MAIN], reserve=0.1).lanes["main/send"].signature


def test_a_reserve_is_whole_tokens_rounded_up() -> None:
    [bucket] = topology([MAIN], send=["5/minute"], reserve=0.25).lanes["main/send"].limits.limits

    assert bucket.reserve == 2


def test_a_lanes_name_is_its_keys_and_its_class() -> None:
    assert lane_name("main", "send") == "main/send"

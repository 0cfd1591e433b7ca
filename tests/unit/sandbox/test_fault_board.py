"""Which fault strikes: globs, counts, skips and seeded chance."""

from typing import Any

import pytest

from sandbox.fault_board import FaultBoard
from sandbox.faults import WebhookDrop, WebhookFault, WebhookSignature, parse_fault
from sandbox.model import SettingsError
from tests.unit.sandbox.support import call

SEND = call(data={"to": "ana"})


def board(*faults: dict[str, Any], seed: int = 0) -> FaultBoard:
    return FaultBoard(seed, [parse_fault(fault) for fault in faults])


def struck(board: FaultBoard, times: int, recipient: str = "ana") -> list[bool]:
    return [board.request(SEND, recipient) is not None for _ in range(times)]


def test_without_a_count_a_fault_strikes_until_it_is_cleared() -> None:
    faults = board({"kind": "silence"})
    assert struck(faults, 3) == [True] * 3
    faults.clear()
    assert struck(faults, 1) == [False]


def test_a_fault_strikes_as_often_as_its_count_and_after_its_skips() -> None:
    assert struck(board({"kind": "silence", "count": 2, "skip": 1}), 5) == [False, True, True, False, False]


@pytest.mark.parametrize(
    ("globs", "strikes"),
    [
        ({"method": "POST", "path": "/v1/messages/*", "recipient": "a*"}, True),
        ({"method": "GET"}, False),
        ({"path": "/v1/profile"}, False),
        ({"recipient": "bob"}, False),
        ({"recipient": "A*"}, False),
    ],
)
def test_a_fault_strikes_only_what_all_its_globs_match(globs: dict[str, str], strikes: bool) -> None:
    assert struck(board({"kind": "silence", **globs}), 1) == [strikes]


def test_the_first_fault_that_is_due_strikes_alone() -> None:
    faults = board({"kind": "close", "count": 1}, {"kind": "silence", "count": 1})
    kinds = [fault.kind if (fault := faults.request(SEND, "ana")) else None for _ in range(3)]
    assert kinds == ["close", "silence", None]


def test_chance_follows_the_seed() -> None:
    rare = {"kind": "silence", "probability": 0.25}
    first = struck(board(rare, seed=1), 400)
    assert 70 <= sum(first) <= 130
    assert first == struck(board(rare, seed=1), 400)
    assert first != struck(board(rare, seed=2), 400)


def test_faults_are_listed_with_their_counts_and_removed_by_number() -> None:
    faults = board({"kind": "silence", "count": 1}, {"kind": "close", "recipient": "bob"})
    struck(faults, 2)
    listed = faults.as_json()
    assert [(item["id"], item["active"], item["matched"], item["struck"]) for item in listed] == [
        (1, False, 1, 1),
        (2, True, 0, 0),
    ]
    assert faults.remove(2) is True
    assert faults.remove(2) is False
    assert [item["id"] for item in faults.as_json()] == [1]


def test_a_drop_strikes_the_head_and_never_a_request_that_was_read() -> None:
    faults = board({"kind": "drop", "path": "/v1/messages/*"})
    assert faults.head(SEND) is not None
    assert faults.request(SEND, "") is None


def test_faults_of_requests_webhooks_and_connections_do_not_mix() -> None:
    faults = board(
        {"kind": "webhook_drop", "event": "message.*"}, {"kind": "refuse", "count": 1}, {"kind": "webhook_signature"}
    )
    both: tuple[type[WebhookFault], ...] = (WebhookDrop, WebhookSignature)
    assert faults.request(SEND, "ana") is None
    assert isinstance(faults.webhook(both, "message.read", "ana"), WebhookDrop)
    assert isinstance(faults.webhook(both, "payment.received", "ana"), WebhookSignature)
    assert (faults.connection(), faults.connection()) == (True, False)


@pytest.mark.parametrize(
    ("fault", "field"),
    [
        ({"kind": "nonsense"}, "nonsense"),
        ({}, "kind"),
        ({"kind": "silence", "staus": 500}, "staus"),
        ({"kind": "status"}, "status"),
        ({"kind": "status", "status": 700}, "status"),
        ({"kind": "refuse"}, "count"),
        ({"kind": "delay"}, "seconds"),
        ({"kind": "drop", "recipient": "ana"}, "recipient"),
        ({"kind": "silence", "probability": 0}, "probability"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_by_field(fault: dict[str, Any], field: str) -> None:
    with pytest.raises(SettingsError, match=field):
        parse_fault(fault)

"""Each way a request can die, judged by the provider's ledger: sent once at most, and never guessed to have failed."""

import socket
from collections.abc import Callable

import pytest

from sandbox.background import SandboxServer
from tests.support.installation import Installation, turn, until

Build = Callable[..., Installation]

AFTER_THE_WIRE = [
    {"kind": "close", "reset": True, "accept": True},
    {"kind": "close", "reset": False, "accept": True},
    {"kind": "close", "reset": True, "accept": False},
    {"kind": "drop"},
    {"kind": "half", "accept": True},
    {"kind": "silence", "accept": True},
    {"kind": "broken_json", "accept": True},
    {"kind": "html", "accept": True},
    {"kind": "status", "status": 500, "accept": True},
    {"kind": "status", "status": 502, "accept": False},
]


@pytest.mark.parametrize("fault", AFTER_THE_WIRE, ids=lambda fault: "-".join(str(value) for value in fault.values()))
def test_what_may_have_been_accepted_is_unknown_and_never_sent_again(
    build: Build, sandbox: SandboxServer, fault: dict[str, object]
) -> None:
    """Given a fault after the first byte, when slices and sweeps go on, then one request arrived and it is unknown."""
    waits = {"timeout": "5s"} if fault["kind"] == "silence" else {}
    built = build(retry={"schedule": [0.1, 0.1]}, **waits)
    service = built.service()
    sandbox.fault("aurogy", **fault)  # type: ignore[arg-type]  # the parameters are the fault's own fields
    receipt = built.text()

    until(lambda: turn(service) and built.statuses() == {"unknown": 1})
    sandbox.clear_faults("aurogy")
    turn(service)
    service.sweep()
    turn(service)

    assert len(sandbox.ledger("aurogy")) == 1
    view = built.client.status(receipt.id)
    assert view.status == "unknown"
    assert [attempt.outcome for attempt in view.attempts] == ["unknown"]
    assert "resolve" in str(view.waiting_for)


def test_with_retry_on_unknown_it_is_sent_again(build: Build, sandbox: SandboxServer) -> None:
    """Given on_unknown = "retry", when an answer is lost once, then the message arrives twice and is accepted."""
    built = build(on_unknown="retry", retry={"schedule": [0.05]}, poll={"schedule": [600]})
    service = built.service()
    sandbox.fault("aurogy", kind="close", accept=True, count=1)
    receipt = built.text()

    until(lambda: turn(service) and built.statuses() == {"accepted": 1})

    assert [entry.accepted for entry in sandbox.ledger("aurogy")] == [True, True]
    assert [attempt.outcome for attempt in built.client.status(receipt.id).attempts] == ["unknown", "accepted"]


def test_what_never_connected_waits_and_costs_nothing(build: Build, sandbox: SandboxServer) -> None:
    """Given nobody listens, when a slice tries, then nothing left, the lane is closed, and an outage fails nothing."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        port = deaf.getsockname()[1]
        built = build(base_url=f"http://127.0.0.1:{port}/aurogy/v1", retry={"schedule": [0.1]})
        service = built.service()
        receipt = built.text()
        until(lambda: turn(service) and built.client.status(receipt.id).attempts)
    [lane] = built.rows("SELECT closed_reason, refusals FROM paceline_lane WHERE name = 'aurogy-main/send'")

    view = built.client.status(receipt.id)
    assert view.status == "queued"
    assert {attempt.outcome for attempt in view.attempts} == {"not_sent"}
    assert built.rows("SELECT failures FROM paceline_message") == [{"failures": 0}]
    assert lane["closed_reason"] == "not connected"
    assert lane["refusals"] == len(view.attempts)
    assert sandbox.ledger("aurogy") == []


def test_a_poisoned_row_fails_alone(build: Build, sandbox: SandboxServer) -> None:
    """Given a row that no request can be made of, when its neighbours go, then it alone fails, with a reason."""
    built = build()
    service = built.service()
    receipts = [built.text(number) for number in range(3)]
    built.run('UPDATE paceline_message SET payload = \'{"kind": "text"}\' WHERE id = :id', id=receipts[1].id)

    until(lambda: turn(service) and built.statuses() == {"accepted": 2, "failed": 1})

    view = built.client.status(receipts[1].id)
    assert view.status == "failed"
    assert "no request can be made" in (view.reason or "")
    assert len(sandbox.ledger("aurogy")) == 2

"""What time does: schedules, expiry, leases, polls, giving up; and cancelling before all of it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from paceline.errors import PacelineError
from paceline.ids import new_id
from sandbox.background import SandboxServer
from tests.support.held import answers_held
from tests.support.installation import ACCOUNT, Installation, recipient, until
from worker import operate
from worker.store import Store
from worker.work import Batch, Order, Result

Build = Callable[..., Installation]


def soon(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def test_a_scheduled_message_leaves_at_its_time(build: Build, sandbox: SandboxServer) -> None:
    """Given a message for soon and one for later, then the first leaves when its time has come, the other does not."""
    built = build()
    service = built.service()
    later, first = built.text(1, send_at=soon(3600)), built.text(2, send_at=soon(1.5))

    until(lambda: (service.tick(), service.pump.run_slice(1)) and built.client.status(first.id).status == "accepted")

    [left] = sandbox.ledger("aurogy")
    assert left.recipient == recipient(2)
    assert left.at >= built.client.status(first.id).send_at.timestamp()  # type: ignore[union-attr]
    assert "scheduled" in str(built.client.status(later.id).waiting_for)


def test_what_could_not_leave_in_time_expires(build: Build, sandbox: SandboxServer) -> None:
    """Given two messages whose time passes, when one is met by a sweep and one by a claim, then neither leaves."""
    built = build()
    service = built.service()
    swept, claimed = built.text(1, expires_at=soon(3600)), built.text(2, expires_at=soon(3600))
    assert service.sweeper.expire() == 0
    built.run("UPDATE paceline_message SET expires_at = expires_at - 3601 WHERE id = :id", id=swept.id)
    assert service.sweeper.expire() == 1
    built.run("UPDATE paceline_message SET expires_at = 1 WHERE id = :id", id=claimed.id)
    until(lambda: (service.tick(), service.pump.run_slice(1)) and built.statuses() == {"expired": 2})

    for receipt in (swept, claimed):
        view = built.client.status(receipt.id)
        assert view.reason == "expires_at passed"
        assert [event.status for event in view.events] == ["expired"]
        assert not view.attempts
    assert sandbox.ledger("aurogy") == []
    assert built.rows("SELECT sum(coalesce(granted_rest, 0)) AS tokens FROM paceline_grant")[0]["tokens"] in (0, None)


def test_a_cancelled_message_never_leaves(build: Build, sandbox: SandboxServer) -> None:
    built = build()
    service = built.service()
    receipt = built.text()

    assert built.client.cancel(receipt.id) is True
    service.tick()
    service.pump.run_slice(1)

    assert sandbox.ledger("aurogy") == []
    assert built.client.status(receipt.id).status == "cancelled"
    assert built.client.cancel(receipt.id) is True  # it is cancelled, whoever did it


def test_a_lease_that_ends_leaves_an_unknown_message(build: Build, sandbox: SandboxServer) -> None:
    """Given a worker that died with a claim, when its lease ends, then the message is unknown, and shown so."""
    built = build()
    service = built.service()
    receipt = built.text()
    _claim_and_die(built)

    assert service.sweeper.end_leases() == 1

    view = built.client.status(receipt.id)
    assert view.status == "unknown"
    assert view.reason == "no answer before its lease ended"
    assert [attempt.outcome for attempt in view.attempts] == ["unknown"]
    service.tick()
    service.pump.run_slice(1)
    assert sandbox.ledger("aurogy") == []


def test_late_evidence_settles_what_was_unknown_because_of_it(build: Build, sandbox: SandboxServer) -> None:
    """Given an answer that comes after the lease was swept, when it is written, then it counts."""
    built = build()
    service, other = built.service(), built.service()
    receipt = built.text()

    with answers_held(service):
        until(lambda: sandbox.ledger("aurogy"))
        built.run("UPDATE paceline_message SET lease_until = 1 WHERE status = 'sending'")
        assert other.sweeper.end_leases() == 1
        assert built.statuses() == {"unknown": 1}

    view = built.client.status(receipt.id)
    assert view.status == "accepted"
    assert [attempt.outcome for attempt in view.attempts] == ["accepted"]
    assert [event.status for event in view.events] == ["unknown", "accepted"]
    assert built.rows("SELECT unresolved FROM paceline_message")[0]["unresolved"] in (0, False)


@pytest.mark.parametrize(("outcome", "status"), [("accepted", "accepted"), ("refused", "failed")])
def test_late_evidence_keeps_a_message_from_being_repeated(
    build: Build, sandbox: SandboxServer, outcome: str, status: str
) -> None:
    """Given a message that is to be sent again because its lease ended, when its answer comes first, it is not."""
    built = build(on_unknown="retry", retry={"schedule": [60]})
    service = built.service()
    receipt = built.text()
    first = _claim_and_die(built)
    service.sweeper.end_leases()
    assert built.client.status(receipt.id).status == "queued"

    late = Result(
        id=receipt.id, grant_id=first, attempt=1, status=status, reason=None, account=ACCOUNT, outcome=outcome,
        poll_in=9.0 if outcome == "accepted" else None, provider_message_id="auro_msg_late",
    )  # fmt: skip
    service.pump.store.cycle(Batch(results=[late]))
    built.run("UPDATE paceline_message SET due_at = NULL WHERE status = 'queued'")
    service.tick()
    service.pump.run_slice(0.5)

    view = built.client.status(receipt.id)
    assert (view.status, view.provider_message_id) == (status, "auro_msg_late")
    assert [attempt.outcome for attempt in view.attempts] == [outcome]
    assert sandbox.ledger("aurogy") == []
    assert not built.rows("SELECT unresolved FROM paceline_message")[0]["unresolved"]


def test_an_earlier_attempts_answer_does_not_move_a_message_that_went_on(build: Build, sandbox: SandboxServer) -> None:
    """Given attempt 1 is stopped and attempt 2 under way, when 1 answers, then it is recorded and moves nothing."""
    built = build(on_unknown="retry", retry={"schedule": [60]})
    service = built.service()
    receipt = built.text()
    store = service.pump.store
    first = _claim_and_die(built)
    service.sweeper.end_leases()
    built.run("UPDATE paceline_message SET due_at = NULL")
    second = _claim_and_die(built)

    late = Result(
        id=receipt.id, grant_id=first, attempt=1, status="failed", reason="invalid", account=ACCOUNT, outcome="refused"
    )
    store.cycle(Batch(results=[late]))

    [row] = built.rows("SELECT status, attempt, grant_id FROM paceline_message")
    assert row == {"status": "sending", "attempt": 2, "grant_id": second}
    outcomes = built.rows("SELECT number, outcome FROM paceline_attempt ORDER BY number")
    assert outcomes == [{"number": 1, "outcome": "refused"}]


def test_polls_follow_the_schedule_and_stop_at_delivered(build: Build, sandbox: SandboxServer) -> None:
    sandbox.settings("aurogy", {"lifecycle": {"sent_after": 0, "delivered_after": 0, "read_share": 0}})
    built = build(poll={"schedule": [1]})
    service = built.service()
    receipt = built.text()

    until(lambda: (service.tick(), service.pump.run_slice(1)) and built.client.status(receipt.id).status == "delivered")
    asked = len(sandbox.ledger("aurogy"))
    assert built.rows("SELECT poll_at FROM paceline_message") == [{"poll_at": None}]
    until(lambda: built.rows("SELECT 1 AS one") and service.tick() is not None)
    service.pump.run_slice(1)

    assert len(sandbox.ledger("aurogy")) == asked
    view = built.client.status(receipt.id)
    assert [(event.source, event.status) for event in view.events] == [("response", "accepted"), ("poll", "delivered")]


def test_silence_becomes_final_without_being_a_failure(build: Build, sandbox: SandboxServer) -> None:
    """Given a provider that never says more than queued, when give_up_after has passed, then no more is asked."""
    sandbox.settings("aurogy", {"lifecycle": {"sent_after": 3600, "delivered_after": 7200}})
    built = build(poll={"schedule": [1], "give_up_after": "2s"})
    service = built.service()
    receipt = built.text()

    until(
        lambda: (service.tick(), service.pump.run_slice(1)) and built.client.status(receipt.id).reason == "no_report",
        60,
    )

    view = built.client.status(receipt.id)
    assert view.status == "accepted"
    assert built.rows("SELECT poll_at FROM paceline_message") == [{"poll_at": None}]


@pytest.mark.parametrize(
    ("verdict", "status"), [("delivered", "delivered"), ("failed", "failed"), ("resend", "accepted")]
)
def test_an_operator_resolves_the_unknown(build: Build, sandbox: SandboxServer, verdict: str, status: str) -> None:
    built = build()
    service = built.service()
    receipt = built.text()
    _claim_and_die(built)
    service.sweeper.end_leases()

    with pytest.raises(PacelineError, match="may have been accepted"):
        operate.retry(built.engine, receipt.id)
    operate.resolve(built.engine, receipt.id, verdict)
    until(lambda: (service.tick(), service.pump.run_slice(1)) and built.client.status(receipt.id).status == status)

    assert len(sandbox.ledger("aurogy")) == (1 if verdict == "resend" else 0)
    with pytest.raises(PacelineError, match="only unknown ones"):
        operate.resolve(built.engine, receipt.id, verdict)


def test_an_operator_retries_what_failed(build: Build, sandbox: SandboxServer) -> None:
    built = build()
    service = built.service()
    sandbox.fault("aurogy", "status", status=400, count=1)
    receipt = built.text()
    until(lambda: (service.tick(), service.pump.run_slice(1)) and built.statuses() == {"failed": 1})

    operate.retry(built.engine, receipt.id)
    until(lambda: (service.tick(), service.pump.run_slice(1)) and built.statuses() == {"accepted": 1})

    assert [attempt.outcome for attempt in built.client.status(receipt.id).attempts] == ["refused", "accepted"]


def _claim_and_die(built: Installation) -> str:
    """Claim what waits, as a worker that is killed before it could ask for tokens; the grant's id."""
    order = Order(new_id(), built.topology.lanes[f"{ACCOUNT}/send"], 1, 1, 1)
    claim = Store(built.engine).cycle(Batch(), order)
    assert claim is not None
    assert len(claim.messages) == 1
    built.run("UPDATE paceline_message SET lease_until = 1 WHERE status = 'sending'")
    return order.operation_id

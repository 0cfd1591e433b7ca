"""What a worker claimed and had not let out when it died goes back into its line; what it had let out is unknown."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import structlog

from paceline.ids import new_id
from sandbox.background import SandboxServer
from tests.support.deaths import died
from tests.support.installation import ACCOUNT, Installation, until
from tests.support.tokens import KEEPING
from worker.in_hand import InHand
from worker.store import Store
from worker.sweep import LEASE_OVER, NEVER_LEFT
from worker.transport import Guard
from worker.work import Batch, Order

Build = Callable[..., Installation]
SEND = f"{ACCOUNT}/send"


@pytest.fixture
def built(build: Build) -> Installation:
    return build(retry={"schedule": [0.1]}, accounts=KEEPING)


def claim(built: Installation, hand: InHand) -> str:
    """Claim whatever waits, as a process does; the claim's id."""
    found = Store(built.engine, hand.process).cycle(Batch(), Order(new_id(), built.topology.lanes[SEND], 8, 8, 8))
    assert found is not None
    assert found.messages
    hand.claimed(found.operation_id, [item.id for item in found.messages])
    return found.operation_id


def leases_end(built: Installation) -> None:
    built.run("UPDATE paceline_message SET lease_until = lease_until - 1000 WHERE lease_until IS NOT NULL")
    built.run("UPDATE paceline_grant SET lease_until = lease_until - 1000")


def test_what_never_left_is_sent_once_and_what_left_is_unknown(built: Installation, sandbox: SandboxServer) -> None:
    """Given two messages under a dead worker's claim, of which one had been let go, then the other goes, as if it had
    not been claimed."""
    left, stayed = built.text(1), built.text(2)
    hand = InHand(4, built.in_hand)
    grant_id = claim(built, hand)
    hand.let_go(grant_id, left.id)
    died(hand)
    leases_end(built)
    service = built.service()

    service.sweep()
    events = built.rows("SELECT status, reason FROM paceline_event WHERE message_id = :id", id=stayed.id)
    attempts = built.rows("SELECT message_id FROM paceline_attempt")
    until(lambda: (service.tick(), service.pump.run_slice(0.2), "accepted" in built.statuses())[-1])

    assert attempts == [{"message_id": left.id}]
    assert events[-1] == {"status": "queued", "reason": NEVER_LEFT}
    unknown, accepted = built.client.status(left.id), built.client.status(stayed.id)
    assert (unknown.status, unknown.reason) == ("unknown", LEASE_OVER)
    assert [each.outcome for each in accepted.attempts] == ["accepted"]
    assert [entry.recipient for entry in sandbox.ledger("aurogy")] == ["auro_usr_00000002a"]
    rows = built.rows("SELECT attempt, failures, unresolved FROM paceline_message ORDER BY id")
    assert rows == [{"attempt": 1, "failures": 0, "unresolved": unresolved} for unresolved in (True, False)]


def test_who_is_alive_proves_nothing(built: Installation) -> None:
    """Given a lease that ended by a turned clock, when its worker lives, then it may yet send, and nobody else does."""
    receipt = built.text()
    with closing(InHand(4, built.in_hand)) as hand:
        claim(built, hand)
        leases_end(built)

        built.service().sweep()

    assert built.client.status(receipt.id).status == "unknown"


def test_what_was_unknown_before_stays_so(built: Installation) -> None:
    """Given a message of which an earlier request may have been accepted, when its next one never left and its time is
    over, then it has not expired: nobody knows."""
    receipt = built.text()
    built.run("UPDATE paceline_message SET unresolved = :yes, account = :account", yes=True, account=ACCOUNT)
    hand = InHand(4, built.in_hand)
    claim(built, hand)
    died(hand)
    leases_end(built)
    built.run("UPDATE paceline_message SET expires_at = 1")

    built.service().sweep()

    view = built.client.status(receipt.id)
    assert (view.status, view.reason) == ("unknown", "expires_at passed")


def test_what_is_in_hand_is_let_go_before_it_leaves_or_when_its_row_says_where_it_is(built: Installation) -> None:
    """Given two messages and a row that no request can be made of, when a slice has run, then its hand is empty, and
    each request was let go by its hook."""
    service = built.service()
    places, gone = service.hand._places, list[set[tuple[str, str]]]()
    admit = Guard.admit

    async def admitted(self: Guard) -> None:
        before = set(places)
        await admit(self)
        gone.append(before - places.keys())

    poisoned = [built.text(number) for number in range(3)][1]
    built.run('UPDATE paceline_message SET payload = \'{"kind": "text"}\' WHERE id = :id', id=poisoned.id)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Guard, "admit", admitted)
        ended = {"accepted": 2, "failed": 1}
        until(lambda: (service.tick(), service.pump.run_slice(0.2), built.statuses() == ended)[-1])

    assert len(gone) == 2
    assert all(gone)
    assert places == {}


def test_a_worker_that_cannot_keep_a_file_works_without(build: Build, sandbox: SandboxServer, tmp_path: Path) -> None:
    """Given a directory that cannot be made, then it says so, and sends."""
    built = build()
    built.in_hand.parent.write_text("a file stands where the directory should")

    with structlog.testing.capture_logs() as logs:
        service = built.service()
    receipt = built.text()
    until(lambda: (service.tick(), service.pump.run_slice(0.2), built.statuses() == {"accepted": 1})[-1])
    service.sweep()

    assert [(entry["event"], entry["error"]) for entry in logs] == [
        ("no_file_of_what_is_in_hand", "NotADirectoryError")
    ]
    assert built.client.status(receipt.id).attempts[0].outcome == "accepted"

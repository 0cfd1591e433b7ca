"""Results are written however long the database takes, and one that no column takes stands in no other's way."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import structlog
from sqlalchemy.exc import OperationalError

from paceline.ids import new_id
from sandbox.background import SandboxServer
from tests.support.installation import ACCOUNT, Installation, until
from worker import delivery
from worker.store import Store
from worker.work import Batch, Claim, Granted, LaneNews, Order, Result
from worker.writing import written

Build = Callable[..., Installation]
SEND = f"{ACCOUNT}/send"


def claimed(built: Installation, count: int) -> Claim:
    for number in range(count):
        built.text(number)
    order = Order(new_id(), built.topology.lanes[SEND], 0, count, count)
    claim = written(Store(built.engine), Batch(), order)
    assert claim is not None
    return claim


def results(claim: Claim, **poison: Any) -> list[Result]:
    """An accepted one each; the second holds the poison."""
    fine = [
        Result(item.id, claim.operation_id, item.attempt, "accepted", outcome="accepted", poll_in=60.0)
        for item in claim.messages
    ]
    return [fine[0], replace(fine[1], **poison), *fine[2:]]


POISONS: dict[str, dict[str, Any]] = {
    "a null where there must be none": {"status": None},
    "what is no JSON": {"code": b"secret"},
}
ONLY_POSTGRESQL: dict[str, dict[str, Any]] = {
    "more than a column takes": {"http_status": 2**70},
    "a character that no text holds": {"code": "a\x00b"},
}


@pytest.mark.parametrize("poison", POISONS.values(), ids=POISONS)
def test_a_poisoned_result_blocks_no_other(build: Build, poison: dict[str, Any]) -> None:
    blocks_no_other(build(), poison)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("poison", ONLY_POSTGRESQL.values(), ids=ONLY_POSTGRESQL)
def test_what_postgresql_refuses_blocks_no_other(build: Build, poison: dict[str, Any]) -> None:
    blocks_no_other(build(), poison)


def blocks_no_other(built: Installation, poison: dict[str, Any]) -> None:
    """Given a batch with one result that cannot be written, then all else in it is, the lane's news, the ledger and
    what is claimed next as well; that one waits for its lease, and nothing of it is in the log."""
    claim = claimed(built, 3)
    built.text(9)
    batch = Batch(
        results(claim, **poison),
        granted=[Granted(claim.operation_id, 0, 3, 0.0)],
        news=[LaneNews(SEND, reason="why", seconds=0.0)],
    )

    with structlog.testing.capture_logs() as logs:
        found = written(Store(built.engine), batch, Order(new_id(), built.topology.lanes[SEND], 0, 5, 5))

    statuses = {row["id"]: row["status"] for row in built.rows("SELECT id, status FROM paceline_message")}
    fates = [statuses[item.id] for item in claim.messages]
    assert fates == ["accepted", "sending", "accepted"]
    assert found is not None
    assert len(found.messages) == 1
    [ledger] = built.rows("SELECT * FROM paceline_grant WHERE id = :id", id=claim.operation_id)
    assert (ledger["granted_rest"], ledger["closed"]) == (3, 2)
    assert built.rows(f"SELECT closed_reason FROM paceline_lane WHERE name = '{SEND}'") == [{"closed_reason": "why"}]
    assert [entry["event"] for entry in logs] == ["batch_refused", "result_refused"]
    assert logs[1]["id"] == claim.messages[1].id
    assert "secret" not in str(logs)


def test_a_database_that_is_away_is_waited_for(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    built = build()
    claim = claimed(built, 2)
    store, cycle, tries = Store(built.engine), Store.cycle, []

    def away(self: Store, batch: Batch, order: Order | None = None, *, repeated: bool = False) -> Claim | None:
        tries.append(repeated)
        if len(tries) < 3:
            raise OperationalError("x", {}, Exception("gone"))
        return cycle(self, batch, order, repeated=repeated)

    monkeypatch.setattr(Store, "cycle", away)
    written(store, Batch(results(claim)), None)

    assert tries == [False, True, True]
    assert built.statuses() == {"accepted": 2}


def test_an_order_that_was_committed_unheard_is_found_behind_a_refused_batch(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a claim whose commit was kept and not heard of, when what was to be written with it is refused at the next
    try, then the claim is found, and nothing is claimed twice."""
    built = build()
    built.text(0)
    tries, cycle = list[bool](), Store.cycle

    def refused(self: Store, batch: Batch, order: Order | None = None, *, repeated: bool = False) -> Claim | None:
        tries.append(repeated)
        if not batch:
            return cycle(self, batch, order, repeated=repeated)
        if len(tries) == 1:
            cycle(self, Batch(), order)
            raise OperationalError("COMMIT", {}, ConnectionError())
        raise ValueError("no column takes it")

    monkeypatch.setattr(Store, "cycle", refused)
    found = written(
        Store(built.engine),
        Batch(news=[LaneNews(SEND)]),
        Order(new_id(), built.topology.lanes[SEND], 0, 1, 1),
    )

    assert found is not None
    assert len(found.messages) == 1
    assert built.statuses() == {"sending": 1}


def test_what_keeps_an_order_from_being_claimed_is_not_hidden(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    built = build()

    def broken(*_: object, **__: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(Store, "cycle", broken)

    with pytest.raises(ValueError, match="a bug"):
        written(Store(built.engine), Batch(), Order(new_id(), built.topology.lanes[SEND], 0, 1, 1))


def test_a_slice_goes_on_behind_a_poisoned_answer(
    build: Build, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given an answer whose record no column takes, when the slice goes on, then the others are recorded, and it holds
    no slot back."""
    built = build()
    service = built.service()
    poisoned = built.text(0)
    read = delivery.read

    def poison(answer: Any, **known: Any) -> Any:
        verdict = read(answer, **known)
        if answer.exchange.token.message.id == poisoned.id:
            object.__setattr__(verdict.record, "status", None)
        return verdict

    monkeypatch.setattr(delivery, "read", poison)
    for number in range(1, 6):
        built.text(number)

    until(lambda: (service.tick(), service.pump.run_slice(1)) and built.statuses() == {"accepted": 5, "sending": 1})

    assert service.pump.slots.crowded() == []
    assert len(sandbox.ledger("aurogy")) == 6

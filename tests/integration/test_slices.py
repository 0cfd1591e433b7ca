"""What a slice does when something within it goes wrong: nothing is lost, no slot is leaked, and nothing spins."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from paceline.ids import new_id
from sandbox.background import SandboxServer
from tests.support.installation import ACCOUNT, Installation, until
from worker.pump import PATIENCE
from worker.service import Service
from worker.store import Store
from worker.work import Batch, Claim, LaneNews, Order, Result

Build = Callable[..., Installation]
SEND = f"{ACCOUNT}/send"
FAST = {"send": ["60000/minute"]}  # over a minute, so that a pause makes no token too old

# Where the story is the slice's alone, one database tells it.
one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def providing(built: Installation, **changes: Any) -> None:
    """Let the account's provider differ in these, as another provider does."""
    for sender in built.topology.senders.values():
        object.__setattr__(sender, "provider", replace(sender.provider, **changes))


def once(fault: Exception, then: Callable[..., Any]) -> Callable[..., Any]:
    """A function that raises the first time it is called, and is `then` from there on."""
    faults = [fault]

    def called(*args: Any, **named: Any) -> Any:
        if faults:
            raise faults.pop()
        return then(*args, **named)

    return called


def claim(service: Service, built: Installation) -> Claim:
    """Take one message, as a slice that goes no further."""
    found = service.pump.store.cycle(Batch(), Order(new_id(), built.topology.lanes[SEND], 1, 1, 1))
    assert found is not None
    return found


# A slice outlives what it meets


@one_database
def test_a_wake_up_that_is_lost_stops_nothing(
    build: Build, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a broker that is away, when a slice with its hands full calls for another, then it sends all by itself."""
    built = build(limits=FAST)
    service = built.service(in_flight=16)
    calls: list[str] = []

    def away() -> None:
        calls.append("one more")
        raise ConnectionError

    monkeypatch.setattr(service.pump, "_wake", away)
    for number in range(40):
        built.text(number)

    until(lambda: (service.tick(), service.pump.run_slice(2)) and built.statuses() == {"accepted": 40})

    assert calls, "it never had its hands full"
    assert len(sandbox.ledger("aurogy")) == 40
    assert service.pump.slots.in_use == 0


@one_database
def test_a_header_that_cannot_be_read_says_nothing(build: Build, sandbox: SandboxServer) -> None:
    """Given answers whose count of what remains trips its reader, then each message is accepted, and counted so."""
    built = build()

    def tripped(*_: object) -> None:
        raise ValueError

    providing(built, remaining=tripped)
    service = built.service()
    for number in range(4):
        built.text(number)

    service.tick()
    counts = service.pump.run_slice(60)

    assert counts == {"accepted": 4}
    assert built.statuses() == {"accepted": 4}
    assert len(sandbox.ledger("aurogy")) == 4
    assert service.pump.slots.in_use == 0


@one_database
def test_an_answer_that_trips_us_takes_no_other_with_it(
    build: Build, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a bug that meets one answer, when its neighbours' come, then the slice goes on and writes them all."""
    built = build()
    service = built.service()
    monkeypatch.setattr(service.pump.telemetry, "attempt", once(ValueError("a bug"), service.pump.telemetry.attempt))
    for number in range(4):
        built.text(number)

    service.tick()
    service.pump.run_slice(60)

    assert built.statuses() == {"accepted": 4}
    assert service.pump.slots.in_use == 0


@one_database
def test_a_bug_before_the_wire_loses_no_answer_and_no_slot(
    build: Build, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given one request on the wire, when a bug meets the next claim, then the first answer is written before it shows,
    and only what was claimed waits for its lease to end."""
    built = build(limits=FAST)
    service = built.service()
    gate = service.pump.gates.of(built.topology.lanes[SEND])
    acquire = gate.acquire
    sandbox.fault("aurogy", "delay", seconds=0.6)
    receipts = [built.text(number) for number in range(2)]

    def second_time(*args: Any) -> Any:
        monkeypatch.setattr(gate, "acquire", once(ZeroDivisionError(), acquire))
        return acquire(*args)

    monkeypatch.setattr(gate, "acquire", second_time)
    service.tick()
    with pytest.raises(ZeroDivisionError):
        service.pump.run_slice(60)

    assert [built.client.status(receipt.id).status for receipt in receipts] == ["accepted", "sending"]
    assert len(sandbox.ledger("aurogy")) == 1
    assert service.pump.slots.in_use == 0


@one_database
def test_a_database_that_fails_while_limits_are_seeded_costs_a_moment(
    build: Build, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given Redis without state and a database that fails once, then what was claimed goes back, and leaves later."""
    built = build()
    service = built.service()
    gone = OperationalError("", {}, Exception("gone"))
    monkeypatch.setattr(service.ledger, "seed", once(gone, service.ledger.seed))
    for number in range(4):
        built.text(number)

    until(lambda: (service.tick(), service.pump.run_slice(2)) and built.statuses() == {"accepted": 4})

    assert len(sandbox.ledger("aurogy")) == 4
    assert built.rows("SELECT DISTINCT attempt FROM paceline_message") == [{"attempt": 1}]
    assert service.pump.slots.in_use == 0


@one_database
def test_a_lane_that_finds_only_kept_slots_is_not_asked_about_without_end(
    build: Build, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given other lanes that left only what is kept for high, when normal ones wait, then a slice looks now and then;
    when slots are free again, they leave."""
    built = build(limits=FAST)
    service = built.service(in_flight=16)
    service.pump.slots.reserve("other/send", 12, others=False)
    service.pump.slots.reserve("third/send", 2, others=False)
    cycle, cycles = service.pump.store.cycle, 0

    def counted(*args: Any, **named: Any) -> Any:
        nonlocal cycles
        cycles += 1
        return cycle(*args, **named)

    monkeypatch.setattr(service.pump.store, "cycle", counted)
    for number in range(4):
        built.text(number)

    slices = 0
    while not cycles:  # a pause may take all of a slice
        service.tick()
        service.pump.run_slice(1)
        slices += 1

    assert built.statuses() == {"queued": 4}
    assert cycles <= 1 / PATIENCE + 2
    assert slices < 20
    service.pump.slots.release("other/send", 12)
    until(lambda: (service.tick(), service.pump.run_slice(1)) and built.statuses() == {"accepted": 4})


# What a claim and a late answer find


@one_database
def test_what_waited_longer_than_a_repeat_is_recognised_is_unknown(build: Build, sandbox: SandboxServer) -> None:
    """Given a provider that recognises repeats for an hour, when an unanswered message's lane was held for two, then
    it is not sent again."""
    built = build(retry={"schedule": [0.1]})
    providing(built, deduplicates_for=3600.0)
    service = built.service()
    sandbox.fault("aurogy", "close", accept=True, count=1)
    receipt = built.text()
    until(
        lambda: (
            (service.tick(), service.pump.run_slice(1))
            and built.rows("SELECT 1 FROM paceline_message WHERE unresolved")
        )
    )
    assert built.statuses() == {"queued": 1}, "within the hour it would be repeated"

    built.run("UPDATE paceline_message SET first_sent_at = first_sent_at - 7200, due_at = NULL")
    until(lambda: (service.tick(), service.pump.run_slice(0.5)) and built.statuses() != {"queued": 1})

    view = built.client.status(receipt.id)
    assert view.status == "unknown"
    assert "longer than its provider recognises" in (view.reason or "")
    assert [attempt.outcome for attempt in view.attempts] == ["unknown"]
    assert len(sandbox.ledger("aurogy")) == 1


def test_a_lane_that_another_worker_renamed_is_left_alone(build: Build, sandbox: SandboxServer) -> None:
    """Given a worker whose configuration is yesterday's, when its lane has another name now, then it sends nothing and
    breaks nothing; under the old name again, it goes on."""
    built = build()
    service = built.service()
    built.text()
    built.run("UPDATE paceline_lane SET name = 'new/send' WHERE name = :name", name=SEND)

    assert service.pump.run_slice(0.5) == {}

    assert built.statuses() == {"queued": 1}
    assert service.pump.slots.in_use == 0
    assert sandbox.ledger("aurogy") == []
    built.run("UPDATE paceline_lane SET name = :name WHERE name = 'new/send'", name=SEND)
    until(lambda: (service.tick(), service.pump.run_slice(0.5)) and built.statuses() == {"accepted": 1})


def test_evidence_that_nothing_left_undoes_what_the_sweep_assumed(build: Build, sandbox: SandboxServer) -> None:
    """Given a lease that was swept to unknown, when its holder says that no request was made, then the message is sent,
    and its one attempt tells of that and of the claim it was sent under."""
    built = build()
    service = built.service()
    receipt = built.text()
    first = claim(service, built)
    built.run("UPDATE paceline_message SET lease_until = 1 WHERE status = 'sending'")
    assert service.sweeper.end_leases() == 1
    assert built.statuses() == {"unknown": 1}

    put_back = Result(receipt.id, first.operation_id, 1, "queued", granted=False, left=False, account=ACCOUNT)
    service.pump.store.cycle(Batch(results=[put_back]))
    assert built.statuses() == {"queued": 1}
    until(lambda: (service.tick(), service.pump.run_slice(0.5)) and built.statuses() == {"accepted": 1})

    [attempt] = built.rows("SELECT number, outcome, grant_id FROM paceline_attempt")
    [message] = built.rows("SELECT attempt, grant_id FROM paceline_message")
    assert (attempt["number"], attempt["outcome"]) == (1, "accepted")
    assert attempt["grant_id"] == message["grant_id"] != first.operation_id
    assert len(sandbox.ledger("aurogy")) == 1


# What the database keeps of closings


def told(built: Installation, *news: LaneNews) -> None:
    """Write what the lane's requests brought, as a slice does."""
    Store(built.engine).cycle(Batch(news=news))


def lane(built: Installation) -> tuple[str | None, int]:
    [row] = built.rows("SELECT closed_reason, refusals FROM paceline_lane WHERE name = :name", name=SEND)
    return row["closed_reason"], row["refusals"]


@pytest.mark.parametrize("seconds", [60.0, None])
def test_a_backoff_within_a_promise_does_not_make_it_a_backoff(build: Build, seconds: float | None) -> None:
    """Given a lane that is closed until a date, or until an operator opens it, when a backoff would end before that,
    then the next success does not open it."""
    built = build()
    told(built, LaneNews(SEND, reason="promised", seconds=seconds))

    told(built, LaneNews(SEND, reason="backoff", seconds=1.0, refusals=1))
    assert lane(built) == ("promised", 0)

    told(built, LaneNews(SEND, succeeded=True))
    assert lane(built) == ("promised", 0)


def test_a_backoff_that_outlasts_a_promise_is_one(build: Build) -> None:
    """Given a lane that is closed until a date, when a backoff ends after it, then the next success opens it."""
    built = build()
    told(built, LaneNews(SEND, reason="promised", seconds=1.0))

    told(built, LaneNews(SEND, reason="backoff", seconds=60.0, refusals=1))
    assert lane(built) == ("backoff", 1)

    told(built, LaneNews(SEND, succeeded=True))
    assert lane(built) == (None, 0)

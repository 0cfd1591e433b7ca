"""Hosts whose wall clocks are hours apart: the database's clock says when, Redis' how often, and the others nothing."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from paceline import InvalidMessage, ids
from sandbox.background import SandboxServer
from tests.support.installation import ACCOUNT, Installation, until
from worker.service import Service

Build = Callable[..., Installation]
Working = Callable[[Service], None]

HOUR = 3600.0
REAL, REAL_NS = time.time, time.time_ns


@pytest.fixture(params=[6 * HOUR, -6 * HOUR], ids=["ahead", "behind"])
def apart(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """This process' clock is so many seconds off; the databases', which are others, are not."""
    seconds: float = request.param
    monkeypatch.setattr(time, "time", lambda: REAL() + seconds)
    monkeypatch.setattr(time, "time_ns", lambda: REAL_NS() + int(seconds) * 1_000_000_000)
    assert abs(time.time() - REAL() - seconds) < HOUR
    return seconds


def now() -> datetime:
    """As it really is."""
    return datetime.fromtimestamp(REAL(), UTC)


def test_a_message_leaves_and_everything_about_it_bears_the_databases_time(
    build: Build, sandbox: SandboxServer, working: Working, apart: float
) -> None:
    built = build()
    working(built.service())
    receipt = built.text(1)

    until(lambda: built.client.status(receipt.id).status == "accepted")

    view = built.client.status(receipt.id)
    times = [view.created_at, view.attempts[0].at, *(event.at for event in view.events)]
    assert all(abs((moment - now()).total_seconds()) < 60 for moment in times)
    assert len(sandbox.ledger("aurogy")) == 1


def test_send_at_and_expires_at_are_what_they_say(
    build: Build, sandbox: SandboxServer, working: Working, apart: float
) -> None:
    built = build()
    working(built.service())
    later = built.text(1, send_at=now() + timedelta(hours=1))
    in_time = built.text(2, expires_at=now() + timedelta(minutes=5))
    tomorrow = built.text(3, send_at=now() + timedelta(hours=3))
    with pytest.raises(InvalidMessage, match="expires_at: must lie in the future"):
        built.text(4, expires_at=now() - timedelta(minutes=5))

    until(lambda: built.client.status(in_time.id).status == "accepted")
    assert built.client.status(later.id).status == "queued"

    # when an hour has passed for one of them, then it alone leaves
    built.run(
        "UPDATE paceline_message SET due_at = due_at - 3600, send_at = send_at - 3600 WHERE id = :id", id=later.id
    )
    until(lambda: built.client.status(later.id).status == "accepted")
    assert built.client.status(tomorrow.id).status == "queued"


def test_what_cannot_leave_in_time_expires_then_and_not_before(build: Build, apart: float) -> None:
    built = build()
    service = built.service()
    receipt = built.text(1, expires_at=now() + timedelta(hours=1))
    service.sweep()
    assert built.client.status(receipt.id).status == "queued"

    # when an hour has passed for it
    built.run("UPDATE paceline_message SET expires_at = expires_at - 3600")
    service.sweep()
    assert built.client.status(receipt.id).status == "expired"


def test_what_was_enqueued_lately_is_found(build: Build, apart: float) -> None:
    built = build()
    receipt = built.text(1)

    for since in (timedelta(minutes=5), now() - timedelta(minutes=5)):
        assert [view.id for view in built.client.messages(since=since)] == [receipt.id]
    assert built.client.messages(since=timedelta(0)) == []
    assert built.client.messages(since=now() + timedelta(minutes=5)) == []


def test_producers_whose_clocks_differ_stand_in_one_line(
    build: Build, apart: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a producer whose clock is off and one whose is not, when they take turns, then so do their messages."""
    built = build()
    off = time.time, time.time_ns
    turns = []
    for number in range(6):
        mine = off if number % 2 else (REAL, REAL_NS)
        monkeypatch.setattr(time, "time", mine[0])
        monkeypatch.setattr(time, "time_ns", mine[1])
        # Each is a process of its own, whose other ids follow its own clock and push nothing along.
        monkeypatch.setattr(ids, "_last", 0)
        monkeypatch.setattr(ids, "_last_at", 0)
        ids.new_id()
        turns.append(built.text(number).id)

    assert turns == sorted(turns)
    lined_up = built.rows("SELECT id FROM paceline_message ORDER BY position")
    assert [row["id"] for row in lined_up] == turns


def test_no_more_leave_than_the_limit_says_and_no_fewer(
    build: Build, sandbox: SandboxServer, working: Working, apart: float
) -> None:
    """Given three in five seconds, when six are waiting, then three go at once, and three once the first are over."""
    built = build(limits={"send": ["3/5s"]}, poll={"schedule": [600]})
    working(built.service())
    for number in range(6):
        built.text(number)

    until(lambda: built.statuses() == {"accepted": 6})

    at = sorted(entry.at for entry in sandbox.ledger("aurogy"))
    assert len(at) == 6
    assert min(later - earlier for earlier, later in zip(at, at[3:], strict=False)) >= 5.0


def test_events_are_read_and_old_ones_are_kept(build: Build, working: Working, apart: float) -> None:
    built = build()
    service = built.service()
    working(service)
    receipt = built.text(1)
    until(lambda: built.client.status(receipt.id).status == "accepted")

    def told() -> list[str]:
        return [str(event.status) for event in built.client.events(None) if event.message_id == receipt.id]

    until(lambda: "accepted" in told())
    assert built.rows("SELECT payload FROM paceline_message")[0]["payload"] != "{}"
    assert ACCOUNT in built.topology.senders

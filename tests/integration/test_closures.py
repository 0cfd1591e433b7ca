"""Lanes close and open: Retry-After in both forms, backoff and probes, keys, and what an operator does."""

import itertools
from collections.abc import Callable

import pytest

from paceline import wire
from sandbox.background import SandboxServer
from tests.support.installation import ACCOUNT, Installation, turn, until
from worker.operate import close, lanes_named, open_

Build = Callable[..., Installation]
LANE = f"{ACCOUNT}/send"


def lane(built: Installation, name: str = LANE) -> dict[str, object]:
    [row] = built.rows("SELECT * FROM paceline_lane WHERE name = :name", name=name)
    return dict(row)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "http-date"])
def test_retry_after_is_a_promise(build: Build, sandbox: SandboxServer, status: int, form: str) -> None:
    """Given Retry-After once, when slices go on, then nothing arrives before it, and it costs no retry budget."""
    built = build(retry={"schedule": []}, poll={"schedule": [600]})
    service = built.service()
    sandbox.fault("aurogy", "status", status=status, retry_after=4, retry_after_form=form, clock_skew=5000, count=1)
    built.text(0)
    until(lambda: turn(service) and lane(built)["closed_reason"])
    for number in (1, 2):
        built.text(number)

    until(lambda: turn(service) and built.statuses() == {"accepted": 3})

    refused, *later = sandbox.ledger("aurogy")
    assert (refused.status, len(later)) == (status, 3)
    # A date has no fractions of a second, so that it may be one less.
    assert min(entry.monotonic - refused.monotonic for entry in later) >= (4 if form == "seconds" else 3)
    assert built.rows("SELECT sum(failures) AS failures FROM paceline_message") == [{"failures": 0}]


def test_another_lane_does_not_notice(build: Build, sandbox: SandboxServer) -> None:
    """Given the send lane closed for an hour, when an accepted message is due for a poll, then it is asked about."""
    built = build(poll={"schedule": [600]})
    service = built.service()
    receipt = built.text()
    until(lambda: turn(service) and built.statuses() == {"accepted": 1})
    sandbox.fault("aurogy", "status", status=429, retry_after=3600, path="/v1/messages/text")
    built.text(1)
    until(lambda: turn(service) and lane(built)["closed_reason"])

    sandbox.advance(10)  # the first one has arrived meanwhile
    built.run("UPDATE paceline_message SET poll_at = 1 WHERE id = :id", id=receipt.id)
    until(lambda: turn(service) and built.client.status(receipt.id).status != "accepted")

    assert lane(built)["closed_reason"] == "throttled rate_limited"
    assert lane(built, f"{ACCOUNT}/status")["closed_reason"] is None


def test_retry_after_of_a_year_waits_for_an_operator(build: Build, sandbox: SandboxServer) -> None:
    """Given a provider that asks for a year, when it is opened by hand, then the lane goes on at once."""
    built = build()
    service = built.service()
    sandbox.fault("aurogy", "status", status=503, retry_after=31_536_000, count=1)
    receipt = built.text()
    until(lambda: turn(service) and lane(built)["closed_reason"])

    assert lane(built)["closed_until"] is None
    assert "365.0 days" in str(lane(built)["closed_reason"])
    assert "closed" in str(built.client.status(receipt.id).waiting_for)

    lanes = lanes_named(built.topology, LANE)
    open_(built.engine, lanes, whole_key=False)
    built.redis.flushall()  # as if Redis had forgotten: the database alone says that it is open
    until(lambda: turn(service) and built.statuses() == {"accepted": 1})


def test_503_without_a_date_backs_off_and_probes_one_at_a_time(build: Build, sandbox: SandboxServer) -> None:
    """Given an outage, when it lasts over several probes, then each probe is one request, and no message fails."""
    built = build(retry={"schedule": [0.1]}, poll={"schedule": [600]})
    service = built.service()
    sandbox.fault("aurogy", "status", status=503)
    built.text(0)
    until(lambda: turn(service) and lane(built)["refusals"])
    for number in range(1, 6):
        built.text(number)
    until(lambda: turn(service) and int(str(lane(built)["refusals"])) >= 3)
    # Requests that left together are refused once, so two probes at once would make more of them than of refusals.
    assert len(sandbox.ledger("aurogy")) == lane(built)["refusals"]
    sandbox.clear_faults("aurogy")

    until(lambda: turn(service) and built.statuses() == {"accepted": 6})

    assert lane(built)["refusals"] == 0
    assert lane(built)["closed_reason"] is None


def test_a_message_that_alone_is_refused_with_503_fails_in_the_end(build: Build, sandbox: SandboxServer) -> None:
    """Given one message that brings 503 each time, when others get through, then its own budget is spent."""
    built = build(retry={"schedule": [0.05]})
    service = built.service()
    sandbox.fault("aurogy", "status", status=503, recipient="auro_usr_00000000a")
    receipt = built.text(0)
    others = itertools.count(1)

    def goes_on() -> bool:
        if "queued" not in built.statuses() or built.statuses()["queued"] < 3:
            built.text(next(others))
        turn(service, 1)
        return built.client.status(receipt.id).status == "failed"

    until(goes_on, 100)

    assert "retry budget of 1 is spent" in (built.client.status(receipt.id).reason or "")


def test_401_closes_the_key_and_403_the_lane(build: Build, sandbox: SandboxServer) -> None:
    built = build()
    service = built.service()
    sandbox.fault("aurogy", "status", status=403, path="/v1/messages/text", count=1)
    built.text()
    until(lambda: turn(service) and lane(built)["closed_reason"])
    assert built.rows("SELECT closed_reason FROM paceline_key") == [{"closed_reason": None}]
    assert lane(built)["closed_until"] is None

    open_(built.engine, lanes_named(built.topology, LANE), whole_key=False)
    built.redis.flushall()
    sandbox.fault("aurogy", "status", status=401, count=1)
    service = built.service()
    until(lambda: turn(service) and built.rows("SELECT closed_reason FROM paceline_key")[0]["closed_reason"])
    turn(service)

    assert built.statuses() == {"queued": 1}
    assert len(sandbox.ledger("aurogy")) == 2


def test_a_lane_closed_by_hand_stays_closed(build: Build, sandbox: SandboxServer) -> None:
    built = build()
    service = built.service()
    close(built.engine, lanes_named(built.topology, ACCOUNT), whole_key=True)
    built.text()
    for _ in range(5):
        built.redis.delete(wire.tick_key(built.name))  # as if half a second were over, so that each tick is one
        turn(service)

    assert sandbox.ledger("aurogy") == []
    assert built.statuses() == {"queued": 1}

    open_(built.engine, lanes_named(built.topology, ACCOUNT), whole_key=True)
    until(lambda: turn(service) and built.statuses() == {"accepted": 1})

"""What providers say of limits and waits may be wrong in every way: it never loosens, never crashes, never stops for
ever."""

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from providers.base import Remaining
from providers.registry import get
from sandbox.background import SandboxServer
from sandbox.summary import busiest_window
from tests.support.installation import ACCOUNT, Installation, until
from worker.operate import lanes_named, open_

Build = Callable[..., Installation]
SEND = f"{ACCOUNT}/send"
LIMIT, WINDOW = 5, 2.0

one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
NOW = int(time.time())
LATER = NOW + 3000  # within the hour that such a header may speak of, and longer than these tests take

# Headers that let nothing go, let more go, are in other units, run backwards, or are none at all.
LIES: dict[str, dict[str, str | None]] = {
    "much more is left": {"X-RateLimit-Remaining": "999999", "X-RateLimit-Reset": str(LATER)},
    "more than can be counted": {"X-RateLimit-Remaining": "9" * 40, "X-RateLimit-Reset": str(LATER)},
    "nothing, until long ago": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(NOW - 86_400)},
    "nothing, until next year": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(NOW + 31_536_000)},
    "milliseconds": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(LATER * 1000)},
    "seconds from now": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "3000"},
    "less than nothing": {"X-RateLimit-Remaining": "-7", "X-RateLimit-Reset": str(LATER)},
    "words": {"X-RateLimit-Remaining": "plenty", "X-RateLimit-Reset": "soon"},
    "no numbers": {"X-RateLimit-Remaining": "nan", "X-RateLimit-Reset": "inf"},
    "twice": {"X-RateLimit-Remaining": "0, 0", "X-RateLimit-Reset": f"{LATER}, {NOW}"},
    "empty": {"X-RateLimit-Remaining": "", "X-RateLimit-Reset": ""},
    "none": {"X-RateLimit-Remaining": None, "X-RateLimit-Reset": None, "X-RateLimit-Limit": None, "Date": None},
}


@one_database
@pytest.mark.parametrize("headers", LIES.values(), ids=LIES.keys())
def test_headers_that_lie_loosen_nothing_and_stop_nothing(
    build: Build, sandbox: SandboxServer, headers: dict[str, str | None]
) -> None:
    """Given a limit of a few seconds and one of an hour, when every answer lies, then all goes at the limit's pace."""
    built = build(limits={"send": [f"{LIMIT}/{WINDOW:.0f}s", "1000/hour"]})
    for sender in built.topology.senders.values():
        object.__setattr__(sender, "provider", replace(sender.provider, remaining=get("politicalcomms").remaining))
    sandbox.fault("aurogy", "headers", headers=headers)
    service = built.service()
    for number in range(2 * LIMIT):
        built.text(number)

    until(lambda: (service.tick(), service.pump.run_slice(0.3)) and built.statuses() == {"accepted": 2 * LIMIT})

    arrivals = [entry.monotonic for entry in sandbox.ledger("aurogy")]
    assert len(arrivals) == 2 * LIMIT
    assert busiest_window(arrivals, WINDOW).requests <= LIMIT


@one_database
def test_a_count_of_nothing_for_ten_years_holds_a_lane_no_longer_than_its_window(
    build: Build, sandbox: SandboxServer
) -> None:
    """Given a provider's file that believes any reset, when one is years away, then the window's length is the most."""
    built = build(limits={"send": ["1000/hour"]})
    gate = built.service().pump.gates.of(built.topology.lanes[SEND])
    service = built.services[0]
    gate._nonce = service.ledger.seed(ACCOUNT)

    gate.heed(Remaining(3600.0, 0, 10 * 31_536_000.0), age=0.0)

    lane = built.topology.lanes[SEND]
    levels = service.limiter.levels(lane.limits, signature=lane.signature, nonce=gate._nonce)
    assert 3000 < levels.limits[0].wait_high <= 3601  # type: ignore[union-attr]


WAITS = [
    "-5",
    "soon",
    "",
    "nan",
    "1e400",
    "Wed, 99 Foo 2026 99:99:99 GMT",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "0",
    "0.5",
    "9" * 30 + "x",
]


@one_database
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("wait", WAITS)
def test_a_wait_that_cannot_be_is_a_backoff(build: Build, sandbox: SandboxServer, status: int, wait: str) -> None:
    """Given a refusal with a Retry-After that means nothing, then the lane tries again by itself, and nothing fails."""
    built = build(retry={"schedule": [0.1] * 5})
    service = built.service()
    sandbox.fault("aurogy", "status", status=status, headers={"Retry-After": wait}, count=1)
    built.text()

    until(lambda: (service.tick(), service.pump.run_slice(0.3)) and built.statuses() == {"accepted": 1})

    assert [entry.status for entry in sandbox.ledger("aurogy")] == [status, 200]


@pytest.mark.parametrize("wait", ["31536000", "9" * 25, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_wait_of_a_year_is_for_an_operator(build: Build, sandbox: SandboxServer, wait: str) -> None:
    """Given a refusal that asks for a year or more, then the lane says so, and stays closed until it is opened."""
    built = build()
    service = built.service()
    sandbox.fault("aurogy", "status", status=429, headers={"Retry-After": wait}, count=1)
    receipt = built.text()
    until(
        lambda: (
            service.pump.run_slice(0.3) and built.rows("SELECT 1 FROM paceline_lane WHERE closed_reason IS NOT NULL")
        )
    )

    [lane] = built.rows("SELECT closed_until, closed_reason FROM paceline_lane WHERE name = :name", name=SEND)
    assert lane["closed_until"] is None
    assert "days" in lane["closed_reason"]
    assert "closed" in str(built.client.status(receipt.id).waiting_for)
    service.tick()
    service.pump.run_slice(0.3)
    assert len(sandbox.ledger("aurogy")) == 1

    open_(built.engine, lanes_named(built.topology, SEND), whole_key=False)
    built.redis.flushall()
    service = built.service()
    until(lambda: (service.tick(), service.pump.run_slice(0.3)) and built.statuses() == {"accepted": 1})

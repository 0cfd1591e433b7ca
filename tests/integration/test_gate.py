"""A lane's gate: what closes it, what opens it again, and what it does while Redis or the database is away."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy.exc import OperationalError

from paceline.ids import new_id
from providers.base import Remaining
from tests.support.installation import ACCOUNT, Installation, until
from worker.lanes import memory
from worker.lanes.gate import AWAY, Gate, Gates
from worker.lanes.topology import Lane
from worker.ledger import Ledger, SeedRefused
from worker.limits import Grant, Levels, Limiter
from worker.retry import Closure, Reach
from worker.work import Claim

Build = Callable[..., Installation]
SEND = f"{ACCOUNT}/send"
STATUS = f"{ACCOUNT}/status"

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def nobody() -> Redis:
    """A Redis that is away, and found to be so at once."""
    return Redis(port=1, retry=Retry(NoBackoff(), 0))


class Process:
    """One process' gates, on the installation's database and Redis."""

    def __init__(self, built: Installation, redis: Redis | None = None) -> None:
        self.built = built
        self.limiter = Limiter(redis or built.redis, "t:")
        self.ledger = Ledger(built.engine, self.limiter, built.topology)
        self.gates = Gates(built.topology, self.limiter, self.ledger)

    @property
    def lane(self) -> Lane:
        return self.built.topology.lanes[SEND]

    @property
    def gate(self) -> Gate:
        return self.gates.of(self.lane)

    def claim(self, **changes: Any) -> Claim:
        [row] = self.built.rows("SELECT nonce FROM paceline_key")
        return replace(Claim(new_id(), self.lane, row["nonce"]), **changes)

    def ask(self, high: int = 0, rest: int = 1, gate: Gate | None = None, **changes: Any) -> Grant:
        claim, gate = self.claim(**changes), gate or self.gate
        gate.claimed(claim)
        return gate.acquire(claim, "me", high, rest)

    def levels(self) -> Levels:
        found = self.limiter.levels(self.lane.limits, signature=self.lane.signature, nonce=self.claim().nonce)
        assert isinstance(found, Levels)
        return found


@pytest.fixture
def process(build: Build, monkeypatch: pytest.MonkeyPatch) -> Process:
    # What a process remembers for a second or two it remembers for the time of a test.
    monkeypatch.setattr(memory, "RECENT", 600.0)
    monkeypatch.setattr(memory, "NEWS_INTERVAL", 600.0)
    return Process(build(limits={"send": ["20/minute", "1000/hour"]}))


def closing(seconds: float | None, *, probe: bool = False, reach: Reach = Reach.LANE) -> Closure:
    return Closure(reach, seconds, "why", probe)


# Tokens


def test_what_redis_never_knew_is_seeded_on_the_way(process: Process) -> None:
    grant = process.ask(rest=3)

    assert (grant.rest, grant.room_rest) == (3, 17)
    assert process.gate.budget().rest == 17


def test_no_more_is_claimed_than_there_is_room(process: Process) -> None:
    process.ask(rest=20)

    budget = process.gate.budget()

    assert (budget.high, budget.rest) == (0, 0)
    assert budget.wait > 0


@pytest.mark.parametrize("away", ["redis", "database", "a race"])
def test_without_redis_or_database_nothing_is_granted_and_nothing_raised(
    process: Process, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    """Given no valid state and somebody who is away, when tokens are asked for, then there are none for a moment."""
    if away == "redis":
        process = Process(process.built, nobody())
    else:
        failure = SeedRefused() if away == "a race" else OperationalError("x", {}, Exception("gone"))

        def fail(*_: object, **__: object) -> str:
            raise failure

        monkeypatch.setattr(process.ledger, "seed", fail)

    grant = process.ask(rest=3)

    assert (grant.high, grant.rest, grant.wait_high, grant.wait_rest) == (0, 0, AWAY, AWAY)
    assert not process.gate.closed()


def test_a_token_is_stamped_again_while_redis_knows_the_key(process: Process) -> None:
    process.ask(rest=1)
    assert process.gate.stamp(high=False)
    assert process.levels().limits[0].used == 2

    process.built.redis.flushall()

    assert not process.gate.stamp(high=False)
    assert not Process(process.built, nobody()).gate.stamp(high=True)


# Closing


def test_a_closing_is_known_here_at_once_and_to_others_when_they_ask(process: Process) -> None:
    other = Process(process.built)
    process.ask()
    other.ask()

    [news] = process.gates.shut(process.lane, closing(600.0), time.monotonic())

    assert (news.lane, news.key, news.reason, news.seconds, news.refusals) == (SEND, None, "why", 600.0, 0)
    assert process.gate.closed()
    assert not other.gate.closed()
    grant = other.ask(rest=5)
    assert grant.rest == 0
    assert grant.closed_for == pytest.approx(600, abs=60)
    assert other.gate.closed()


def test_a_key_closes_with_all_its_lanes(process: Process) -> None:
    process.ask()
    status = process.gates.of(process.built.topology.lanes[STATUS])

    [news] = process.gates.shut(process.lane, closing(None, reach=Reach.KEY), time.monotonic())

    assert news.key == ACCOUNT
    assert status.closed()
    assert process.gate.closed()
    assert process.ask(gate=status).closed_for == math.inf


def test_that_nothing_can_be_sent_keeps_nobody_from_asking(process: Process) -> None:
    """Given a provider that is not ready, when that came as the answer to a question, then the lane of questions backs
    off, and is not closed until a question is answered otherwise."""
    unready = Closure(Reach.LANE, None, "why", unready=True)

    [asked] = process.gates.shut(process.built.topology.lanes[STATUS], unready, time.monotonic())
    [sent] = process.gates.shut(process.lane, unready, time.monotonic())

    assert (asked.unready, asked.refusals) == (False, 1)
    assert asked.seconds is not None
    assert (sent.unready, sent.seconds) == (True, None)


def test_what_the_database_knows_of_a_closing_is_believed(process: Process) -> None:
    process.gate.claimed(process.claim(closed=True, closed_for=300.0, refusals=2))

    assert process.gate.closed()
    assert process.gate.refusals(time.monotonic()) == 3


def test_a_closing_holds_here_and_is_news_though_redis_is_away(process: Process) -> None:
    lost = Process(process.built, nobody())

    [news] = lost.gates.shut(lost.lane, closing(600.0), time.monotonic())

    assert news.seconds == 600.0
    assert lost.gate.closed()
    [news] = lost.gates.shut(lost.lane, closing(0.0, probe=True), time.monotonic())
    assert news.refusals == 1


# Opening


def test_after_a_backoff_one_probe_goes_and_its_success_opens(process: Process) -> None:
    process.ask()
    process.gates.shut(process.lane, closing(0.0, probe=True), time.monotonic())

    probe = process.ask(rest=5)
    assert (probe.rest, probe.probe) == (1, True)
    second = process.ask(rest=5)
    assert second.rest == 0
    assert second.closed_for > 10  # as long as the probe may take

    news = process.gate.worked()

    assert news is not None
    assert news.succeeded
    assert process.ask(rest=5).rest == 5


def test_the_probe_after_a_backoff_and_a_date_opens_too(process: Process) -> None:
    """Given 503 without a date and then 429 with one, when the probe succeeds, then the lane is not left at one probe
    a lease, though the last closing was no backoff."""
    process.ask()
    process.gates.shut(process.lane, closing(0.0, probe=True), time.monotonic())
    process.gates.shut(process.lane, closing(0.05), time.monotonic())
    until(lambda: process.ask(rest=5).rest == 1)

    assert process.gate.worked() is not None

    assert process.ask(rest=5).rest == 5


def test_a_success_that_left_before_a_date_does_not_end_it(process: Process) -> None:
    """Given three on the wire that bring 429 with a date, 503 without one and 200, then the date holds everywhere."""
    process.ask(rest=3)
    sent = time.monotonic()
    process.gates.shut(process.lane, closing(600.0), sent)
    process.gates.shut(process.lane, closing(1.0, probe=True), sent)

    process.gate.worked()

    assert process.gate.closed()
    assert process.levels().closed_for > 500


def test_a_straggler_does_not_end_the_probes_turn(process: Process) -> None:
    """Given a probe on the wire, when one that left before is refused, then no second probe goes."""
    process.ask()
    sent = time.monotonic()
    process.gates.shut(process.lane, closing(0.0, probe=True), sent)
    assert process.ask(rest=5).probe

    process.gates.shut(process.lane, closing(0.0, probe=True), sent)
    assert process.ask(rest=5).rest == 0

    process.gates.shut(process.lane, closing(0.0, probe=True), time.monotonic())
    assert process.ask(rest=5).probe


def test_a_keys_backoff_ends_by_itself(process: Process) -> None:
    """Given a key that is throttled without a date, when that is over, then no probe holds its lanes for ever."""
    process.ask()
    process.gates.shut(process.lane, closing(0.0, probe=True, reach=Reach.KEY), time.monotonic())

    until(lambda: process.ask(rest=2).rest == 2)
    assert process.ask(rest=2).rest == 2


def test_that_a_lane_works_is_news_now_and_then(process: Process) -> None:
    process.ask()
    before = time.monotonic()

    first = process.gate.worked()

    assert first is not None
    assert (first.lane, first.succeeded) == (SEND, True)
    assert process.gate.worked() is None
    assert process.gate.succeeded_since(before)
    assert not process.gate.succeeded_since(time.monotonic())


# What the provider counts


def test_the_providers_own_count_tightens_a_long_window(process: Process) -> None:
    process.ask()

    process.gate.heed(Remaining(3600.0, 2, 1800.0), age=0.0)

    assert process.ask(rest=10).rest == 2


@pytest.mark.parametrize(
    "said",
    [
        Remaining(60.0, 0, 30.0),
        Remaining(7200.0, 0, 30.0),
        Remaining(3600.0, 0, math.inf),
        Remaining(3600.0, 0, math.nan),
    ],
)
def test_what_it_says_of_other_windows_or_for_ever_changes_nothing(process: Process, said: Remaining) -> None:
    process.ask()

    process.gate.heed(said, age=0.0)

    assert process.ask(rest=10).rest == 10


def test_a_count_that_cannot_be_kept_is_no_trouble(process: Process) -> None:
    Process(process.built, nobody()).gate.heed(Remaining(3600.0, 2, 1800.0), age=0.0)

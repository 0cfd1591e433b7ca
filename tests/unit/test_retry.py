"""The decision table: what becomes of a message, for every outcome and every standing, and how long it waits."""

from dataclasses import dataclass

import pytest

from paceline.status import Status
from providers.base import (
    Accepted,
    Misconfigured,
    NotSent,
    Outcome,
    Refused,
    Scope,
    Throttled,
    Unavailable,
    Unknown,
)
from tests.support.senders import SCHEDULE, sender
from worker.retry import (
    BEHIND,
    OPERATOR_AFTER,
    Closure,
    Decision,
    Reach,
    Standing,
    after_unknown,
    decide,
    next_poll,
    next_question,
)

HOLD = sender()
RETRY = sender(on_unknown="retry")
HOUR = sender(deduplicates_for=3600.0)

FRESH = Standing()
SPENT = Standing(failures=len(SCHEDULE))
UNRESOLVED = Standing(unresolved=True)
RECOVERED = Standing(lane_recovered=True)
SPENT_RECOVERED = Standing(failures=len(SCHEDULE), lane_recovered=True)


@dataclass(frozen=True)
class Row:
    """An outcome in a standing, and what must come of it; a wait is a range of seconds."""

    outcome: Outcome
    standing: Standing
    status: Status
    wait: tuple[float, float] | None = None
    counts: bool = False
    unresolved: bool = False
    closes: Reach | None = None
    closed_for: tuple[float, float] | None = None  # None with `closes`: until an operator opens it
    probe: bool = False
    unready: bool = False
    account: object = HOLD


SENDING_ENDS = [
    Row(Accepted("m1"), FRESH, Status.ACCEPTED),
    Row(Accepted("m1"), UNRESOLVED, Status.ACCEPTED),
    Row(Accepted("m1", Status.SENT), SPENT, Status.SENT),
    Row(Refused("bad"), FRESH, Status.FAILED),
    Row(Refused("bad"), SPENT, Status.FAILED),
    Row(Refused("bad"), UNRESOLVED, Status.UNKNOWN, unresolved=True),
    Row(Misconfigured("no", scope=Scope.MESSAGE), FRESH, Status.FAILED),
    Row(Misconfigured("no", scope=Scope.MESSAGE), UNRESOLVED, Status.UNKNOWN, unresolved=True),
]

# What has a date, or an operator to wait for, costs no message its budget, however much of it is spent.
WAITS = [
    Row(Misconfigured("401"), SPENT, Status.QUEUED, closes=Reach.KEY),
    Row(Misconfigured("403", scope=Scope.LANE), SPENT, Status.QUEUED, closes=Reach.LANE),
    Row(Misconfigured("403", scope=Scope.LANE), UNRESOLVED, Status.QUEUED, unresolved=True, closes=Reach.LANE),
    Row(Throttled(60.0), SPENT, Status.QUEUED, closes=Reach.LANE, closed_for=(60.05, 60.5)),
    Row(Throttled(60.0), UNRESOLVED, Status.QUEUED, unresolved=True, closes=Reach.LANE, closed_for=(60.05, 60.5)),
    Row(Throttled(60.0, scope=Scope.KEY), FRESH, Status.QUEUED, closes=Reach.KEY, closed_for=(60.05, 60.5)),
    Row(Throttled(60.0, scope=Scope.ADDRESS), FRESH, Status.QUEUED, closes=Reach.ADDRESS, closed_for=(60.05, 60.5)),
    # A limit of the message's own: nobody else waits.
    Row(Throttled(60.0, scope=Scope.MESSAGE), SPENT, Status.QUEUED, (60.05, 60.5)),
    Row(Throttled(60.0, scope=Scope.MESSAGE), UNRESOLVED, Status.QUEUED, (60.05, 60.5), unresolved=True),
    Row(Throttled(OPERATOR_AFTER + 1, scope=Scope.MESSAGE), FRESH, Status.QUEUED, (86401.05, 86401.5)),
    Row(Throttled(scope=Scope.MESSAGE), SPENT_RECOVERED, Status.QUEUED, (30, 60)),
    # Not before its provider says that it can send again; a date that it names holds beside that.
    Row(Unavailable(probe_first=True), SPENT_RECOVERED, Status.QUEUED, closes=Reach.LANE, unready=True),
    Row(Unavailable(probe_first=True), UNRESOLVED, Status.QUEUED, unresolved=True, closes=Reach.LANE, unready=True),
    Row(
        Unavailable(30.0, probe_first=True),
        FRESH,
        Status.QUEUED,
        closes=Reach.LANE,
        closed_for=(30.05, 30.5),
        unready=True,
    ),
    # "Now" names no time: else whoever says it with every refusal is asked as fast as the limit allows.
    Row(
        Throttled(0.0),
        FRESH,
        Status.QUEUED,
        (BEHIND, 2 + BEHIND),
        closes=Reach.LANE,
        closed_for=(0, 2),
        probe=True,
    ),
    Row(Throttled(OPERATOR_AFTER), FRESH, Status.QUEUED, closes=Reach.LANE, closed_for=(86400.05, 86400.5)),
    Row(Throttled(OPERATOR_AFTER + 1), FRESH, Status.QUEUED, closes=Reach.LANE),
    Row(Unavailable(30.0), SPENT_RECOVERED, Status.QUEUED, closes=Reach.LANE, closed_for=(30.05, 30.5)),
    Row(
        Throttled(),
        SPENT_RECOVERED,
        Status.QUEUED,
        (BEHIND, 2 + BEHIND),
        closes=Reach.LANE,
        closed_for=(0, 2),
        probe=True,
    ),
]

# Without a date the lane backs off; the message pays only if another one got through meanwhile.
BACKS_OFF = [
    Row(outcome, standing, status, wait, counts, unresolved, Reach.LANE, (0, 2), probe=True)
    for outcome in (Unavailable(), NotSent("not connected"))
    for standing, status, wait, counts, unresolved in [
        (FRESH, Status.QUEUED, (BEHIND, 2 + BEHIND), False, False),
        (SPENT, Status.QUEUED, (BEHIND, 2 + BEHIND), False, False),
        (UNRESOLVED, Status.QUEUED, (BEHIND, 2 + BEHIND), False, True),
        (RECOVERED, Status.QUEUED, (5, 5.5), True, False),
        (Standing(failures=1, lane_recovered=True), Status.QUEUED, (30, 33), True, False),
        (Standing(failures=2, lane_recovered=True), Status.QUEUED, (120, 132), True, False),
        (SPENT_RECOVERED, Status.FAILED, None, False, False),
        (
            Standing(failures=len(SCHEDULE), lane_recovered=True, unresolved=True),
            Status.UNKNOWN,
            None,
            False,
            True,
        ),
    ]
]

OUT_OF_SIGHT = [
    Row(Unknown("no answer"), FRESH, Status.UNKNOWN, unresolved=True),
    Row(Unknown("no answer"), FRESH, Status.QUEUED, (5, 5.5), counts=True, unresolved=True, account=RETRY),
    Row(Unknown("no answer"), SPENT, Status.UNKNOWN, unresolved=True, account=RETRY),
    Row(Unknown("no answer"), FRESH, Status.QUEUED, (5, 5.5), counts=True, unresolved=True, account=HOUR),
    Row(Unknown("x"), Standing(first_sent_age=3299), Status.QUEUED, (5, 5.5), True, True, account=HOUR),
    Row(Unknown("x"), Standing(first_sent_age=3300), Status.UNKNOWN, unresolved=True, account=HOUR),
    Row(Unknown("x"), SPENT, Status.UNKNOWN, unresolved=True, account=HOUR),
]


@pytest.mark.parametrize("row", SENDING_ENDS + WAITS + BACKS_OFF + OUT_OF_SIGHT)
def test_decisions(row: Row) -> None:
    for _ in range(40):  # chance must not decide
        decision = decide(row.outcome, row.account, row.standing)  # type: ignore[arg-type]

        assert decision.status is row.status
        assert decision.counts is row.counts
        assert decision.unresolved is row.unresolved
        _check_wait(decision, row)
        _check_closure(decision.closure, row)


def _check_wait(decision: Decision, row: Row) -> None:
    if row.wait is None:
        assert decision.due_in is None
    else:
        assert decision.due_in is not None
        assert row.wait[0] <= decision.due_in <= row.wait[1]


def _check_closure(closure: Closure | None, row: Row) -> None:
    assert (closure and closure.reach) == row.closes
    if closure is None:
        return
    assert closure.probe is row.probe
    assert closure.unready is row.unready
    if row.closed_for is None:
        assert closure.seconds is None
    else:
        assert closure.seconds is not None
        assert row.closed_for[0] <= closure.seconds <= row.closed_for[1]


@pytest.mark.parametrize(("refusals", "most"), [(1, 2), (2, 4), (5, 32), (8, 256), (9, 300), (5000, 300)])
def test_a_backoff_doubles_up_to_five_minutes_with_full_jitter(refusals: int, most: float) -> None:
    closures = [decide(Unavailable(), HOLD, Standing(refusals=refusals)).closure for _ in range(300)]
    waits = [closure.seconds for closure in closures if closure and closure.seconds is not None]

    assert len(waits) == 300
    assert 0 <= min(waits) < most * 0.2
    assert most * 0.8 < max(waits) <= most


def test_a_provider_that_is_not_ready_is_asked_ever_more_rarely() -> None:
    assert [next_question(asked) for asked in range(8)] == [10, 20, 40, 80, 160, 300, 300, 300]


def test_a_refused_message_stays_behind_its_lane_so_that_another_one_probes() -> None:
    decision = decide(Unavailable(), HOLD, FRESH)

    assert decision.closure is not None
    assert decision.closure.seconds is not None
    assert decision.due_in == decision.closure.seconds + BEHIND


def test_what_waits_for_a_date_keeps_its_place_in_line() -> None:
    assert decide(Throttled(60.0), HOLD, FRESH).due_in is None


def test_an_account_without_a_schedule_fails_at_the_first_own_failure() -> None:
    decision = decide(Unavailable(), sender(retry_schedule=()), RECOVERED)

    assert decision.status is Status.FAILED
    assert decision.reason == "unavailable; the retry budget of 0 is spent"


def test_after_a_lease_the_age_decides() -> None:
    assert after_unknown("x", HOUR, Standing(first_sent_age=60.0)).status is Status.QUEUED
    assert after_unknown("x", HOUR, Standing(first_sent_age=float("inf"))).status is Status.UNKNOWN
    assert after_unknown("x", RETRY, Standing(first_sent_age=float("inf"))).status is Status.QUEUED


@pytest.mark.parametrize(
    ("outcome", "poll_in"),
    [
        (Accepted("m1"), 10.0),
        (Accepted(None), 3600.0),  # nothing can be asked without an id; a webhook may still tell
        (Accepted("m1", Status.SENT), 10.0),
        (Accepted("m1", Status.DELIVERED), None),
        (Accepted("m1", Status.FAILED), None),
        (Accepted(None, Status.READ), None),
    ],
)
def test_what_is_final_at_once_is_asked_about_no_more(outcome: Accepted, poll_in: float | None) -> None:
    assert decide(outcome, HOLD, FRESH).poll_in == poll_in


def test_polls_follow_the_schedule_from_acceptance_and_then_repeat_its_last_step() -> None:
    steps = [next_poll(HOLD, polls) for polls in range(5)]

    assert steps == [10.0, 20.0, 90.0, 120.0, 120.0]


def test_polls_of_a_schedule_that_does_not_rise_are_a_second_apart() -> None:
    assert next_poll(sender(poll_schedule=(10.0, 10.0)), 1) == 1.0


def test_without_a_schedule_it_is_given_up_in_time() -> None:
    assert next_poll(sender(poll_schedule=()), 0) == 3600.0


def test_before_a_repetition_that_nobody_recognises_word_may_still_come() -> None:
    """Given on_unknown = "retry", then the provider's own delay for late word comes before the schedule's."""
    patient = sender(on_unknown="retry", unknown_grace=120.0)
    waited = after_unknown("no answer", patient, Standing()).due_in
    assert waited is not None
    assert waited >= 120.0

    recognised = sender(on_unknown="retry", unknown_grace=120.0, deduplicates_for=3600.0)
    waited = after_unknown("no answer", recognised, Standing()).due_in
    assert waited is not None
    assert waited < 120.0


def test_what_a_provider_notes_of_an_acceptance_is_kept() -> None:
    assert decide(Accepted("m1", note="simulated"), HOLD, FRESH).reason == "simulated"
    assert decide(Accepted("m1", Status.FAILED), HOLD, FRESH).reason == "the provider took it and calls it failed"

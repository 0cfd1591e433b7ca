"""Outcome and attempt and account → what next. Pure: it computes, and does nothing.

Every delay is a tenacity wait strategy, evaluated with the stored attempt number instead of slept.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from tenacity import (
    RetryCallState,
    Retrying,
    wait_chain,
    wait_exponential,
    wait_fixed,
    wait_random,
    wait_random_exponential,
)
from tenacity.wait import wait_base

from paceline.status import FINAL, Status
from providers.base import Accepted, Misconfigured, NotSent, Outcome, Refused, Scope, Throttled, Unavailable, Unknown
from worker.lanes.topology import Sender

BACKOFF = wait_random_exponential(multiplier=2, max=300)  # full jitter: a lane without a date to wait for
RETRY_AFTER_JITTER = wait_random(0.05, 0.5)  # a promise is kept late, never early
ONE_MESSAGE = wait_random(30, 60)  # a limit of one recipient, whose end the provider does not name
READINESS = wait_exponential(multiplier=10, max=300)  # between questions whether a provider that was not ready is
OPERATOR_AFTER = 24 * 3600.0  # a provider that asks for more than a day is asking for a person
DEDUPLICATION_MARGIN = 300.0  # seconds before a provider's deduplication window ends in which it is not relied on
TAKEN_AND_FAILED = "the provider took it and calls it failed"
BEHIND = 0.25  # seconds a refused message stays behind its lane's next opening, so that another one probes


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a message when its outcome is decided. Ages in seconds, None where it never happened."""

    failures: int = 0
    unresolved: bool = False
    first_sent_age: float | None = None
    lane_recovered: bool = False  # another message got through since this one last failed
    refusals: int = 1  # of its lane, in a row, this one included


class Reach(StrEnum):
    """What a closure closes."""

    LANE = "lane"
    KEY = "key"
    ADDRESS = "address"  # all keys of the provider: it refuses whatever comes from here


@dataclass(frozen=True, slots=True)
class Closure:
    """A lane or key that closes for `seconds` (None: until an operator opens it)."""

    reach: Reach
    seconds: float | None
    reason: str
    probe: bool = False  # afterwards one message at a time, until one gets through
    unready: bool = False  # until the provider's own probe says that it can send again; `seconds` is None


@dataclass(frozen=True, slots=True)
class Decision:
    """A message's next status; when it may be claimed again; and what closes."""

    status: Status
    reason: str | None = None
    due_in: float | None = None
    counts: bool = False
    unresolved: bool = False
    poll_in: float | None = None
    provider_message_id: str | None = None
    closure: Closure | None = None


def decide(outcome: Outcome, sender: Sender, standing: Standing) -> Decision:
    """What becomes of a message whose attempt ended in `outcome`."""
    match outcome:
        case Accepted():
            return Decision(
                outcome.status,
                reason=outcome.note or (TAKEN_AND_FAILED if outcome.status is Status.FAILED else None),
                poll_in=_first_poll(outcome, sender),
                provider_message_id=outcome.provider_message_id,
            )
        case Refused():
            return _settle(Status.FAILED, outcome.reason, standing)
        case Throttled(scope=Scope.MESSAGE):
            return _alone(outcome.retry_after, standing)
        case Throttled():
            reach = {Scope.KEY: Reach.KEY, Scope.ADDRESS: Reach.ADDRESS}.get(outcome.scope, Reach.LANE)
            # Beside the word its code: a rate, a quota, a balance or an address are opened in different ways.
            why = f"throttled {outcome.code}".rstrip()
            return _wait(_closure(outcome.retry_after, why, standing, reach), "throttled", standing)
        case Unavailable(probe_first=True):
            reason = outcome.code or "unavailable"
            until = None if outcome.retry_after is None else _closure(outcome.retry_after, reason, standing).seconds
            return _wait(Closure(Reach.LANE, until, reason, unready=True), reason, standing)
        case Unavailable():
            closure = _closure(outcome.retry_after, "unavailable", standing)
            if outcome.retry_after is not None:
                return _wait(closure, "unavailable", standing)
            return _count(closure, "unavailable", sender, standing)
        case NotSent():
            return _count(_closure(None, outcome.reason, standing), outcome.reason, sender, standing)
        case Misconfigured():
            if outcome.scope is Scope.MESSAGE:
                return _settle(Status.FAILED, outcome.reason, standing)
            scope = Reach.KEY if outcome.scope is Scope.KEY else Reach.LANE
            return _wait(Closure(scope, None, outcome.reason), outcome.reason, standing)
        case Unknown():
            return after_unknown(outcome.reason, sender, standing)


def after_unknown(reason: str, sender: Sender, standing: Standing) -> Decision:
    """An attempt that may have been accepted: resent only where the provider deduplicates, or the account says so."""
    age = standing.first_sent_age or 0.0
    if may_repeat(sender, age):
        decision = _retry(reason, sender, standing, unresolved=True)
        if decision.due_in is None or recognises(sender, age):
            return decision
        # Nobody recognises the repetition, but word of the first may still come.
        return replace(decision, due_in=max(decision.due_in, sender.provider.unknown_grace))
    return Decision(Status.UNKNOWN, reason, unresolved=True)


def may_repeat(sender: Sender, first_sent_age: float) -> bool:
    """Whether a message that may have been accepted may be sent again, so many seconds after it first was."""
    return recognises(sender, first_sent_age) or sender.on_unknown == "retry"


def recognises(sender: Sender, first_sent_age: float) -> bool:
    """Whether the provider would still know a repeated request for what it is."""
    return first_sent_age < sender.provider.deduplicates_for - DEDUPLICATION_MARGIN


def next_poll(sender: Sender, polls: int) -> float | None:
    """Seconds until the next question about an accepted message, after `polls` of them; then `give_up_after`.

    The schedule counts from acceptance: what is returned is the step from the last question to the next.
    """
    if sender.provider.poll_class is None or not sender.poll_schedule:
        return sender.give_up_after
    schedule = sender.poll_schedule
    last = schedule[-1]
    if polls == 0:
        return schedule[0]
    return last if polls >= len(schedule) else max(1.0, schedule[polls] - schedule[polls - 1])


def _first_poll(outcome: Accepted, sender: Sender) -> float | None:
    if outcome.status in FINAL:
        return None
    # Without an id nothing can be asked; a webhook may still match it.
    return next_poll(sender, 0) if outcome.provider_message_id else sender.give_up_after


def _settle(status: Status, reason: str, standing: Standing) -> Decision:
    # An earlier attempt may have been accepted: then "failed" would be a guess.
    if standing.unresolved:
        return Decision(Status.UNKNOWN, reason, unresolved=True)
    return Decision(status, reason)


def _alone(retry_after: float | None, standing: Standing) -> Decision:
    """A limit of this message's own: it waits, nobody else does, and it costs no budget."""
    seconds = _evaluate(ONE_MESSAGE, 1) if retry_after is None else retry_after + _evaluate(RETRY_AFTER_JITTER, 1)
    return Decision(Status.QUEUED, "throttled", due_in=seconds, unresolved=standing.unresolved)


def backoff(refusals: int) -> float:
    """Seconds for which a lane without a date to wait for stays closed, after so many refusals in a row."""
    return _evaluate(BACKOFF, refusals)


def next_question(asked: int) -> float:
    """Seconds until a provider that is not ready is asked again, having been asked so many times."""
    return _evaluate(READINESS, asked + 1)


def _wait(closure: Closure, reason: str, standing: Standing) -> Decision:
    behind = BEHIND if closure.seconds is None else closure.seconds + BEHIND
    return Decision(
        Status.QUEUED, reason, due_in=behind if closure.probe else None, unresolved=standing.unresolved, closure=closure
    )


def _count(closure: Closure, reason: str, sender: Sender, standing: Standing) -> Decision:
    if not standing.lane_recovered:
        return _wait(closure, reason, standing)
    decision = _retry(reason, sender, standing, unresolved=standing.unresolved)
    return Decision(
        decision.status,
        decision.reason,
        due_in=decision.due_in,
        counts=decision.counts,
        unresolved=decision.unresolved,
        closure=closure,
    )


def _retry(reason: str, sender: Sender, standing: Standing, *, unresolved: bool) -> Decision:
    schedule = sender.retry_schedule
    if standing.failures >= len(schedule):
        status = Status.UNKNOWN if unresolved else Status.FAILED
        return Decision(status, f"{reason}; the retry budget of {len(schedule)} is spent", unresolved=unresolved)
    chain = wait_chain(*(wait_fixed(seconds) + wait_random(0, seconds * 0.1) for seconds in schedule))
    return Decision(
        Status.QUEUED, reason, due_in=_evaluate(chain, standing.failures + 1), counts=True, unresolved=unresolved
    )


def _closure(retry_after: float | None, reason: str, standing: Standing, reach: Reach = Reach.LANE) -> Closure:
    if not retry_after:  # "now", or a date that is over: whoever refuses and says so names no time either
        return Closure(reach, backoff(standing.refusals), reason, probe=True)
    if retry_after > OPERATOR_AFTER:
        days = retry_after / 86400
        return Closure(reach, None, f"{reason}: the provider asks to wait {days:.1f} days; open it when it may go on")
    return Closure(reach, retry_after + _evaluate(RETRY_AFTER_JITTER, 1), reason)


def _evaluate(wait: wait_base, attempt: int) -> float:
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = attempt
    return float(wait(state))

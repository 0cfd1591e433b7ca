"""A job's step on its way: from a claimed row to its request, and from its answer to what is recorded.

A job is an operation of its provider, made of steps. The step that comes next and what the earlier ones left for it are
the row, and change in the transaction that records an answer: so a worker that dies between two steps repeats neither.
"""

import json
import math
from collections.abc import Callable
from dataclasses import replace

from paceline.errors import PacelineError
from providers.base import (
    Accepted,
    Done,
    Job,
    Misconfigured,
    Next,
    NotSent,
    Operation,
    Outcome,
    Refused,
    Request,
    Scope,
    Unknown,
)
from worker.delivery import OUTCOMES, Delivery, Verdict, check_readable, fit, poisoned, secrets_of, told, unquoting
from worker.lanes.topology import Sender
from worker.retry import Decision, Standing, after_unknown, decide, recognises
from worker.transport import Answer
from worker.work import JobResult

EXPIRED = "expires_at passed"
QUEUED, DONE, FAILED, UNKNOWN = "queued", "done", "failed", "unknown"


class UnknownOperation(PacelineError):
    """The provider of this worker's version has no such operation."""


class NotRecognised(PacelineError):
    """A repetition of what may have been done already would be done a second time."""


def build(delivery: Delivery) -> Request:
    """The request of the job's next step. Raises whatever its arguments, or a poisoned row, make the provider raise,
    and `NotRecognised`."""
    check_readable(delivery.message)
    operation, job, account = _operation(delivery), _job(delivery), delivery.sender.account
    if not job.step:
        operation.check(account, job.arguments)
    request = operation.build(account, job)
    if request.keyed and delivery.message.unresolved and not _recognised(delivery):
        raise NotRecognised("it waited longer than its provider recognises a repeated request")
    return request


def read(answer: Answer, *, recovered: bool, refusals: Callable[[float | None], int]) -> Verdict:
    """What an answer means for its job and its lane; the arguments are those of `worker.delivery.read`."""
    delivery: Delivery = answer.exchange.token
    guard = answer.exchange.guard
    if not answer.sent and guard.withheld is not None:
        return Verdict(put_back(delivery, granted=True))
    try:
        found = _found(delivery, answer)
        if not isinstance(found, Next | Done):
            return _declined(delivery, found, guard.passed_at, recovered or delivery.message.recovered, refusals)
        return Verdict(_advanced(delivery, found, guard.passed_at), worked=True, outcome=type(found).__name__.lower())
    except Exception as bug:  # one answer that cannot be read must not stop the others
        return Verdict(_unreadable(delivery, bug, guard.passed_at), worked=True, outcome="unreadable")


def put_back(delivery: Delivery, *, granted: bool) -> JobResult:
    """The record of a step that was claimed and did not leave: put back where it was, and nothing counts."""
    return replace(_record(delivery, QUEUED, None), made=False, granted=granted, unresolved=delivery.message.unresolved)


def ended(delivery: Delivery) -> JobResult | None:
    """The record of a job that ends before it has begun, because nobody waits for it any more."""
    message = delivery.message
    begun = message.step or message.memory != "{}"
    if begun or message.expires_in is None or message.expires_in > 0:
        return None
    return _over(delivery, UNKNOWN if message.unresolved else FAILED, EXPIRED, granted=False)


def unbuildable(delivery: Delivery, error: Exception) -> JobResult:
    """The record of a job for whose step no request can be made."""
    reason = fit(f"{error}") if isinstance(error, PacelineError) else poisoned(error)
    return _over(delivery, UNKNOWN if delivery.message.unresolved else FAILED, reason, granted=True)


def after_lease(sender: Sender | None, operation: str, step: str, failures: int, reason: str) -> Decision | None:
    """What becomes of a step whose lease ended without an answer; None if this worker knows nothing of it."""
    known = None if sender is None else sender.provider.operations.get(operation)
    if sender is None or known is None:
        return None
    standing = Standing(failures=failures, unresolved=True, first_sent_age=math.inf)
    return after_unknown(reason, _asking(sender, known.repeatable(step)), standing)


def event_of(id: str, operation: str, status: str) -> str:  # noqa: A002  # the job's id
    """The data of an event about a job: ids and names, and nothing of what it asks or found."""
    return json.dumps({"job": id, "operation": operation, "status": status})


def _operation(delivery: Delivery) -> Operation:
    name, provider = delivery.message.operation, delivery.sender.provider
    found = provider.operations.get(name)
    if found is None:
        raise UnknownOperation(f"this version of {provider.name} has no operation {name}")
    return found


def _job(delivery: Delivery) -> Job:
    message = delivery.message
    return Job(message.id, json.loads(message.payload), message.step, json.loads(message.memory))


def _recognised(delivery: Delivery) -> bool:
    age = delivery.message.first_sent_age
    return age is not None and recognises(delivery.sender, age)


def _found(delivery: Delivery, answer: Answer) -> Next | Done | Outcome:
    if not answer.sent:
        return NotSent("not connected", answer.error)
    if answer.response is None:
        return Unknown("no answer", answer.error)
    found = _operation(delivery).read(delivery.sender.account, _job(delivery), answer.response)
    if isinstance(found, Accepted):
        return Done()
    return unquoting(found, delivery.message.payload, secrets_of(delivery.sender, answer.exchange.request))


def _advanced(delivery: Delivery, found: Next | Done, passed_at: float | None) -> JobResult:
    """The record of a step that was answered. What is not JSON raises."""
    message = delivery.message
    if isinstance(found, Done):
        record = _record(delivery, DONE, passed_at)
        return replace(record, result=json.dumps(found.result), event=event_of(message.id, message.operation, DONE))
    progress = json.loads(message.memory).get("progress")
    record = replace(
        _record(delivery, QUEUED, passed_at),
        due_in=max(0.0, found.wait),
        next_step=found.step,
        memory=json.dumps(dict(found.memory)),
    )
    if found.memory.get("progress") == progress:
        return record
    return replace(record, event=event_of(message.id, message.operation, QUEUED))


def _declined(
    delivery: Delivery,
    outcome: Outcome,
    passed_at: float | None,
    recovered: bool,
    refusals: Callable[[float | None], int],
) -> Verdict:
    message = delivery.message
    repeatable = _operation(delivery).repeatable(message.step)
    # A refusal of what the provider recognises is its answer to the earlier request too.
    refused = isinstance(outcome, Refused) or (isinstance(outcome, Misconfigured) and outcome.scope is Scope.MESSAGE)
    standing = Standing(
        failures=message.failures,
        unresolved=message.unresolved and not (refused and repeatable),
        first_sent_age=math.inf,
        lane_recovered=recovered,
        refusals=refusals(passed_at),
    )
    decision = decide(outcome, _asking(delivery.sender, repeatable), standing)
    record = replace(
        _record(delivery, str(decision.status), passed_at),
        reason=fit(decision.reason),
        due_in=decision.due_in,
        counts=decision.counts,
        unresolved=decision.unresolved,
    )
    if record.status != QUEUED:
        record = replace(record, event=event_of(message.id, message.operation, record.status))
    return Verdict(record, told(decision.closure), isinstance(outcome, Refused), OUTCOMES[type(outcome)])


def _asking(sender: Sender, repeatable: bool) -> Sender:
    """The account as one that repeats what may have been accepted, or never does: a job's steps say so themselves."""
    return replace(sender, on_unknown="retry" if repeatable else "hold")


def _unreadable(delivery: Delivery, bug: Exception, passed_at: float | None) -> JobResult:
    operation = delivery.sender.provider.operations.get(delivery.message.operation)
    # Of a change nobody knows now whether it was made.
    status = FAILED if operation is None or operation.repeatable(delivery.message.step) else UNKNOWN
    record = _over(delivery, status, f"its answer cannot be read ({type(bug).__name__})", granted=True)
    return replace(record, made=True, sent_at=passed_at)


def _over(delivery: Delivery, status: str, reason: str | None, *, granted: bool) -> JobResult:
    message = delivery.message
    return replace(
        _record(delivery, status, None),
        made=False,
        granted=granted,
        reason=reason,
        unresolved=status == UNKNOWN,
        event=event_of(message.id, message.operation, status),
    )


def _record(delivery: Delivery, status: str, passed_at: float | None) -> JobResult:
    message = delivery.message
    return JobResult(
        id=message.id,
        grant_id=delivery.grant_id,
        attempt=message.attempt,
        step=message.step,
        status=status,
        lane=delivery.lane.name,
        account=delivery.sender.name,
        sent_at=passed_at,
    )

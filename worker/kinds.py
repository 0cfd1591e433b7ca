"""What a slice does with each kind of work: sends and polls by `worker/delivery.py`, jobs by `worker/jobs/steps.py`."""

import math
from collections.abc import Callable

from paceline.status import Status
from providers.base import Request
from worker import delivery as deliveries
from worker.delivery import Delivery, Verdict
from worker.hooks.callbacks import NONE, Callbacks
from worker.jobs import steps as jobs
from worker.lanes.topology import Work
from worker.retry import may_repeat
from worker.suppressing import OPTED_OUT
from worker.transport import Answer
from worker.work import Record


def build(delivery: Delivery, callbacks: Callbacks = NONE) -> Request:
    """The request. Raises whatever a poisoned row makes the provider raise."""
    if delivery.message.work is Work.JOB:
        return jobs.build(delivery)
    return deliveries.build(delivery, callbacks)


def read(answer: Answer, *, recovered: bool, refusals: Callable[[float | None], int]) -> Verdict:
    """What an answer means: the row to write, what closes, and whether the lane has shown that it works."""
    delivery: Delivery = answer.exchange.token
    if delivery.message.work is Work.JOB:
        return jobs.read(answer, recovered=recovered, refusals=refusals)
    return deliveries.read(answer, recovered=recovered, refusals=refusals)


def put_back(delivery: Delivery) -> Record:
    """The record of what was claimed and got no token: put back, and nothing counts."""
    if delivery.message.work is Work.JOB:
        return jobs.put_back(delivery, granted=False)
    return deliveries.put_back(delivery, None, granted=False)


def unbuildable(delivery: Delivery, error: Exception) -> Record:
    """The record of what no request can be made of, which fails alone."""
    match delivery.message.work:
        case Work.JOB:
            return jobs.unbuildable(delivery, error)
        case Work.POLL:
            return deliveries.given_up(delivery, granted=True)
        case _:
            return deliveries.settled(delivery, Status.FAILED, deliveries.poisoned(error), granted=True)


def ended(delivery: Delivery) -> Record | None:
    """The record of what ends here, without a request and without a token; None if it may go."""
    match delivery.message.work:
        case Work.JOB:
            return jobs.ended(delivery)
        case Work.POLL:
            return _ended_poll(delivery)
        case _:
            return _ended_send(delivery)


def _ended_poll(delivery: Delivery) -> Record | None:
    message = delivery.message
    nothing_to_ask = message.provider_message_id is None or message.accepted_age > delivery.sender.give_up_after
    return deliveries.given_up(delivery) if nothing_to_ask else None


def _ended_send(delivery: Delivery) -> Record | None:
    message = delivery.message
    if message.expires_in is not None and message.expires_in <= 0:
        return deliveries.settled(delivery, Status.EXPIRED, "expires_at passed", granted=False)
    if message.suppressed:
        return deliveries.settled(delivery, Status.FAILED, OPTED_OUT, granted=False)
    age = math.inf if message.first_sent_age is None else message.first_sent_age
    if message.unresolved and not may_repeat(delivery.sender, age):
        reason = "it waited longer than its provider recognises a repeated request"
        return deliveries.settled(delivery, Status.UNKNOWN, reason, granted=False)
    return None

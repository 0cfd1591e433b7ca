"""One message's way over the wire: from a claimed row to a guarded request, and from its answer to what is recorded."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from paceline.ciphers import Unreadable
from paceline.errors import PacelineError
from paceline.messages import from_json
from paceline.status import FINAL, Status
from providers.base import (
    Accepted,
    Misconfigured,
    NotSent,
    Outcome,
    Refused,
    Report,
    Request,
    Scope,
    Submission,
    Throttled,
    Unavailable,
    Unknown,
)
from worker.hooks.callbacks import NONE, Callbacks
from worker.lanes.topology import Lane, Sender, Work
from worker.retry import Closure, Decision, Standing, decide, next_poll
from worker.transport import Answer, Exchange, Guard
from worker.work import Claimed, PollResult, Record, Result

LONGEST_TEXT = 200  # characters of a code, a reason or a request id that are kept
LONGEST_ID = 1000  # of a provider's id for a message: a part of one would match nothing
QUOTED = "its code quotes the message"
SHORTEST_QUOTED = 6  # characters of a recipient or credential that are looked for within what is said

_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/=+-]{0,199}")
_RECIPIENT = re.compile(r'"to": ?"\+?([^"]+)"')  # of a message's row, which is not read as JSON again for it

Found = TypeVar("Found")

OUTCOMES = {
    Accepted: "accepted",
    Refused: "refused",
    Throttled: "throttled",
    Unavailable: "unavailable",
    Unknown: "unknown",
    NotSent: "not_sent",
    Misconfigured: "misconfigured",
}


@dataclass(frozen=True, slots=True)
class Delivery:
    """A claimed message on its way: what an answer must be read against."""

    grant_id: str
    lane: Lane
    sender: Sender
    message: Claimed
    claimed_at: float  # monotonic


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means: the row to write, what closes, and whether the lane has shown that it works."""

    record: Record
    closure: Closure | None = None
    worked: bool = False
    outcome: str = ""


def build(delivery: Delivery, callbacks: Callbacks = NONE) -> Request:
    """The request for a message, or a question about one. Raises whatever a poisoned row makes the provider raise."""
    provider, account = delivery.sender.provider, delivery.sender.account
    if delivery.message.work is Work.POLL:
        assert provider.build_poll is not None
        return provider.build_poll(account, delivery.message.provider_message_id or "")
    check_readable(delivery.message)
    payload = json.loads(delivery.message.payload)
    metadata, options = payload.pop("metadata", {}), payload.pop("options", {})
    message_id = delivery.message.id
    callback = callbacks.url(account.name, message_id)
    return provider.build_request(account, Submission(message_id, from_json(payload), metadata, options, callback))


def check_readable(message: Claimed) -> None:
    """Raise `Unreadable` if its content could not be decrypted."""
    if message.unreadable:
        raise Unreadable(message.unreadable)


def exchange(delivery: Delivery, request: Request, guard: Guard) -> Exchange:
    """The request with all that the transport must know."""
    provider = delivery.sender.provider
    return Exchange(request, guard, delivery.sender.timeout, provider.connect_timeout, delivery)


def read(answer: Answer, *, recovered: bool, refusals: Callable[[float | None], int]) -> Verdict:
    """What an answer means for its message and its lane.

    `recovered`: another message got through since this one was claimed. `refusals`: how many in a row the lane has
    had, counting one of a request that left at the given instant.
    """
    delivery: Delivery = answer.exchange.token
    if delivery.message.work is Work.POLL:
        return _read_poll(delivery, answer, refusals)
    if not answer.sent and answer.exchange.guard.withheld is not None:
        return Verdict(put_back(delivery, answer.exchange.guard.withheld, granted=True))
    outcome = _outcome(answer)
    return _verdict(delivery, answer, outcome, recovered or delivery.message.recovered, refusals)


def put_back(delivery: Delivery, reason: str | None, *, granted: bool) -> Result | PollResult:
    """The record of a message or question that was claimed and did not leave: put back, and nothing counts."""
    message = delivery.message
    if delivery.message.work is Work.POLL:
        return PollResult(message.id, delivery.grant_id, message.polls, poll_in=0.0, granted=granted, counted=False)
    return Result(
        id=message.id,
        grant_id=delivery.grant_id,
        attempt=message.attempt,
        status=str(Status.QUEUED),
        reason=reason,
        granted=granted,
        left=False,
        account=delivery.sender.name,
        unresolved=message.unresolved,
    )


def settled(delivery: Delivery, status: Status, reason: str, *, granted: bool) -> Result:
    """The record of a message that ends without a request: expired, or a row that no request can be made of."""
    status = Status.UNKNOWN if delivery.message.unresolved else status
    record = put_back(delivery, reason, granted=granted)
    assert isinstance(record, Result)
    return Result(**{**{name: getattr(record, name) for name in record.__slots__}, "status": str(status)})


def given_up(delivery: Delivery, *, granted: bool = False) -> PollResult:
    """The record of an accepted message about which nothing more was heard in time: final, and not a failure."""
    message = delivery.message
    return PollResult(message.id, delivery.grant_id, message.polls, reason="no_report", granted=granted)


def _outcome(answer: Answer) -> Outcome:
    delivery: Delivery = answer.exchange.token
    if not answer.sent:
        return NotSent("not connected", answer.error)
    if answer.response is None:
        return Unknown("no answer", answer.error)
    try:
        outcome = delivery.sender.provider.parse_response(delivery.sender.account, answer.response)
    except Exception as bug:  # one answer that cannot be read must not stop the others
        return Unknown(f"unreadable answer ({type(bug).__name__})")
    return unquoting(outcome, delivery.message.payload, secrets_of(delivery.sender, answer.exchange.request))


def _verdict(
    delivery: Delivery, answer: Answer, outcome: Outcome, recovered: bool, refusals: Callable[[float | None], int]
) -> Verdict:
    message, passed_at = delivery.message, answer.exchange.guard.passed_at
    standing = Standing(
        failures=message.failures,
        unresolved=message.unresolved,
        first_sent_age=message.first_sent_age,
        lane_recovered=recovered,
        refusals=refusals(passed_at),
    )
    decision = decide(outcome, delivery.sender, standing)
    said = delivery.sender.provider.request_id(answer.response) if answer.response else ""
    secrets = secrets_of(delivery.sender, answer.exchange.request)
    record = Result(
        id=message.id,
        grant_id=delivery.grant_id,
        attempt=message.attempt,
        status=str(decision.status),
        reason=fit(decision.reason),
        left=answer.sent,
        account=delivery.sender.name,
        due_in=decision.due_in,
        counts=decision.counts,
        failed=isinstance(outcome, Unavailable | NotSent),
        unresolved=decision.unresolved,
        poll_in=decision.poll_in,
        provider_message_id=fit(decision.provider_message_id, LONGEST_ID),
        outcome=OUTCOMES[type(outcome)],
        http_status=answer.response.status if answer.response else None,
        code=fit(getattr(outcome, "code", "")) or "",
        request_id=_request_id(said, message.payload, secrets),
        duration_ms=round(answer.duration * 1000, 1),
        sent_at=passed_at,
        opted_out=_channel(delivery) if isinstance(outcome, Refused) and outcome.opted_out else None,
    )
    # What is refused for this message's own sake shows that others can go.
    worked = isinstance(outcome, Accepted | Refused) or getattr(outcome, "scope", None) is Scope.MESSAGE
    return Verdict(record, told(decision.closure), worked, OUTCOMES[type(outcome)])


def _read_poll(delivery: Delivery, answer: Answer, refusals: Callable[[float | None], int]) -> Verdict:
    provider, account, message = delivery.sender.provider, delivery.sender.account, delivery.message
    passed_at = answer.exchange.guard.passed_at
    if not answer.sent and answer.exchange.guard.withheld is not None:
        return Verdict(put_back(delivery, None, granted=True))
    found: Report | Outcome
    if answer.response is None:
        found = Unavailable(None, answer.error) if answer.sent else NotSent("not connected", answer.error)
    else:
        assert provider.parse_poll is not None
        try:
            found = provider.parse_poll(account, answer.response)
            found = unquoting(found, "{}", secrets_of(delivery.sender, answer.exchange.request))
        except Exception:  # one answer that cannot be read must not stop the others
            found = Report(None)
    if isinstance(found, Report):
        over = found.status is not None and found.status in FINAL
        poll_in = None if over else next_poll(delivery.sender, message.polls + 1)
        status = None if found.status is None else str(found.status)
        record = PollResult(
            message.id,
            delivery.grant_id,
            message.polls,
            status,
            fit(found.reason) or None,
            poll_in,
            sent_at=passed_at,
            account=delivery.sender.name,
            opted_out=_channel(delivery) if found.opted_out else None,
        )
        return Verdict(record, worked=True, outcome="reported")
    standing = Standing(refusals=refusals(passed_at))
    decision: Decision = decide(found, delivery.sender, standing)
    wait = next_poll(delivery.sender, max(1, message.polls))
    record = PollResult(message.id, delivery.grant_id, message.polls, poll_in=wait, sent_at=passed_at, counted=False)
    return Verdict(record, told(decision.closure), outcome=OUTCOMES[type(found)])


def _channel(delivery: Delivery) -> str | None:
    return delivery.sender.capabilities.channel or None


def secrets_of(sender: Sender, request: Request) -> tuple[str, ...]:
    """What no answer may have us repeat: the account's secret credentials, and what the request bore of them."""
    held = [sender.account.credentials.get(known.name, "") for known in sender.provider.credentials if known.secret]
    borne = request.headers.get("Authorization", "").rpartition(" ")[2]
    return tuple(secret for secret in (*held, borne) if len(secret) >= SHORTEST_QUOTED)


def unquoting(outcome: Found, payload: str, secrets: Sequence[str] = ()) -> Found:
    """The outcome without a code that repeats what the message says, and without what opens the account and whom the
    message is for, wherever they stand in it: codes and reasons are logged.

    Providers' codes are words, so this is one who puts a word of the message where the code belongs.
    """
    said: dict[str, str | None] = {name: getattr(outcome, name, None) for name in _SAID}
    code = said["code"]
    if code and code in _values({**json.loads(payload), "kind": None}):
        said |= {"code": "", "reason": said["reason"] and QUOTED}
    for secret in secrets:
        said = {name: _without(secret, name, held) for name, held in said.items()}
    if said["code"] or said["reason"] or said["note"]:
        recipient = _recipient(payload)
        # An id may hold its recipient, as AuroraSendCloud's do.
        said |= {name: _without(recipient, name, said[name]) for name in _SAID[:3]}
    changes = {name: held for name, held in said.items() if held != getattr(outcome, name, None)}
    if not changes:
        return outcome
    quoting: Any = outcome
    changed: Found = replace(quoting, **changes)
    return changed


_SAID = ("code", "reason", "note", "provider_message_id")


def _without(word: str, name: str, held: str | None) -> str | None:
    """The text without that word; of a code or an id nothing is left then."""
    if not word or not held or word.lower() not in held.lower():
        return held
    if name == "provider_message_id":
        return None
    return "" if name == "code" else re.sub(re.escape(word), "…", held, flags=re.IGNORECASE)


def _recipient(payload: str) -> str:
    """Whom the message is for, without a plus; empty where that is too short to be told from a word."""
    found = _RECIPIENT.search(payload)
    return found[1] if found is not None and len(found[1]) >= SHORTEST_QUOTED else ""


def _values(held: object) -> Iterator[str]:
    """Every text that stands in this JSON, at any depth; names aside."""
    if isinstance(held, str):
        yield held
    elif isinstance(held, dict | list):
        for item in held.values() if isinstance(held, dict) else held:
            yield from _values(item)


def _request_id(said: str, payload: str, secrets: Sequence[str] = ()) -> str | None:
    """The provider's name for the request, if that is what it says: it is logged, and shown to operators."""
    if not said or not _REQUEST_ID.fullmatch(said) or said in payload:
        return None
    recipient = _RECIPIENT.search(payload)
    quoted = (*secrets, recipient[1] if recipient is not None else "")
    return None if any(word and word.lower() in said.lower() for word in quoted) else said


def told(closure: Closure | None) -> Closure | None:
    """The closure with a reason that is fit for any column."""
    return None if closure is None else replace(closure, reason=fit(closure.reason) or "closed")


def fit(value: str | None, longest: int = LONGEST_TEXT) -> str | None:
    """Fit for any column: no NUL, no lone surrogates, not too long. Providers send what they like."""
    if value is None:
        return None
    return value[:longest].replace("\x00", "").encode("utf-8", "replace").decode()


def poisoned(error: Exception) -> str:
    """Why no request could be made of a row, without what is in it."""
    rule = f": {error}" if isinstance(error, PacelineError) else ""
    return f"no request can be made of it ({type(error).__name__}{fit(rule)})"

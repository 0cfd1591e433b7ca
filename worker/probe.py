"""One harmless request, asked while the caller waits for its answer: a provider's own probe, or the doctor's question.

It is a request like any other: it has its row in the ledger before it leaves, takes a token of its lane, and the guard
on the wire has the last word. It is asked once; what its lane does not let through now is not asked at all.
"""

import math
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import uuid4

import structlog
from sqlalchemy import insert
from sqlalchemy.exc import DBAPIError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from paceline.clock import now
from paceline.database import write
from paceline.ids import new_id
from providers.base import (
    Accepted,
    Account,
    NotSent,
    Outcome,
    Refused,
    Request,
    Response,
    Throttled,
    Unavailable,
    Unknown,
)
from worker.delivery import OUTCOMES, secrets_of, unquoting
from worker.lanes.gate import Gate, Gates
from worker.lanes.topology import Lane, Sender
from worker.limits import Grant
from worker.retry import Standing, decide
from worker.rows import encode
from worker.statements import Statements, grant
from worker.store import Store
from worker.transport import Answer, Exchange, Guard, Transport
from worker.work import Batch, Claim, LaneNews

ANOTHER = "another configuration is published"  # why a lane of this one lets nothing through

WRITING = 15.0  # seconds in which the ledger is told of the end; later it finds out by the lease

Read = Callable[[Account, Response], Outcome]

log = structlog.get_logger("paceline.probe")


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of it. `left`: the request was let onto the wire; `wait`: seconds until its lane may let it through,
    infinity until an operator opens it. `duration` in seconds."""

    outcome: Outcome
    response: Response | None = None
    left: bool = False
    wait: float = 0.0
    duration: float = 0.0


class Prober:
    """Asks. Safe to share between threads; every answer is waited for."""

    def __init__(self, store: Store, gates: Gates, transport: Transport) -> None:
        self._store = store
        self._gates = gates
        self._transport = transport
        self._statements = Statements(store.engine.dialect.name)
        self._process = uuid4().hex

    def probe(self, sender: Sender, lane: Lane) -> Asked:
        """Ask the provider's own question on its lane, which `probe_lane` names: `Accepted` if the account can send."""
        provider = sender.provider
        assert provider.build_probe is not None
        assert provider.parse_probe is not None
        return self.ask(sender, lane, provider.build_probe(sender.account), provider.parse_probe)

    def ask(self, sender: Sender, lane: Lane, request: Request, read: Read) -> Asked:
        """Ask once on this lane; `read` says what the answer means.

        A lane that is over its limit closes, as it does for every request. Nothing else closes because of a question.
        Raises SQLAlchemy's errors if the ledger cannot be written before: then nothing left.
        """
        operation_id, began = new_id(), time.monotonic()
        gate = self._gates.of(lane)
        claim = self._enter(operation_id, lane)
        if isinstance(claim, Asked):
            return claim
        gate.claimed(claim)
        token = gate.acquire(claim, f"{self._process}:{threading.get_ident()}", 0, 1)
        if not token.rest:
            self._leave(operation_id, [])
            wait = max(token.closed_for, token.wait_rest)
            return Asked(NotSent(token.closed_reason or f"no room for {token.binds or 'now'}"), wait=wait)
        answer = self._send(sender, lane, gate, request, token, began)
        left_at = answer.exchange.guard.passed_at
        asked = Asked(_outcome(sender, answer, read), answer.response, answer.sent, duration=answer.duration)
        self._leave(operation_id, self._news(sender, lane, gate, token, asked, left_at), token, left_at)
        log.info(
            "probe",
            account=sender.name,
            lane=lane.name,
            outcome=OUTCOMES[type(asked.outcome)],
            http_status=answer.response.status if answer.response else None,
            duration_ms=round(answer.duration * 1000, 1),
        )
        return asked

    def _enter(self, operation_id: str, lane: Lane) -> Claim | Asked:
        """The row in the ledger; or why there is none."""
        with write(self._store.engine) as connection:
            state = connection.execute(self._statements.lane_state, {"lane": lane.name}).one_or_none()
            if state is None or state.fingerprint != lane.fingerprint:
                return Asked(NotSent(ANOTHER), wait=math.inf)
            waits = [state.key_wait] * bool(state.key_closed) + [state.lane_wait] * bool(state.lane_closed)
            if waits:
                return Asked(NotSent("lane closed"), wait=max(math.inf if wait is None else wait for wait in waits))
            connection.execute(
                insert(grant).values(
                    id=operation_id, key=lane.key, lane=lane.name, high=0, rest=1, created_at=now(),
                    lease_until=now() + lane.lease, closed=0,
                )
            )  # fmt: skip
        return Claim(operation_id, lane, state.nonce, refusals=state.refusals)

    def _send(self, sender: Sender, lane: Lane, gate: Gate, request: Request, token: Grant, began: float) -> Answer:
        limits = lane.limits
        guard = Guard(
            token_until=token.since + limits.token_life,
            token_life=limits.token_life,
            token_dead=token.since + limits.restamp_life,
            lease_until=began + lane.lease - sender.timeout - limits.token_life * 2,
            closed=gate.closed,
            stamp=lambda: gate.stamp(high=False),
        )
        answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        exchange = Exchange(request, guard, sender.timeout, sender.provider.connect_timeout)
        self._transport.send([exchange], answers.put)
        return answers.get()  # the transport answers for every request, at the latest when its time is up

    def _news(
        self, sender: Sender, lane: Lane, gate: Gate, token: Grant, asked: Asked, left_at: float | None
    ) -> list[LaneNews]:
        outcome, response = asked.outcome, asked.response
        if isinstance(outcome, Throttled | Unavailable) and response is not None and response.status in (429, 503):
            closure = decide(outcome, sender, Standing(refusals=gate.refusals(left_at))).closure
            return [] if closure is None else self._gates.shut(lane, closure, left_at)
        if token.probe and isinstance(outcome, Accepted | Refused) and (news := gate.worked()) is not None:
            return [news]
        return []

    def _leave(
        self, operation_id: str, news: list[LaneNews], token: Grant | None = None, left_at: float | None = None
    ) -> None:
        """Close the row. While that is not written its token counts as spent now: a stricter count, never a looser."""
        retrying = Retrying(
            retry=retry_if_exception_type(DBAPIError),
            wait=wait_random_exponential(multiplier=0.05, max=2),
            stop=stop_after_delay(WRITING),
            reraise=True,
        )
        try:
            retrying(self._close, operation_id, token, left_at)
            if news:
                retrying(self._store.cycle, Batch(news=news))
        except DBAPIError as error:
            log.warning("not_written", error=type(error).__name__)

    def _close(self, operation_id: str, token: Grant | None, left_at: float | None) -> None:
        moment = time.monotonic()
        granted = {"id": operation_id, "high": 0, "rest": int(token is not None)}
        granted["age"] = 0.0 if token is None else max(0.0, moment - token.since)
        with write(self._store.engine) as connection:
            connection.execute(self._statements.granted, {"rows": encode([granted])})
            if token is not None:
                # Written by number, not added to: repeated after a lost answer to the commit it is the same.
                age = 0.0 if left_at is None else max(0.0, moment - left_at)
                connection.execute(
                    grant.update().where(grant.c.id == operation_id).values(closed=1, last_at=now() - age)
                )


def probe_lane(sender: Sender, lanes: Mapping[str, Lane]) -> Lane | None:
    """The lane on which this account's provider is asked whether it can send; None if it has no such question."""
    provider = sender.provider
    if provider.probe_class is None or provider.build_probe is None or provider.parse_probe is None:
        return None
    return lanes.get(sender.lane_for(provider.probe_class))


def _outcome(sender: Sender, answer: Answer, read: Read) -> Outcome:
    if not answer.sent:
        withheld = answer.exchange.guard.withheld
        return NotSent("not connected", answer.error) if withheld is None else NotSent(withheld)
    if answer.response is None:
        return Unknown("no answer", answer.error)
    try:
        return unquoting(read(sender.account, answer.response), "{}", secrets_of(sender, answer.exchange.request))
    except Exception as bug:  # an answer that cannot be read is not the caller's to bear
        return Unknown(f"unreadable answer ({type(bug).__name__})")

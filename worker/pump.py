"""The pipeline. A slice takes the most overdue lane, claims what its limits allow, puts the requests on the wire,
records what happened, and goes to the next lane:

    due.take → store.cycle (records results, claims) → gate.acquire → delivery.build → transport.send
             → delivery.read → the gate closes or opens → the next cycle records it

A slice never waits on one lane. It ends when nothing is due and nothing of its own is on the wire.
"""

import math
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from uuid import uuid4

import structlog
from redis.exceptions import RedisError

from paceline.ids import new_id
from providers.base import Response
from worker import delivery as deliveries
from worker import kinds
from worker.delivery import Delivery
from worker.hooks.callbacks import NONE, Callbacks
from worker.in_hand import InHand
from worker.lanes.due import Due
from worker.lanes.gate import AWAY, Gate, Gates
from worker.lanes.slots import Slots
from worker.lanes.topology import Lane, Topology, Work
from worker.limits import Grant
from worker.store import Store
from worker.transport import Answer, Exchange, Guard, Transport
from worker.watch.telemetry import Telemetry
from worker.work import Batch, Claim, Claimed, Granted, JobResult, Order, Outbox, Result
from worker.writing import written

SLICE = 20.0  # seconds after which a slice claims nothing more
CADENCE = 0.02  # seconds in which answers gather before they are written
PATIENCE = 0.25  # the longest a slice with requests on the wire goes without looking for more work
NAP = 2.0  # the longest a slice sleeps while nothing is due
GLANCE = 0.005  # seconds between two looks at the due set, at the least
BATCH = 128  # the most messages of one claim
SLICES = 16  # the most slices of a process: a quarter of its threads, so that the pool is never full
WAKE_INTERVAL = 0.2  # seconds between two calls for one more slice

log = structlog.get_logger("paceline.pump")


class Pump:
    """What the slices of one process share. `wake` asks Celery for one more slice."""

    def __init__(
        self,
        topology: Topology,
        store: Store,
        gates: Gates,
        due: Due,
        transport: Transport,
        telemetry: Telemetry,
        *,
        in_flight: int,
        wake: Callable[[], None],
        callbacks: Callbacks = NONE,
        hand: InHand | None = None,
    ) -> None:
        self.topology = topology
        self.hand = hand or InHand(0)
        self.callbacks = callbacks
        self.store = store
        self.gates = gates
        self.due = due
        self.transport = transport
        self.telemetry = telemetry
        self.slots = Slots(in_flight, {lane.name: lane.address for lane in topology.lanes.values()})
        self.share = max(1, in_flight // 2)  # of the slots, what one slice may fill
        self.stopping = threading.Event()
        self.sleeper = threading.Lock()
        self._wake = wake
        self._woken_at = 0.0
        self._process = uuid4().hex
        self._places = threading.BoundedSemaphore(SLICES)

    def run_slice(self, seconds: float = SLICE) -> dict[str, int]:
        """Run one slice; counts of what it did. Returns at once if the process runs enough slices already."""
        if not self._places.acquire(blocking=False):
            return {}
        try:
            return Slice(self, f"{self._process}:{threading.get_ident()}", seconds).run()
        finally:
            self._places.release()

    @property
    def idle(self) -> bool:
        """True if this process could run one more slice."""
        if self._places.acquire(blocking=False):
            self._places.release()
            return not self.stopping.is_set()
        return False

    def wake_one_more(self) -> None:
        """Ask for another slice, because this one has its hands full; not more often than it takes one to start."""
        now = time.monotonic()
        if now - self._woken_at > WAKE_INTERVAL:
            self._woken_at = now
            try:
                self._wake()
            except Exception as error:  # the tick calls one
                log.warning("wake_up_lost", error=type(error).__name__)

    def stop(self) -> None:
        """Claim nothing more. Slices end once what is on the wire has been answered and written."""
        self.stopping.set()


class Slice:
    """One Celery task's worth of work, in one thread."""

    def __init__(self, pump: Pump, caller: str, seconds: float) -> None:
        self._pump = pump
        self._caller = caller
        self._ends_at = time.monotonic() + seconds
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._in_flight = 0
        self._outbox = Outbox()
        self._counts: Counter[str] = Counter()
        self._wait: float | None = 0.0  # seconds until the earliest lane is due, None if there is none
        self._steps: list[tuple[float, str]] = []  # when those that follow soon are due, and their lanes

    def run(self) -> dict[str, int]:
        """Work until time is up or nothing is left; then wait for what is on the wire, also after a bug of ours."""
        try:
            return self._work()
        except Exception:
            self._ends_at = -math.inf
            self._work()
            raise

    def _work(self) -> dict[str, int]:
        while True:
            self._gather()
            order = self._order()
            if order is not None or self._outbox.batch():
                self._cycle(order)
            elif not self._in_flight and not self._sleep():
                return dict(self._counts)

    def _claiming(self) -> bool:
        return not self._pump.stopping.is_set() and time.monotonic() < self._ends_at

    # Answers

    def _gather(self) -> None:
        """Read answers: wait for the first if anything is on the wire, then for those that follow close behind."""
        if not self._in_flight:
            return
        wait = 1.0
        if self._claiming() and self._in_flight < self._pump.share:
            wait = min(max(PATIENCE if self._wait is None else self._wait, CADENCE), PATIENCE)
        until = None
        while self._in_flight:
            try:
                answer = self._answers.get(timeout=wait)
            except queue.Empty:
                return
            try:
                self._read(answer)
            except Exception as bug:  # one answer that trips us must not take the others along; its lease settles it
                log.error("answer_lost", message_id=answer.exchange.token.message.id, error=type(bug).__name__)  # noqa: TRY400  # a traceback may quote an answer
            until = until or time.monotonic() + CADENCE
            wait = max(0.0, until - time.monotonic())

    def _read(self, answer: Answer) -> None:
        delivery: Delivery = answer.exchange.token
        pump, lane = self._pump, delivery.lane
        gate, passed_at = pump.gates.of(lane), answer.exchange.guard.passed_at
        self._in_flight -= 1
        pump.slots.release(lane.name)
        recovered = gate.succeeded_since(delivery.claimed_at)
        verdict = kinds.read(answer, recovered=recovered, refusals=gate.refusals)
        self._outbox.add(verdict.record)
        if verdict.closure is not None:
            self._outbox.news.extend(pump.gates.shut(lane, verdict.closure, passed_at))
            pump.telemetry.closed(lane, verdict.closure)
            self._file(lane, [verdict.closure.seconds])  # behind a probe it stood for as long as a request may take
        elif verdict.worked and (news := gate.worked()) is not None:
            self._outbox.news.append(news)
            self._file(lane, [0.0])
        if answer.response is not None and passed_at is not None:
            self._heed(gate, delivery, answer.response, passed_at)
        self._counts[verdict.outcome or "put_back"] += 1
        if verdict.outcome:
            pump.telemetry.attempt(delivery, answer, verdict)

    def _heed(self, gate: Gate, delivery: Delivery, response: Response, passed_at: float) -> None:
        try:
            left = delivery.sender.provider.remaining(delivery.sender.account, response)
        except Exception as bug:  # a header that cannot be read says nothing
            log.warning("unreadable_remaining", lane=delivery.lane.name, error=type(bug).__name__)
            return
        if left is not None:
            gate.heed(left, time.monotonic() - passed_at)

    # Claims

    def _order(self) -> Order | None:
        """The next lane with something to claim, and slots to send it through."""
        pump, room = self._pump, self._pump.share - self._in_flight
        while room > 0 and self._claiming():
            try:
                found = pump.due.take(pump.slots.crowded())
                self._wait = found.wait
                if found.lane is None:
                    return None
                gate = pump.gates.get(found.lane)
                if gate is None or not gate.lane.busy:
                    continue  # an account that is not in this worker's configuration
                budget = gate.budget()
                if not budget.high and not budget.rest:
                    pump.due.file({found.lane: max(budget.wait, CADENCE)})
                    continue
                wanted = min(max(budget.high, budget.rest), room, BATCH)
                total, rest = pump.slots.reserve(found.lane, wanted, others=found.others)
                if total:
                    return Order(new_id(), gate.lane, min(budget.high, total), min(budget.rest, rest), total)
                pump.due.file({found.lane: CADENCE})
                return None
            except RedisError:
                self._wait = AWAY  # the tick files again what was in hand
                return None
        return None

    def _cycle(self, order: Order | None) -> None:
        """Write what happened and claim what comes next, however long the database takes; then send."""
        batch, self._outbox = self._outbox.batch(), Outbox()
        claimed_at = time.monotonic()
        sent = self._in_flight
        try:
            if order is not None:
                self._pump.hand.claiming(order.operation_id)
            claim = written(self._pump.store, batch, order)
            self._put_down(batch)
            self._file_steps(batch.jobs, claimed_at)
            self._pump.telemetry.flush()
            if claim is not None:
                self._deliver(claim, claimed_at)
        finally:
            if order is not None:
                self._pump.slots.release(order.lane.name, order.total - (self._in_flight - sent))

    def _put_down(self, batch: Batch) -> None:
        """What was put back, or ended without a request, is in hand until the database knows."""
        stored: tuple[Result | JobResult, ...] = (*batch.results, *batch.jobs)
        for record in stored:
            self._pump.hand.let_go(record.grant_id, record.id)

    def _deliver(self, claim: Claim, claimed_at: float) -> None:
        """Take tokens for what was claimed, send what got one, put back the rest, file the lane."""
        pump, lane = self._pump, claim.lane
        gate = pump.gates.of(lane)
        gate.claimed(claim)
        pump.hand.claimed(claim.operation_id, [item.id for item in claim.messages if item.work is not Work.POLL])
        if claim.closed:
            self._file(lane, [claim.closed_for])
            return
        waiting = [self._delivery(claim, message, claimed_at) for message in claim.messages]
        waiting = [delivery for delivery in waiting if not self._ended(delivery)]
        high = sum(delivery.message.high for delivery in waiting)
        grant = gate.acquire(claim, self._caller, high, len(waiting) - high) if waiting else None
        if grant is not None:
            since = grant.since if grant.high or grant.rest else claimed_at
            self._outbox.granted.append(Granted(claim.operation_id, grant.high, grant.rest, since))
        going, staying = _split(waiting, grant)
        # First, so that another slice may claim while this one builds requests.
        self._file_again(claim, grant, going, staying)
        for delivery in staying:
            self._outbox.add(kinds.put_back(delivery))
        exchanges = [exchange for delivery in going if (exchange := self._exchange(delivery, grant)) is not None]
        self._in_flight += len(exchanges)
        pump.transport.send(exchanges, self._answers.put)

    def _delivery(self, claim: Claim, message: Claimed, claimed_at: float) -> Delivery:
        sender = claim.lane.sender(message.work, message.via)
        return Delivery(claim.operation_id, claim.lane, sender, message, claimed_at)

    def _ended(self, delivery: Delivery) -> bool:
        """True if it ends here, without a request and without a token."""
        record = kinds.ended(delivery)
        if record is not None:
            self._outbox.add(record)
        return record is not None

    def _exchange(self, delivery: Delivery, grant: Grant | None) -> Exchange | None:
        """The guarded request; None, and the message failed, if none can be made of its row."""
        assert grant is not None
        try:
            request = kinds.build(delivery, self._pump.callbacks)
        except Exception as error:  # one poisoned row must fail alone
            self._outbox.add(kinds.unbuildable(delivery, error))
            return None
        lane, gate = delivery.lane, self._pump.gates.of(delivery.lane)
        needed = delivery.sender.timeout + lane.limits.token_life * 2
        guard = Guard(
            token_until=grant.since + lane.limits.token_life,
            token_life=lane.limits.token_life,
            token_dead=grant.since + lane.limits.restamp_life,
            lease_until=delivery.claimed_at + lane.lease - needed,
            closed=gate.closed,
            stamp=lambda: gate.stamp(high=delivery.message.high),
            leaving=lambda: self._pump.hand.let_go(delivery.grant_id, delivery.message.id),
        )
        return deliveries.exchange(delivery, request, guard)

    # The due set

    def _file_steps(self, steps: Sequence[JobResult], looked_at: float) -> None:
        """File lanes for the steps of jobs that follow soon, and once more after each look: the set keeps the earliest
        time of a lane alone, and whoever takes the lane then finds nothing of what is due a moment later. What falls
        due while somebody looks, from `looked_at` on, may not have been seen.

        What comes later the tick finds: a lane that is filed for it would let new messages wait as long.
        """
        now = time.monotonic()
        self._steps = [(at, lane) for at, lane in self._steps if at > looked_at]
        for step in steps:
            if step.due_in is not None and step.due_in <= NAP:
                self._steps.append((now + step.due_in, step.lane))
        for at, lane in self._steps:
            self._file(self._pump.topology.lanes[lane], [max(0.0, at - now)])

    def _file_again(self, claim: Claim, grant: Grant | None, going: list[Delivery], staying: list[Delivery]) -> None:
        """File the lane under the earliest time of what still waits on it; one that is empty is not filed."""
        more_high = claim.more_high or any(delivery.message.high for delivery in staying)
        more_rest = claim.more_rest or any(not delivery.message.high for delivery in staying)
        waits: list[float | None] = []
        if more_high:
            waits.append(grant.wait_high if grant else PATIENCE)
        if more_rest:
            waits.append(grant.wait_rest if grant else PATIENCE)  # it had no slots
        if waits:
            self._file(claim.lane, waits)
            if self._in_flight + len(going) >= self._pump.share:
                self._pump.wake_one_more()

    def _file(self, lane: Lane, waits: list[float | None]) -> None:
        """File a lane under the least of these; None and infinity stand for ever, which is nobody's business here."""
        least = min((wait for wait in waits if wait is not None), default=float("inf"))
        if least < float("inf"):
            try:
                self._pump.due.file({lane.name: least})
            except RedisError:
                self._wait = AWAY  # the tick files it

    def _sleep(self) -> bool:
        """Wait for the earliest lane, if that is soon; False if this slice should end."""
        pump = self._pump
        if not self._claiming() or not pump.sleeper.acquire(blocking=False):
            return False
        try:
            pump.due.lower_flags()
            last = pump.due.peek()
            if last.wait is None or last.wait > NAP:
                return False
            # What is due at once may be a lane that holds its share; and another lane may be filed for an earlier time.
            pump.stopping.wait(min(max(last.wait, GLANCE), PATIENCE))
            return True
        except RedisError:
            return False
        finally:
            pump.sleeper.release()


def _split(waiting: list[Delivery], grant: Grant | None) -> tuple[list[Delivery], list[Delivery]]:
    """Those that got a token, the oldest first, and those that did not."""
    going: list[Delivery] = []
    staying: list[Delivery] = []
    left = {True: grant.high if grant else 0, False: grant.rest if grant else 0}
    for delivery in waiting:
        if left[delivery.message.high] > 0:
            left[delivery.message.high] -= 1
            going.append(delivery)
        else:
            staying.append(delivery)
    return going, staying

"""What the pump tells the world: one wide log line an attempt, the messages' rows in Flower, and counts for metrics.

Ids in the first two, not even these in the last; content nowhere.
"""

import time
from typing import Protocol

import structlog

from worker.delivery import Delivery, Verdict
from worker.lanes.topology import Lane
from worker.retry import Closure
from worker.transport import Answer
from worker.watch.counters import SharedTally
from worker.work import JobResult, Result

log = structlog.get_logger("paceline.attempt")


class Rows(Protocol):
    """Where messages are shown."""

    def add(
        self,
        message_id: str,
        lane: str,
        outcome: str,
        *,
        attempt: int,
        started_at: float,
        runtime: float,
        final: str,
        http_status: int | None = None,
    ) -> None:
        """Note an attempt; `final` is the status that the message has now."""
        ...

    def flush(self) -> None:
        """Publish what was noted."""
        ...

    def close(self) -> None:
        """Let the connection go."""
        ...


class Telemetry:
    """Tells of attempts and closings. `rows` is Flower's, None where nobody watches; `tally` is for metrics."""

    def __init__(self, rows: Rows | None = None, tally: SharedTally | None = None) -> None:
        self._rows = rows
        self._tally = tally

    def attempt(self, delivery: Delivery, answer: Answer, verdict: Verdict) -> None:
        """An attempt, or a question, has ended."""
        record, message = verdict.record, delivery.message
        status = answer.response.status if answer.response else None
        self._count(delivery, answer, verdict)
        if isinstance(record, JobResult):
            log.info(
                "job",
                job_id=message.id,
                account=delivery.sender.name,
                lane=delivery.lane.name,
                operation=message.operation,
                step=message.step,
                attempt=message.attempt,
                outcome=verdict.outcome,
                status=record.status,
                http_status=status,
                error=answer.error,
                duration_ms=round(answer.duration * 1000, 1),
            )
            return
        if not isinstance(record, Result):
            log.info(
                "poll",
                message_id=message.id,
                account=delivery.sender.name,
                lane=delivery.lane.name,
                outcome=verdict.outcome,
                status=record.status,
                http_status=status,
                duration_ms=round(answer.duration * 1000, 1),
            )
            return
        log.info(
            "attempt",
            message_id=message.id,
            account=delivery.sender.name,
            lane=delivery.lane.name,
            attempt=message.attempt,
            outcome=verdict.outcome,
            status=record.status,
            http_status=status,
            code=record.code,
            error=answer.error,
            request_id=record.request_id,
            duration_ms=record.duration_ms,
        )
        if self._rows is not None:
            self._rows.add(
                message.id,
                delivery.lane.name,
                verdict.outcome,
                attempt=message.attempt,
                started_at=time.time() - answer.duration,
                runtime=answer.duration,
                final=record.status,
                http_status=status,
            )

    def _count(self, delivery: Delivery, answer: Answer, verdict: Verdict) -> None:
        if self._tally is not None:
            self._tally.add("requests", delivery.lane.name, delivery.sender.name, verdict.outcome)
            if answer.sent and isinstance(verdict.record, Result) and delivery.message.unresolved:
                self._tally.add("repeats", delivery.lane.name, delivery.sender.name)
            if answer.sent:
                self._tally.observe("request", answer.duration, delivery.lane.name)

    def closed(self, lane: Lane, closure: Closure) -> None:
        """A lane or key has closed."""
        if self._tally is not None:
            self._tally.add("closures", lane.name, str(closure.reach), _ends(closure))
        log.warning("closed", lane=lane.name, reach=str(closure.reach), seconds=closure.seconds, reason=closure.reason)

    def flush(self) -> None:
        """Publish what gathered."""
        if self._rows is not None:
            self._rows.flush()
        if self._tally is not None:
            self._tally.flush()

    def close(self) -> None:
        """Let the connections go."""
        if self._rows is not None:
            self._rows.close()


def _ends(closure: Closure) -> str:
    """What ends it, in a metric's word."""
    if closure.seconds is not None:
        return "probe" if closure.probe else "date"
    return "ready" if closure.unready else "operator"

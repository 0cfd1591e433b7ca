"""Cycles that are written however long the database takes, and whatever a single result holds."""

from collections.abc import Callable, Iterator

import structlog
from sqlalchemy.exc import InterfaceError, InternalError, NotSupportedError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from tenacity import Retrying, retry_if_exception_type, wait_random_exponential

from worker.store import Store
from worker.work import Batch, Claim, Order

# What says something of the database, or of its connection, and nothing of what was to be written.
DATABASE_AWAY = (OperationalError, InterfaceError, InternalError, ProgrammingError, NotSupportedError, PoolTimeout)

log = structlog.get_logger("paceline.pump")


def written(store: Store, batch: Batch, order: Order | None) -> Claim | None:
    """Run a cycle until the database has it: a result that is not written is a message that may be sent twice.

    Where it refuses what is to be written, each result is written by itself, so that one that no column takes stands
    in no other's way; the lease of that one settles it. Raises whatever keeps the order alone from being claimed.
    """
    try:
        return _patiently(lambda repeated: store.cycle(batch, order, repeated=repeated))
    except Exception as refused:
        if not batch:
            raise
        log.error("batch_refused", error=_name(refused))  # noqa: TRY400  # its text may quote what was to be written
    for record_id, part in _parts(batch):
        try:
            _patiently(lambda repeated, part=part: store.cycle(part, repeated=repeated))  # type: ignore[misc]
        except Exception as refused:
            log.error("result_refused", id=record_id, error=_name(refused))  # noqa: TRY400  # as above
    # The order may have been committed unheard, in an earlier try of the whole.
    return None if order is None else _patiently(lambda _repeated: store.cycle(Batch(), order, repeated=True))


def _patiently(cycle: Callable[[bool], Claim | None]) -> Claim | None:
    retrying = Retrying(
        retry=retry_if_exception_type(DATABASE_AWAY), wait=wait_random_exponential(multiplier=0.05, max=5)
    )
    for attempt in retrying:
        with attempt:
            return cycle(attempt.retry_state.attempt_number > 1)
    raise AssertionError("tenacity ends with a result or an exception")


def _parts(batch: Batch) -> Iterator[tuple[str, Batch]]:
    """The batch, one record at a time, each with its id: first what closes lanes, then the ledger, then results."""
    for news in batch.news:
        yield news.lane, Batch(news=(news,))
    for granted in batch.granted:
        yield granted.id, Batch(granted=(granted,))
    for result in batch.results:
        yield result.id, Batch(results=(result,))
    for poll in batch.polls:
        yield poll.id, Batch(polls=(poll,))
    for job in batch.jobs:
        yield job.id, Batch(jobs=(job,))


def _name(error: Exception) -> str:
    return type(getattr(error, "orig", None) or error).__name__

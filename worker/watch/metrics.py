"""GET /metrics for Prometheus, on an address of its own: what the database, the broker and this process know.

Labels are accounts, lanes and words of ours: never a message's id, a recipient, a provider's code or a reason. A scrape
asks the broker first and then the database, each in one thread and for a few seconds at most. What does not answer is
said by `paceline_part_up`, and its other series are missing until it does: a missing number is honest, a zero is not.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import structlog
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from paceline import tables, wire
from paceline.clock import now
from paceline.database import read
from worker.lanes.topology import Topology
from worker.limits import Levels, Limiter, Unseeded
from worker.watch.counters import BOUNDS, CYCLES, LAST_CYCLE, Counts, read_counters
from worker.watch.lanes import LaneView, lane_views

MOST = 20_000  # messages that are counted of each lane, so that a scrape costs the same at any backlog
BROKER_PATIENCE = 2.0  # seconds; with the database's less than the ten after which Prometheus gives up
DATABASE_PATIENCE = 5.0

_LANE = ("lane",)
# Every series there is: its name, labels and meaning.
HELP: Mapping[str, tuple[tuple[str, ...], str]] = {
    "paceline_part_up": (("part",), "1 if the part (database, broker) answered this scrape, else 0."),
    "paceline_lane_open": (_LANE, "1 if requests may leave through the lane, 0 while it or its key is closed."),
    "paceline_lane_backlog": (_LANE, f"Messages or questions that could leave now, counted up to {MOST}."),
    "paceline_lane_oldest_seconds": (_LANE, "Seconds that the oldest of these has waited, 0 if nothing waits."),
    "paceline_lane_jobs": (_LANE, f"Jobs whose next step could leave now, counted up to {MOST}."),
    "paceline_lane_in_flight": (_LANE, "Requests without an outcome yet."),
    "paceline_lane_unknown": (
        _LANE,
        "Messages and jobs of which nobody knows what became, and which wait for a verdict.",
    ),
    "paceline_lane_tokens": (("lane", "limit"), "Tokens left of a limit, those kept for priority high included."),
    "paceline_lane_tokens_reserved": (("lane", "limit"), "Of these, tokens that only priority high may use."),
    "paceline_requests_total": (
        ("lane", "account", "outcome"),
        "Requests that ended, by outcome: accepted, reported (of a poll), refused, throttled, unavailable, unknown, …",
    ),
    "paceline_repeats_total": (
        ("lane", "account"),
        "Sends that left although an earlier one may have been accepted: it is recognised, or on_unknown says so.",
    ),
    "paceline_request_seconds": (_LANE, "Seconds from connecting to the last byte of the answer."),
    "paceline_closures_total": (
        ("lane", "reach", "until"),
        "Closings of the lane or its key (reach), until a date, a probe gets through, it is ready or an operator acts.",
    ),
    "paceline_pump_cycles_total": ((), "Transactions in which slices wrote results and claimed."),
    "paceline_pump_last_cycle_timestamp_seconds": ((), "When a slice last did so, in Unix seconds of its host."),
    "paceline_pump_overdue_seconds": ((), "Seconds since the most overdue lane could have gone, 0 if none is due."),
    "paceline_queue_length": (("queue",), "Celery tasks that wait: wake-ups (high, pump), ticks (system), enqueue."),
    "paceline_events_untold": ((), "Events of which the application's task was not told yet, 0 if there is none."),
    "paceline_webhooks_parked": ((), f"Webhooks whose message is not known yet, counted up to {MOST}."),
    "paceline_webhooks_total": (
        ("account", "outcome"),
        "Webhooks that this process answered, by outcome: stored, refused, failed (our own trouble), gone, …",
    ),
    "paceline_webhook_seconds": ((), "Seconds until this process answered a webhook."),
}

T = TypeVar("T")

log = structlog.get_logger("paceline.metrics")

relay_row = tables.columns(tables.Relay)
webhook_row = tables.columns(tables.Webhook)


@dataclass(frozen=True, slots=True)
class BrokerView:
    """What the broker knows. Durations in seconds."""

    counts: Counts
    overdue: float
    queues: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class DatabaseView:
    """What the database knows, and tokens as the limiter has them. `now` is its clock, in Unix seconds."""

    lanes: list[LaneView]
    now: float
    parked: int
    untold: int


class Source(Generic[T]):
    """A look that is taken by one thread at most: whoever asks meanwhile waits for the same answer."""

    def __init__(self, name: str, patience: float, failures: tuple[type[Exception], ...]) -> None:
        self._name = name
        self._patience = patience
        self._failures = failures
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"metrics-{name}")
        self._asked: Future[T | None] | None = None

    async def ask(self, look: Callable[[], T]) -> T | None:
        """What it answers; None if it fails or is silent for too long."""
        if self._asked is None or self._asked.done():
            self._asked = self._pool.submit(self._try, look)
        answer = asyncio.wrap_future(self._asked)
        await asyncio.wait({answer}, timeout=self._patience)
        return answer.result() if answer.done() else None

    def close(self) -> None:
        """Ask no more."""
        self._pool.shutdown(wait=False)

    def _try(self, look: Callable[[], T]) -> T | None:
        try:
            return look()
        except self._failures as error:
            log.warning("away", part=self._name, error=type(error).__name__)
            return None


class Metrics:
    """What a scrape shows. `own` answers what this process itself has counted."""

    def __init__(
        self, engine: Engine, redis: Redis, installation: str, topology: Topology, own: Callable[[], Counts]
    ) -> None:
        self._engine = engine
        self._redis = redis
        self._installation = installation
        self._topology = topology
        self._own = own
        self._limiter = Limiter(redis, wire.limiter_prefix(installation))
        self._broker: Source[BrokerView] = Source("broker", BROKER_PATIENCE, (RedisError,))
        self._database: Source[DatabaseView] = Source("database", DATABASE_PATIENCE, (SQLAlchemyError,))

    async def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        broker = await self._broker.ask(self._ask_broker)
        limiter = self._limiter if broker is not None else _Away()
        database = await self._database.ask(lambda: self._ask_database(limiter))
        return generate_latest(_Shown(list(families(broker, database, self._own(), self._topology))))

    def close(self) -> None:
        """Let go of the broker, and ask nobody any more."""
        for source in (self._broker, self._database):
            source.close()
        self._redis.close()

    def _ask_broker(self) -> BrokerView:
        redis, name = self._redis, self._installation
        queues = {
            "high": wire.high_queue(name), "pump": wire.pump_queue(name), "system": wire.system_queue(name),
            "enqueue": wire.ENQUEUE_QUEUE,
        }  # fmt: skip
        first = cast("list[tuple[bytes, float]]", redis.zrange(wire.due_key(name), 0, 0, withscores=True))
        seconds, micro = redis.time()
        overdue = seconds + micro / 1e6 - first[0][1] if first else 0.0
        lengths = {word: int(redis.llen(queue)) for word, queue in queues.items()}
        return BrokerView(read_counters(redis, name), max(0.0, overdue), lengths)

    def _ask_database(self, limiter: Limiter) -> DatabaseView:
        waiting = select(webhook_row.c.id).where(webhook_row.c.match_at.is_not(None)).limit(MOST).subquery()
        with read(self._engine) as connection:
            at: float = connection.execute(select(now())).scalar_one()
            parked = connection.scalar(select(func.count()).select_from(waiting))
            untold = connection.scalar(select(relay_row.c.assigned - relay_row.c.published))
        return DatabaseView(lane_views(self._engine, limiter, self._topology, MOST), at, parked or 0, untold or 0)


class _Away(Limiter):
    """Answers for a limiter that does not: asking each lane's would take the time of all of them."""

    def __init__(self) -> None:
        """It needs no Redis."""

    def levels(self, *_: object, **__: object) -> Levels | Unseeded:
        """Nobody knows."""
        return Unseeded()


class _Shown(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def families(
    broker: BrokerView | None, database: DatabaseView | None, own: Counts, topology: Topology
) -> Iterator[Metric]:
    """All series of one scrape; those of a part that did not answer are missing."""
    up = {"broker": broker is not None, "database": database is not None}
    yield _gauge("paceline_part_up", {(part,): float(well) for part, well in up.items()})
    if database is not None:
        yield from _of_lanes(database.lanes, database.now)
        yield _gauge("paceline_webhooks_parked", {(): database.parked})
        yield _gauge("paceline_events_untold", {(): database.untold})
    if broker is not None:
        known = {name: count for name, count in broker.counts.items() if _known(name, topology)}
        yield _counter("paceline_requests_total", known, "requests")
        yield _counter("paceline_repeats_total", known, "repeats")
        yield _counter("paceline_closures_total", known, "closures")
        yield _histogram("paceline_request_seconds", known, "request")
        yield _counter("paceline_pump_cycles_total", known, CYCLES)
        last = broker.counts.get((LAST_CYCLE,))
        yield _gauge("paceline_pump_last_cycle_timestamp_seconds", {} if last is None else {(): last / 1000})
        yield _gauge("paceline_pump_overdue_seconds", {(): broker.overdue})
        yield _gauge("paceline_queue_length", {(word,): length for word, length in broker.queues.items()})
    yield _counter("paceline_webhooks_total", own, "webhooks")
    yield _histogram("paceline_webhook_seconds", own, "webhook")


def _of_lanes(views: Iterable[LaneView], at: float) -> Iterator[Metric]:
    lanes = {(view.lane,): view for view in views}
    limits = {(name, limit.limit): limit for (name,), view in lanes.items() for limit in view.limits}
    yield _gauge("paceline_lane_open", {name: float(view.open) for name, view in lanes.items()})
    yield _gauge("paceline_lane_backlog", {name: view.backlog for name, view in lanes.items()})
    waited = {name: 0.0 if view.oldest_at is None else at - view.oldest_at for name, view in lanes.items()}
    yield _gauge("paceline_lane_oldest_seconds", {name: max(0.0, age) for name, age in waited.items()})
    yield _gauge("paceline_lane_jobs", {name: view.jobs for name, view in lanes.items()})
    yield _gauge("paceline_lane_in_flight", {name: view.in_flight for name, view in lanes.items()})
    yield _gauge("paceline_lane_unknown", {name: view.unknown for name, view in lanes.items()})
    tokens = {name: it.left for name, it in limits.items() if it.left is not None}
    yield _gauge("paceline_lane_tokens", tokens)
    reserved = {name: it.reserved for name, it in limits.items() if it.reserved is not None}
    yield _gauge("paceline_lane_tokens_reserved", reserved)


def _known(name: tuple[str, ...], topology: Topology) -> bool:
    """Whether it is counted of a lane that there still is: Redis remembers those of other configurations."""
    return len(name) < 2 or name[1] in topology.lanes


def _gauge(name: str, values: Mapping[Any, float]) -> Metric:
    """`values` by labels."""
    labels, meaning = HELP[name]
    family = GaugeMetricFamily(name, meaning, labels=labels)
    for given, value in values.items():
        family.add_metric(given, value)
    return family


def _counter(name: str, counts: Counts, counted: str) -> Metric:
    labels, meaning = HELP[name]
    family = CounterMetricFamily(name, meaning, labels=labels)
    for (first, *given), count in sorted(counts.items()):
        if first == counted and len(given) == len(labels):
            family.add_metric(given, count)
    return family


def _histogram(name: str, counts: Counts, counted: str) -> Metric:
    labels, meaning = HELP[name]
    family = HistogramMetricFamily(name, meaning, labels=labels)
    for (first, *given), total in sorted(counts.items()):
        if first != f"{counted}_us":
            continue
        so_far, buckets = 0, []
        for number, bound in enumerate((*map(str, BOUNDS), "+Inf")):
            so_far += counts.get((f"{counted}_bucket", *given, str(number)), 0)
            buckets.append((bound, float(so_far)))
        family.add_metric(given, buckets, total / 1e6)
    return family

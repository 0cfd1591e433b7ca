"""Everything one worker process runs with, put together from values: the composition root calls this once."""

import contextlib
import functools
import threading
from collections.abc import Callable
from pathlib import Path

import structlog
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine

from paceline import Client, wire
from paceline.database import read
from worker.broadcasts.tick import Broadcasts
from worker.downloads import Downloads
from worker.hooks.callbacks import NONE, Callbacks
from worker.in_hand import InHand
from worker.lanes.backlog import waiting_lanes
from worker.lanes.due import Due
from worker.lanes.gate import Gates
from worker.lanes.readiness import Readiness
from worker.lanes.topology import Topology
from worker.ledger import Ledger
from worker.limits import Limiter
from worker.notify import Relay
from worker.probe import Prober
from worker.pump import NAP, SLICES, Pump
from worker.retention import Retention
from worker.routing import Routing
from worker.store import Store
from worker.sweep import Sweeper
from worker.transport import Transport
from worker.watch.counters import SharedTally
from worker.watch.telemetry import Rows, Telemetry

PURGE_FLAG_MS = 3_600_000  # another beat's purge within the hour is one too many
TICK_FLAG_MS = 500  # another beat's tick within half a second is one too many

log = structlog.get_logger("paceline.service")

Chore = Callable[["Service"], dict[str, int]]


def one_at_a_time(chore: Chore) -> Chore:
    """In each process. What is called every second would pile up where it takes longer, until it has every thread and
    nothing is left for messages."""

    @functools.wraps(chore)
    def called(service: "Service") -> dict[str, int]:
        if not service.chores[chore.__name__].acquire(blocking=False):
            return {}
        try:
            return chore(service)
        finally:
            service.chores[chore.__name__].release()

    return called


class Service:
    """The rooms of one process, and the work that its Celery tasks call."""

    def __init__(
        self,
        engine: Engine,
        redis: Redis,
        installation: str,
        topology: Topology,
        *,
        in_flight: int,
        client: Client,
        wake: Callable[[], None],
        rows: Rows | None = None,
        verify: str | bool = True,
        relay: Relay | None = None,
        retention: Retention | None = None,
        callbacks: Callbacks = NONE,
        downloads: Downloads | None = None,
        in_hand: Path | None = None,
    ) -> None:
        self.engine = engine
        self.client = client
        self.topology = topology
        self.redis = redis
        self.limiter = Limiter(redis, wire.limiter_prefix(installation))
        self.ledger = Ledger(engine, self.limiter, topology)
        self.due = Due(redis, installation)
        self.downloads = downloads
        self.transport = Transport(verify, downloads)
        self.hand = _hand(in_flight * SLICES, in_hand)
        self.sweeper = Sweeper(engine, topology, in_hand)
        self.relay = relay or Relay(engine)
        self.broadcasts = Broadcasts(engine, self._wake_via)
        self.retention = retention
        self.routing = Routing(engine, self.limiter, topology)
        store, gates = Store(engine, self.hand.process), Gates(topology, self.limiter, self.ledger)
        self.readiness = Readiness(engine, topology, Prober(store, gates, self.transport))
        self.pump = Pump(
            topology,
            store,
            gates,
            self.due,
            self.transport,
            Telemetry(rows, SharedTally(redis, installation)),
            in_flight=in_flight,
            wake=wake,
            callbacks=callbacks,
            hand=self.hand,
        )
        self._wake = wake
        self.chores = {name: threading.Lock() for name in ("tick", "sweep", "broadcast", "purge")}
        self._tick_key = wire.tick_key(installation)
        self._purge_key = wire.purge_key(installation)

    @one_at_a_time
    def tick(self) -> dict[str, int]:
        """Stage what is due, file again what Redis forgot, call a slice if there is work for one; tell of events."""
        if not self._first(self._tick_key, TICK_FLAG_MS):
            return {}
        staged = self.sweeper.stage_due()
        self.routing.look()
        self.broadcasts.steer()
        with read(self.engine) as connection:
            waiting = waiting_lanes(connection, self.topology)
        self.due.refill(waiting.lanes)
        self.due.file(dict.fromkeys(waiting.urgent, 0.0))
        earliest = self.due.peek().wait
        if earliest is not None and earliest < NAP / 2 and self.pump.idle:
            self._wake()
        published = self.relay.run()
        return {"staged": staged, "lanes": len(waiting.lanes), "published": published}

    def _first(self, flag: str, lasts_ms: int) -> bool:
        """True if nobody has raised this flag in so many milliseconds; it is raised then."""
        if self.redis.set(flag, "1", nx=True, px=lasts_ms):
            return True
        # Where the server's clock was turned back, the flag would stand for as long as it was turned by.
        stale = self.redis.pttl(flag) > lasts_ms
        if stale:
            self.redis.set(flag, "1", px=lasts_ms)
        return stale

    def _wake_via(self, via: str) -> None:
        """File the lanes of an account or a route: something on them may go now."""
        senders = [
            self.topology.senders[name]
            for name in self.topology.routes.get(via, (via,))
            if name in self.topology.senders
        ]
        with contextlib.suppress(RedisError):  # the next tick files them
            self.due.file(dict.fromkeys([sender.lane for sender in senders], 0.0))
            self._wake()

    @one_at_a_time
    def sweep(self) -> dict[str, int]:
        """What time does to messages."""
        sweeper = self.sweeper
        return {
            "leases_ended": sweeper.end_leases(),
            "expired": sweeper.expire(),
            "given_up": sweeper.give_up(),
            "parked": sweeper.match_parked(),
            "ready": self.readiness.ask(),  # last: it may wait for answers
        }

    @one_at_a_time
    def broadcast(self) -> dict[str, int]:
        """What takes long of broadcasts."""
        return self.broadcasts.work()

    @one_at_a_time
    def purge(self) -> dict[str, int]:
        """Forget what is old; nothing if another worker does, or did just now. A shutdown ends it early."""
        if self.retention is None or not self._first(self._purge_key, PURGE_FLAG_MS):
            return {}
        if self.downloads is not None:
            self.downloads.forget()
        counts = self.retention.purge(self.pump.stopping)
        log.info("purged", **counts, stopped=self.pump.stopping.is_set())
        return counts

    def close(self) -> None:
        """Claim nothing more and let the wire go, once the slices have ended."""
        self.pump.stop()
        self.transport.close()
        self.pump.telemetry.close()
        self.relay.close()
        self.client.close()
        self.hand.close()


def _hand(capacity: int, directory: Path | None) -> InHand:
    """What this process has in hand; it can do without a file: then more is unknown after its death."""
    try:
        return InHand(capacity, directory)
    except OSError as error:
        remedy = "let in_hand in [worker] name a directory that can be written to"
        log.warning("no_file_of_what_is_in_hand", error=type(error).__name__, remedy=remedy)
        return InHand(0)

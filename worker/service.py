"""Everything one worker process runs with, put together from values: the composition root calls this once."""

from collections.abc import Callable

from redis import Redis
from sqlalchemy import Engine

from paceline import Client, wire
from paceline.database import read
from worker.backlog import waiting_lanes
from worker.due import Due
from worker.gate import Gates
from worker.ledger import Ledger
from worker.limits import Limiter
from worker.notify import Relay
from worker.pump import NAP, Pump
from worker.store import Store
from worker.sweep import Sweeper
from worker.telemetry import Rows, Telemetry
from worker.topology import Topology
from worker.transport import Transport

TICK_FLAG_MS = 500  # another beat's tick within half a second is one too many


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
    ) -> None:
        self.engine = engine
        self.client = client
        self.topology = topology
        self.redis = redis
        self.limiter = Limiter(redis, wire.limiter_prefix(installation))
        self.ledger = Ledger(engine, self.limiter, topology)
        self.due = Due(redis, installation)
        self.transport = Transport(verify)
        self.sweeper = Sweeper(engine, topology)
        self.relay = relay or Relay(engine)
        self.pump = Pump(
            topology,
            Store(engine),
            Gates(topology, self.limiter, self.ledger),
            self.due,
            self.transport,
            Telemetry(rows),
            in_flight=in_flight,
            wake=wake,
        )
        self._wake = wake
        self._tick_key = wire.tick_key(installation)

    def tick(self) -> dict[str, int]:
        """Stage what is due, file again what Redis forgot, call a slice if there is work for one; tell of events."""
        if not self.redis.set(self._tick_key, "1", nx=True, px=TICK_FLAG_MS):
            return {}
        staged = self.sweeper.stage_due()
        with read(self.engine) as connection:
            waiting = waiting_lanes(connection, self.topology)
        self.due.refill(waiting.lanes)
        self.due.file(dict.fromkeys(waiting.urgent, 0.0))
        earliest = self.due.peek().wait
        if earliest is not None and earliest < NAP / 2 and self.pump.idle:
            self._wake()
        published = self.relay.run()
        return {"staged": staged, "lanes": len(waiting.lanes), "published": published}

    def sweep(self) -> dict[str, int]:
        """What time does to messages."""
        sweeper = self.sweeper
        return {
            "leases_ended": sweeper.end_leases(),
            "expired": sweeper.expire(),
            "given_up": sweeper.give_up(),
            "parked": sweeper.match_parked(),
        }

    def close(self) -> None:
        """Claim nothing more and let the wire go, once the slices have ended."""
        self.pump.stop()
        self.transport.close()
        self.pump.telemetry.close()
        self.relay.close()
        self.client.close()

"""Lanes whose provider has said that it cannot send for now: it is asked, ever more rarely, until it says that it can.

The question is the provider's own probe, on its own class of endpoint, with a ledger row and a token like every
request; no message is risked for it. When it is due stands in the lane's row, so that it outlives whoever would ask.
"""

import structlog
from sqlalchemy import Connection, Engine, bindparam, or_, select, update

from paceline.clock import now
from paceline.database import write
from providers.base import Accepted
from worker.delivery import OUTCOMES
from worker.lanes.topology import Lane, Topology
from worker.probe import Prober, probe_lane
from worker.retry import next_question
from worker.statements import key_row, lane_row

log = structlog.get_logger("paceline.readiness")

_DUE = (
    select(lane_row.c.name, lane_row.c.asked)
    .join(key_row, key_row.c.name == lane_row.c.key)
    .where(lane_row.c.unready.is_not(None), lane_row.c.ask_at <= now())
    .where(lane_row.c.name.in_(bindparam("lanes", expanding=True)))
    # Of a closed key nothing is asked: its credential may be refused, and each try makes that worse.
    .where(or_(key_row.c.closed_reason.is_(None), key_row.c.closed_until <= now()))
    .order_by(lane_row.c.ask_at)
    .limit(1)
    .with_for_update(skip_locked=True, of=lane_row)
)


class Readiness:
    """Asks. Safe to run anywhere, any number of times at once: who takes a question has moved the next one on."""

    def __init__(self, engine: Engine, topology: Topology, prober: Prober) -> None:
        self._engine = engine
        self._topology = topology
        self._prober = prober
        # Of another configuration's lanes, others ask.
        self._lanes = [lane.name for lane in topology.lanes.values() if lane.senders]

    def ask(self) -> int:
        """Ask all that are due, one after the other, each for as long as its request may take; how many are ready."""
        ready = 0
        while (name := self._next()) is not None:
            lane = self._topology.lanes[name]
            if self._can_send(lane):
                ready += 1
                self._open(lane)
        return ready

    def _next(self) -> str | None:
        with write(self._engine) as connection:
            due = connection.execute(_DUE, {"lanes": self._lanes}).one_or_none()
            if due is None:
                return None
            asked = due.asked + 1
            self._put_off(connection, due.name, asked)
            return str(due.name)

    def _put_off(self, connection: Connection, name: str, asked: int) -> None:
        connection.execute(
            update(lane_row).where(lane_row.c.name == name).values(asked=asked, ask_at=now() + next_question(asked))
        )

    def _can_send(self, lane: Lane) -> bool:
        sender = next(iter(lane.senders.values()))
        asked_on = probe_lane(sender, self._topology.lanes)
        if asked_on is None:
            return False
        asked = self._prober.probe(sender, asked_on)
        log.info("asked", lane=lane.name, outcome=OUTCOMES[type(asked.outcome)])
        return isinstance(asked.outcome, Accepted)

    def _open(self, lane: Lane) -> None:
        """Ready. How often it was asked is kept until something is sent: what it says may be wrong at once."""
        with write(self._engine) as connection:
            connection.execute(update(lane_row).where(lane_row.c.name == lane.name).values(unready=None, ask_at=None))

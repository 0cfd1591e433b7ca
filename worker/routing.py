"""Which messages of a route its next account may take though an earlier one is open: those it has no room for in time.

An account's tokens until a message expires go to what stands before it in line. Whatever stands behind them comes too
late there, and the next account may take it. So each look writes down, for each line of a route, from which position on
messages that expire at about the same time are late: a few numbers, whatever waits. No message is moved or written.
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from redis.exceptions import RedisError
from sqlalchemy import Connection, Engine, bindparam, func, select, update

from paceline.clock import now
from paceline.database import read, write
from paceline.status import Priority
from worker.lanes.topology import Lane, Topology
from worker.limits import Limiter, Unseeded
from worker.statements import READY, Statements, lane_row, message

SLACK = 1.0  # seconds a message must have left when its token comes: a request is still to be made of it
SHORTFALL = 1.02  # how much longer than computed a pace may take: tokens that merge return a little later
GROWTH = 1.5  # messages are looked at together whose time left is within this factor
GROUPS = 16  # the most such groups of a line: from a second to ten minutes, to an hour from ten seconds
REST = 20.0  # of the time that a look took, it rests so many times as long: it never costs more than a twentieth

log = structlog.get_logger("paceline.routing")

Late = tuple[float, float, int]
"""Of the messages of a line that expire from the first time on and before the second, those from this position on."""

Marks = dict[int, list[Late]]
"""What is late, by the line's id."""

_EXPIRY = (
    select(message.c.expires_at)
    .where(message.c.stream_id == bindparam("stream"), READY)
    .where(message.c.expires_at.is_not(None), message.c.expires_at >= bindparam("after"))
    .order_by(message.c.expires_at)
    .limit(1)
)
_POSITION = (
    select(message.c.position)
    .where(message.c.stream_id == bindparam("stream"), READY)
    .order_by(message.c.position)
    .offset(bindparam("skip"))
    .limit(1)
)
_AHEAD = select(func.count()).select_from(
    select(message.c.id)
    .where(message.c.stream_id == bindparam("stream"), READY)
    .limit(bindparam("most"))
    .subquery("ahead")
)


def late_in(text: str | None) -> Marks:
    """What a lane's row says."""
    return {int(line): [(*each,) for each in marks] for line, marks in json.loads(text or "{}").items()}


class Routing:
    """Looks at the routes. Safe to run anywhere; what one look missed the next one finds."""

    def __init__(self, engine: Engine, limiter: Limiter, topology: Topology) -> None:
        self._engine = engine
        self._limiter = limiter
        self._open_lanes = Statements(engine.dialect.name).open_lanes
        self._streams = Statements(engine.dialect.name).streams
        self._lanes = topology.lanes
        self._routes = {name: _lanes_of(accounts, topology) for name, accounts in topology.routes.items()}
        self._front = sorted({lane.name for lanes in self._routes.values() for lane in lanes[:-1]})
        self._rests_until = 0.0

    def look(self) -> int:
        """Write down what is late; how many lanes' rows changed."""
        began = time.monotonic()
        if not self._front or began < self._rests_until:
            return 0
        try:
            with read(self._engine) as connection:
                changed = self._changed(connection)
        except RedisError as error:
            log.warning("limiter_away", error=type(error).__name__)
            return 0
        if changed:
            with write(self._engine) as connection:
                for lane, late in sorted(changed.items()):
                    connection.execute(update(lane_row).where(lane_row.c.name == lane).values(late=late))
        self._rests_until = time.monotonic() + (time.monotonic() - began) * REST
        return len(changed)

    def _changed(self, connection: Connection) -> dict[str, str | None]:
        known: dict[str, str | None] = {
            row.name: row.late for row in connection.execute(_KNOWN, {"lanes": self._front})
        }
        marks = _Look(
            connection,
            self._limiter,
            self._lanes,
            {row.name: row.nonce for row in connection.execute(self._open_lanes, {"lanes": self._front})},
            connection.execute(self._streams, {"vias": self._vias()}).all(),
        ).marks(self._routes)
        wanted = {name: json.dumps(marks[name]) if marks.get(name) else None for name in self._front}
        return {name: late for name, late in wanted.items() if name in known and known[name] != late}

    def _vias(self) -> list[str]:
        return sorted({via for name in self._front for via in self._lanes[name].senders})


_KNOWN = select(lane_row.c.name, lane_row.c.late).where(lane_row.c.name.in_(bindparam("lanes", expanding=True)))


def _lanes_of(accounts: Iterable[str], topology: Topology) -> list[Lane]:
    names = dict.fromkeys(topology.senders[account].lane for account in accounts)
    return [topology.lanes[name] for name in names]


@dataclass(slots=True)
class _Look:
    """One look: what is open, what waits, and what was asked of the limiter already."""

    connection: Connection
    limiter: Limiter
    lanes: Mapping[str, Lane]
    nonces: Mapping[str, str]  # of the lanes that are open
    lines: Sequence[Any]
    found: dict[str, Marks] = field(default_factory=dict)
    tokens: dict[tuple[str, float], tuple[int, int]] = field(default_factory=dict)
    counts: dict[tuple[int, int], int] = field(default_factory=dict)

    def marks(self, routes: Mapping[str, Sequence[Lane]]) -> dict[str, Marks]:
        """What is late, by the lane that has no room for it."""
        at = float(self.connection.execute(select(now())).scalar_one())
        for route, lanes in routes.items():
            open_lanes = [lane for lane in lanes[:-1] if lane.name in self.nonces]
            for line in self.lines:
                if line.via == route and open_lanes:
                    self._mark(line, open_lanes, at)
        return self.found

    def _mark(self, line: Any, lanes: Sequence[Lane], at: float) -> None:
        after = at
        for _ in range(GROUPS):
            since = self.connection.scalar(_EXPIRY, {"stream": line.id, "after": after})
            if since is None:
                return
            until = at + max((since - at) * GROWTH, SLACK)
            if not self._late(line, lanes, since - at, (since, until)):
                return  # what expires later has more tokens before it still
            after = until

    def _late(self, line: Any, lanes: Sequence[Lane], seconds: float, group: tuple[float, float]) -> bool:
        """Note from where on this group is late: first for the first account, then for it and the next, and so on."""
        skip, late = 0, False
        for lane in lanes:
            skip += self._share(lane, line, seconds)
            position = self.connection.scalar(_POSITION, {"stream": line.id, "skip": skip})
            if position is None:
                break
            self.found.setdefault(lane.name, {}).setdefault(line.id, []).append((*group, position))
            late = True
        return late

    def _share(self, lane: Lane, line: Any, seconds: float) -> int:
        """How many messages of this line the lane can send in that time, after what is more urgent, beside its like."""
        high, rest = self._tokens(lane, seconds)
        tokens = high if line.priority == Priority.HIGH.level else rest
        taken = [each for each in self.lines if each.id == line.id or self._takes(lane, each.via)]
        for each in taken:
            if each.priority < line.priority and tokens > 0:
                tokens -= self._ahead(each.id, tokens)
        weights = sum(each.weight for each in taken if each.priority == line.priority)
        return max(0, int(tokens * line.weight / weights))

    def _takes(self, lane: Lane, via: str) -> bool:
        return via in lane.senders and not any(name in self.nonces for name in lane.behind.get(via, ()))

    def _tokens(self, lane: Lane, seconds: float) -> tuple[int, int]:
        jitter = max(bucket.jitter for bucket in lane.limits.limits)
        left = max(0.0, seconds - SLACK) / (SHORTFALL + jitter)
        if (lane.name, left) not in self.tokens:
            nonce = self.nonces[lane.name]
            found = self.limiter.within(lane.limits, left, signature=lane.signature, nonce=nonce)
            # Without a valid state nobody knows; whoever claims there next makes one.
            self.tokens[lane.name, left] = (1 << 62, 1 << 62) if isinstance(found, Unseeded) else found
        return self.tokens[lane.name, left]

    def _ahead(self, stream: int, most: int) -> int:
        if (stream, most) not in self.counts:
            self.counts[stream, most] = self.connection.scalar(_AHEAD, {"stream": stream, "most": most}) or 0
        return self.counts[stream, most]

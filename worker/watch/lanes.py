"""What an operator sees of the lanes: open or closed and why, what waits, what is on the wire, tokens left."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from redis.exceptions import RedisError
from sqlalchemy import ColumnElement, Connection, Engine, and_, bindparam, func, literal_column, select

from paceline.broadcast.forecast import backlog_leaves_at
from paceline.clock import now
from paceline.database import read
from paceline.views import iso, moment
from worker.jobs.statements import job
from worker.lanes.topology import Lane, Topology
from worker.limits import Limiter, Unseeded
from worker.statements import QUEUED, READY, grant, key_row, lane_row, message, stream


@dataclass(frozen=True, slots=True)
class LimitView:
    """A limit as configured and its tokens left, of which `reserved` are for priority high; None if nobody knows."""

    limit: str
    left: int | None
    reserved: int | None


@dataclass(frozen=True, slots=True)
class LaneView:
    """One lane. Times are Unix seconds; a lane that is closed with `closed_until` None waits for an operator.

    `backlog` counts messages and questions that could leave now, `jobs` the jobs whose next step could; `in_flight`
    requests that got a token and have no outcome yet; `unknown` messages and jobs. `unready`: closed because its
    provider says that it cannot send for now; that is asked until it can, and nobody need open it. `forecast` is when
    all messages that wait for it now will have left, None if nothing waits or nobody can say.
    """

    lane: str
    open: bool
    closed_until: float | None
    closed_reason: str | None
    backlog: int
    oldest_at: float | None
    in_flight: int
    unknown: int
    jobs: int
    limits: tuple[LimitView, ...]
    unready: bool = False
    forecast: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The shape of `lanes --json`."""
        return {
            "lane": self.lane,
            "open": self.open,
            "closed_until": _iso(self.closed_until),
            "closed_reason": self.closed_reason,
            "unready": self.unready,
            "backlog": self.backlog,
            "oldest_at": _iso(self.oldest_at),
            "in_flight": self.in_flight,
            "unknown": self.unknown,
            "jobs": self.jobs,
            "forecast": _iso(self.forecast),
            "limits": [{"limit": it.limit, "left": it.left, "reserved": it.reserved} for it in self.limits],
        }


def lane_views(engine: Engine, limiter: Limiter, topology: Topology, most: int | None = None) -> list[LaneView]:
    """All lanes. With `most` a backlog is counted no further and not forecast, so that a look costs the same always."""
    with read(engine) as connection:
        lines: dict[str, list[int]] = {}
        for via, number in connection.execute(_GOING):
            lines.setdefault(via, []).append(number)
        states = {row.name: row for row in connection.execute(_STATES)}
        return [
            _view(connection, limiter, lane, lines, states.get(lane.name), most) for lane in topology.lanes.values()
        ]


def _view(
    connection: Connection,
    limiter: Limiter,
    lane: Lane,
    lines: Mapping[str, Sequence[int]],
    state: Any,
    most: int | None,
) -> LaneView:
    reason, until = _closure(state)
    backlog, oldest = _waiting(connection, lane, lines, most)
    return LaneView(
        lane=lane.name,
        open=reason is None,
        closed_until=until,
        closed_reason=reason,
        backlog=backlog,
        oldest_at=oldest,
        in_flight=connection.scalar(_IN_FLIGHT, {"key": lane.key, "lane": lane.name, "lease": lane.lease}) or 0,
        unknown=_unknown(connection, lane),
        jobs=_jobs(connection, lane, most) if lane.callers else 0,
        limits=_limits(limiter, lane, state),
        unready=reason is not None and state.unready == reason,
        forecast=backlog_leaves_at(connection, lane.name) if backlog and lane.senders and most is None else None,
    )


def _waiting(
    connection: Connection, lane: Lane, lines: Mapping[str, Sequence[int]], most: int | None
) -> tuple[int, float | None]:
    """How many messages and questions could leave now, and since when the oldest waits."""
    numbers = [number for via in lane.senders for number in lines.get(via, ())]
    conditions: list[tuple[ColumnElement[bool], Any, Any]] = [
        (and_(message.c.stream_id == number, READY), message.c.id, message.c.created_at) for number in numbers
    ]
    conditions += [
        (and_(message.c.account == account, message.c.poll_at <= now()), message.c.poll_at, message.c.poll_at)
        for account in lane.pollers
    ]
    counted, oldest = 0, []
    for condition, order, since in conditions:
        first = connection.scalar(select(since).where(condition).order_by(order).limit(1))
        if first is not None:
            rows = select(order).where(condition).limit(None if most is None else most - counted).subquery()
            counted += connection.scalar(select(func.count()).select_from(rows)) or 0
            oldest.append(first)
    return counted, min(oldest, default=None)


def _unknown(connection: Connection, lane: Lane) -> int:
    """How many messages that left through it, and jobs that wait on it, nobody knows the outcome of."""
    count = select(func.count())
    accounts = sorted({sender.name for sender in lane.senders.values()})
    messages = count.where(message.c.status == _UNKNOWN, message.c.account.in_(accounts))
    jobs = count.where(job.c.status == _UNKNOWN, job.c.lane == lane.name)
    sent = (connection.scalar(messages) or 0) if lane.senders else 0
    return sent + ((connection.scalar(jobs) or 0) if lane.callers else 0)


def _jobs(connection: Connection, lane: Lane, most: int | None) -> int:
    due = select(job.c.id).where(job.c.lane == lane.name, job.c.status == QUEUED, job.c.due_at <= now()).limit(most)
    return connection.scalar(select(func.count()).select_from(due.subquery())) or 0


def _closure(state: Any) -> tuple[str | None, float | None]:
    """What keeps the lane closed for longest: the key's closure or its own."""
    if state is None:
        return None, None
    shut = [
        (reason, until)
        for reason, until in (
            (state.unready, None),
            (state.key_reason, state.key_until),
            (state.lane_reason, state.lane_until),
        )
        if reason is not None and (until is None or until > state.now)
    ]
    return max(shut, key=lambda each: math.inf if each[1] is None else each[1], default=(None, None))


def _limits(limiter: Limiter, lane: Lane, state: Any) -> tuple[LimitView, ...]:
    found: dict[str, LimitView] = {}
    try:
        levels = limiter.levels(lane.limits, signature=lane.signature, nonce=state.nonce if state else "")
    except RedisError:
        levels = Unseeded()
    if not isinstance(levels, Unseeded):
        for level in levels.limits:
            found[level.name] = LimitView("", level.room_high, level.room_high - level.room_rest)
    unknown = LimitView("", None, None)
    return tuple(
        replace(found.get(lane.limits.name_of(bucket), unknown), limit=bucket.limit.text)
        for bucket in lane.limits.limits
    )


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else iso(moment(seconds))


# What is paused, held by its schedule or cancelled could not leave now.
_GOING = select(stream.c.via, stream.c.id).where(
    stream.c.paused.is_(False), stream.c.held.is_(False), stream.c.cancelled.is_(False)
)
_UNKNOWN: ColumnElement[str] = literal_column("'unknown'")  # as it stands in the partial index
_STATES = select(
    lane_row.c.name,
    key_row.c.nonce,
    key_row.c.closed_reason.label("key_reason"),
    key_row.c.closed_until.label("key_until"),
    lane_row.c.closed_reason.label("lane_reason"),
    lane_row.c.closed_until.label("lane_until"),
    lane_row.c.unready,
    now().label("now"),
).join(key_row, key_row.c.name == lane_row.c.key)
# A claim that has asked for no tokens yet has nothing on the wire; if all of it had expired, it never asks.
_IN_FLIGHT = select(func.sum(grant.c.granted_high + grant.c.granted_rest - grant.c.closed)).where(
    grant.c.key == bindparam("key"),
    grant.c.created_at > now() - bindparam("lease"),
    grant.c.lease_until > now(),
    grant.c.lane == bindparam("lane"),
)

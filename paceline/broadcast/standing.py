"""A lane as it stands, read for a forecast: its limits and what of them is spent, its speed, and what waits on it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, literal_column, select

from paceline import tables
from paceline.broadcast.definition import RAMP_DAY
from paceline.broadcast.simulation import Bound, Queue
from paceline.broadcast.stored import definition_in
from paceline.broadcast.times import windows
from paceline.clock import now
from paceline.content import Keyring, keyring_of
from paceline.limit import Limit, day_bounds

BROADCAST = tables.columns(tables.Broadcast)
STREAM = tables.columns(tables.Stream)
MESSAGE = tables.columns(tables.Message)
LANE = tables.columns(tables.Lane)
KEY = tables.columns(tables.Key)
GRANT = tables.columns(tables.Grant)
ACCOUNT = tables.columns(tables.Account)
ROUTE = tables.columns(tables.Route)

# As it stands in the partial indexes.
READY = and_(MESSAGE.c.status == literal_column("'queued'"), MESSAGE.c.due_at.is_(None))

PACE = 500.0  # messages a second that one installation's workers send, until it has shown what it can
SHOWN = 600.0  # seconds of the past that show it
SLOT = 5.0  # seconds: the shortest time whose speed is one
PROVEN = 15.0  # seconds of work that prove how fast it is
SLOW = 0.7  # of what the limits allow: what is slower is held up by something else
PARTS = 200  # into which a window's past is cut


@dataclass(frozen=True, slots=True)
class Standing:
    """The lane as it stands at `at`, Unix seconds. `shut` says why it is closed, if it is, and `opens_at` until when.

    `rate` is the most messages a second that the workers can send, `busy` how many of priority `high` there have been.
    """

    at: float
    bounds: tuple[Bound, ...]
    opens_at: float | None
    shut: str
    rate: float
    busy: float
    queues: tuple[Queue, ...]


def standing(
    connection: Connection, via: str, *, exclude: str = "", behind: int = 9, busy_since: float | None = None
) -> Standing:
    """Of the lane by which a message of `via` would leave: the first that is open.

    Without the lines of the broadcast `exclude`, and those that go after the priority `behind`. `busy_since`: when one
    began that has not run dry since.
    """
    lanes = lanes_of(connection, via)
    return of_lanes(connection, lanes, exclude=exclude, behind=behind, busy_since=busy_since)


def of_lanes(
    connection: Connection,
    lanes: Sequence[str],
    *,
    exclude: str = "",
    behind: int = 9,
    busy_since: float | None = None,
) -> Standing:
    """The same of the first of these lanes that is open."""
    at = float(connection.scalar(select(now())) or 0.0)
    rows = {row.name: row for row in connection.execute(_LANES.where(LANE.c.name.in_(lanes)))}
    known = [rows[name] for name in lanes if name in rows]
    if not known:
        return Standing(at, (), None, "", PACE, 0.0, ())
    lane = next((row for row in known if not _shut(row, at)), known[0])
    shut = _shut(lane, at)
    bounds = tuple(_bound(connection, lane, at, item) for item in json.loads(lane.shape))
    return Standing(
        at=at,
        bounds=bounds,
        opens_at=_until(lane, at) if shut else None,
        shut=shut,
        rate=_rate(connection, lane.name, at, bounds, busy_since),
        busy=_busy(connection, lane, at),
        queues=_queues(connection, lane.name, exclude, behind, at),
    )


def lanes_of(connection: Connection, via: str) -> list[str]:
    """The lanes by which a message may leave, in the order in which they are tried."""
    by_account = {row.name: row.lane for row in connection.execute(select(ACCOUNT.c.name, ACCOUNT.c.lane))}
    if via in by_account:
        return [by_account[via]]
    accounts = connection.scalar(select(ROUTE.c.accounts).where(ROUTE.c.name == via))
    return list(dict.fromkeys(by_account[name] for name in json.loads(accounts or "[]") if name in by_account))


def _shut(row: Any, at: float) -> str:
    for reason, until in ((row.key_reason, row.key_until), (row.closed_reason, row.closed_until)):
        if reason is not None and (until is None or until > at):
            return f"closed: {reason}"
    return f"closed: {row.unready}" if row.unready is not None else ""


def _until(row: Any, at: float) -> float | None:
    """When what closes it ends; None if somebody must open it."""
    pairs = ((row.closed_reason, row.closed_until), (row.key_reason, row.key_until))
    ends = [until for reason, until in pairs if reason is not None and (until is None or until > at)]
    if row.unready is not None or any(end is None for end in ends):
        return None
    return max(ends, default=at)


def _bound(connection: Connection, lane: Any, at: float, item: dict[str, Any]) -> Bound:
    """A limit with what the ledger says was spent; of a shared day's quota, by all lanes of the key."""
    limit = Limit.parse(item["limit"])
    span = limit.window + item["guard"] if limit.window is not None else at - day_bounds(at, limit.zone or "UTC")[1]
    spent_in = and_(GRANT.c.key == lane.key, GRANT.c.created_at > at - span - 60.0, at - span < _SPENT_AT)
    statement = select(func.min(at - _SPENT_AT), func.sum(_COUNT)).where(spent_in)
    if limit.window is not None:
        statement = statement.group_by(func.floor((at - _SPENT_AT) / max(span / PARTS, 0.01)))
    if not item.get("shared"):
        statement = statement.where(GRANT.c.lane == lane.name)
    spent = tuple((float(age), int(count)) for age, count in connection.execute(statement) if count)
    return Bound(limit, item["guard"], item["reserve"], spent)


def _rate(connection: Connection, lane: str, at: float, bounds: Sequence[Bound], busy_since: float | None) -> float:
    """Messages a second that the workers can send on it: the most they have shown of late; less, if they have had
    enough to do and were slower than the limits allow."""
    since = at - SHOWN
    slots = select(func.sum(_COUNT)).where(GRANT.c.lane == lane, GRANT.c.key == _key_of(lane), since < _SPENT_AT)
    slots = slots.where(GRANT.c.created_at > since - 60.0).group_by(func.floor(_SPENT_AT / SLOT))
    peak = max((float(row[0] or 0) for row in connection.execute(slots)), default=0.0) / SLOT
    usual = max(PACE, peak)
    if busy_since is None or at - busy_since < PROVEN:
        return usual
    start = max(since, busy_since)
    done = select(func.sum(_COUNT)).where(GRANT.c.lane == lane, GRANT.c.key == _key_of(lane), start < _SPENT_AT)
    speed = float(connection.scalar(done.where(GRANT.c.created_at > start - 60.0)) or 0) / (at - start)
    allowed = min([usual, *(bound.pace for bound in bounds)])
    return speed if 0 < speed < allowed * SLOW and _has_room(bounds) else usual


def _has_room(bounds: Sequence[Bound]) -> bool:
    """Whether no limit is nearly used up: then it is not they that hold it up."""
    return all(sum(count for _, count in bound.spent) < (bound.limit.count - bound.reserve) * 0.95 for bound in bounds)


def _busy(connection: Connection, lane: Any, at: float) -> float:
    """How many of priority `high` a second there have been."""
    high = select(func.sum(GRANT.c.granted_high)).where(
        GRANT.c.key == lane.key, GRANT.c.lane == lane.name, GRANT.c.created_at > at - SHOWN
    )
    return float(connection.scalar(high) or 0) / SHOWN


def _key_of(lane: str) -> Any:
    return select(LANE.c.key).where(LANE.c.name == lane).scalar_subquery()


def _queues(connection: Connection, lane: str, exclude: str, behind: int, at: float) -> tuple[Queue, ...]:
    """What else waits on the lane, line by line, but for the broadcast in question."""
    accounts = [row[0] for row in connection.execute(select(ACCOUNT.c.name).where(ACCOUNT.c.lane == lane))]
    routes = connection.execute(select(ROUTE.c.name, ROUTE.c.accounts)).all()
    vias = accounts + [row.name for row in routes if set(json.loads(row.accounts)) & set(accounts)]
    count = select(func.count()).select_from(MESSAGE).where(MESSAGE.c.stream_id == STREAM.c.id, READY)
    lines = connection.execute(
        select(STREAM, count.scalar_subquery().label("number")).where(
            STREAM.c.via.in_(vias),
            STREAM.c.broadcast != (exclude or "-"),
            STREAM.c.paused.is_(False),
            STREAM.c.cancelled.is_(False),
            STREAM.c.priority <= behind,
        )
    ).all()
    rows = [row for row in lines if row.number]
    known = _broadcasts(connection, {row.broadcast for row in rows if row.held})
    return tuple(
        Queue(
            f"{row.id}/broadcast" if row.broadcast else f"{row.id}/line",
            int(row.number),
            row.priority,
            float(row.weight),
            _windows(keyring_of(connection), known.get(row.broadcast), row, at),
            passed=float(row.passed),
        )
        for row in rows
    )


def _broadcasts(connection: Connection, ids: set[str]) -> dict[str, Any]:
    if not ids:
        return {}
    return {row.id: row for row in connection.execute(select(BROADCAST).where(BROADCAST.c.id.in_(ids)))}


def _windows(keys: Keyring, row: Any, line: Any, at: float) -> tuple[tuple[float, float], ...]:
    """When a broadcast's line may go that is held now; of a recurring one, its next run."""
    if row is None:
        return ()
    begun = row.released_at or at
    start = row.next_run_at or (begun + (line.day - 1) * RAMP_DAY)
    return windows(definition_in(keys, row.id, row.definition), line.zone, max(at, start), at)


_SPENT_AT: ColumnElement[float] = func.coalesce(GRANT.c.granted_at, GRANT.c.created_at)
_COUNT = func.coalesce(GRANT.c.granted_high + GRANT.c.granted_rest, GRANT.c.high + GRANT.c.rest)
_LANES = select(
    LANE.c.name, LANE.c.key, LANE.c.shape, LANE.c.closed_reason, LANE.c.closed_until, LANE.c.unready,
    KEY.c.closed_reason.label("key_reason"), KEY.c.closed_until.label("key_until"),
).join(KEY, KEY.c.name == LANE.c.key)  # fmt: skip
